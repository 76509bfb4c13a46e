"""Run a training script with one of the peers attached to it, as its own documentation attaches it to a loop.

    echo '{"script": SCRIPT, "out": OUT}' | python attached.py PEER

Peers are meant to be written into the loop. Here the loop stays as it is: the peer gets the model and the optimizer
when training begins, and at each step of that optimizer the loss that `backward` was called on, and what else it
asks for. What it says at the end, its name for the fault without its advice, is written to OUT as JSON. Each script is
run in a fork, as importing torch is most of what it costs; a line with its exit status answers each line asked. Needs
only torch, scikit-learn and the peer.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import runpy
import signal
import sys
import weakref
from pathlib import Path
from typing import Any

import sklearn.datasets
import sklearn.model_selection
import sklearn.preprocessing  # noqa: F401
import torch
import torch._dynamo
import torch.utils.data
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

Said = list[tuple[str, str]]
PATIENCE = 120
"""Seconds after which a program with its peer is ended."""


def gradient_norm(model: nn.Module) -> float:
    """The norm of all gradients of a model."""
    norms = [p.grad.detach().norm() for p in model.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


class Torchmortem:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        from torchmortem import Autopsy

        self.autopsy = Autopsy(model, optimizer=optimizer)
        self.autopsy.__enter__()

    def step(self, loss: float, model: nn.Module, optimizer: Any) -> None:
        self.autopsy.step(loss=loss)

    def said(self) -> Said:
        self.autopsy.__exit__(None, None, None)
        report = self.autopsy.get_report()
        findings = report.findings if report else []
        return [(f.severity.name, f"{f.title}. {f.summary}") for f in findings]


class TorchAudit:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        from torch_audit import autopatch

        # 1,000, its default, would see only the first step of programs as short as these.
        self.auditor = autopatch(
            model, optimizer=optimizer, every_n_steps=10, reporters=[], suppress_internal_errors=True
        )

    def step(self, loss: float, model: nn.Module, optimizer: Any) -> None:
        pass

    def said(self) -> Said:
        findings = {(f.rule_id, f.message): f for f in self.auditor.finish().findings}
        return [(f.severity.name, f"{f.rule_id} {f.message}") for f in findings.values()]


class TrainingDoctor:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        from training_doctor import Doctor

        self.doctor = Doctor()
        self.doctor.set_auto_print(False)
        self.count = 0

    def step(self, loss: float, model: nn.Module, optimizer: Any) -> None:
        self.count += 1
        rate = float(optimizer.param_groups[0]["lr"])
        self.doctor.log(step=self.count, loss=loss, lr=rate, grad_norm=gradient_norm(model))

    def said(self) -> Said:
        told = {d.problem: d for d in self.doctor.diagnoses}
        return [(d.severity.name, f"{d.problem}. {d.explanation}") for d in told.values()]


class Trainpulse:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        from trainpulse import Monitor

        self.monitor = Monitor()
        self.count = 0
        self.monitor.step_start()

    def step(self, loss: float, model: nn.Module, optimizer: Any) -> None:
        self.count += 1
        self.monitor.log("loss", self.count, loss)
        self.monitor.log("grad_norm", self.count, gradient_norm(model))
        self.monitor.log("learning_rate", self.count, float(optimizer.param_groups[0]["lr"]))
        self.monitor.step_end(self.count)
        self.monitor.step_start()

    def said(self) -> Said:
        told = {alert.detector: alert for alert in self.monitor.report().alerts}
        # Its alarms about slow steps speak of a machine that does something else, too, and are left out.
        return [
            (a.severity.name, f"{a.detector} {a.message}") for a in told.values() if "time" not in a.detector.lower()
        ]


class Traintools:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        from traintools import GradientHealthMonitor

        self.monitor = GradientHealthMonitor()
        self.count = 0
        self.told: dict[str, str] = {}

    def step(self, loss: float, model: nn.Module, optimizer: Any) -> None:
        self.count += 1
        report = self.monitor.inspect(model, step=self.count, lr=float(optimizer.param_groups[0]["lr"]))
        for words in report.warnings:
            self.told.setdefault(words.split("(")[0].split(":")[0].rstrip("0123456789. "), words)

    def said(self) -> Said:
        return [("WARNING", words) for words in self.told.values()]


PEERS = {
    "torchmortem": Torchmortem,
    "torch-audit": TorchAudit,
    "training-doctor": TrainingDoctor,
    "trainpulse": Trainpulse,
    "traintools": Traintools,
}


class Attachment:
    """Finds the model and the optimizer of a program as it makes them, and hands its peer every step."""

    def __init__(self, peer: type, out: Path) -> None:
        self.peer, self.out = peer, out
        self.modules: list[weakref.ref[nn.Module]] = []
        self.running: tuple[Any, nn.Module, Any] | None = None
        self.made: Any = None
        self.hook: Any = None
        self.loss = math.nan
        self.broken = ""
        self._patch()
        atexit.register(self.write)

    def _patch(self) -> None:
        made, optimizing, backward = nn.Module.__init__, torch.optim.Optimizer.__init__, torch.Tensor.backward

        def making(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            made(module, *args, **kwargs)
            self.modules.append(weakref.ref(module))

        def starting(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            optimizing(optimizer, *args, **kwargs)
            if self.running is None and self.made is None:
                self.made = optimizer
                self.hook = register_module_forward_pre_hook(self._called)

        def going_back(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if tensor.numel() == 1:
                self.loss = float(tensor.detach())
            backward(tensor, *args, **kwargs)

        nn.Module.__init__ = making  # type: ignore[method-assign]
        torch.optim.Optimizer.__init__ = starting  # type: ignore[method-assign]
        torch.Tensor.backward = going_back  # type: ignore[method-assign]
        register_optimizer_step_post_hook(self._stepped)

    def _called(self, *_: Any) -> None:
        """Training begins: by now schedulers are made, which some peers' patches of an optimizer would break."""
        if self.hook is not None and torch.is_grad_enabled():
            self.hook.remove()
            self.hook = None
            self._attach(self.made)

    def _attach(self, optimizer: Any) -> None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        living = [module for ref in self.modules if (module := ref()) is not None]
        sizes = {id(m): sum(id(p) in held for p in m.parameters()) for m in living if "_modules" in m.__dict__}
        model = max((m for m in living if sizes.get(id(m))), key=lambda m: sizes[id(m)], default=None)
        if model is not None:
            self._safely(lambda: self._start(model, optimizer))

    def _start(self, model: nn.Module, optimizer: Any) -> None:
        self.running = (self.peer(model, optimizer), model, optimizer)

    def _stepped(self, optimizer: Any, *_: Any) -> None:
        if self.running is not None and self.running[2] is optimizer and not self.broken:
            peer, model, _ = self.running
            self._safely(lambda: peer.step(self.loss, model, optimizer))

    def _safely(self, action: Any) -> None:
        try:
            action()
        except Exception as error:
            self.broken = f"{type(error).__name__}: {error}"

    def write(self) -> None:
        """Write down what the peer says, and that it broke if it did."""
        said: Said = []
        if self.running is not None:
            peer = self.running[0]
            self._safely(lambda: said.extend(peer.said()))
        self.out.write_text(json.dumps({"said": said, "broken": self.broken}))


def live(name: str, script: str, out: str) -> None:
    """Become the program, with the peer attached."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    os.dup2(0, 2)
    Attachment(PEERS[name], Path(out))
    sys.argv = [script]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


def main() -> None:
    """Answer every line."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.alarm(PATIENCE)
            live(sys.argv[1], **json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
