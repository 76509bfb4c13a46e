"""Copies of a model that is trained: do they follow it, how far, and which of the two is run without gradient, when?

A twin has the names and shapes of a trained module, and no optimizer trains it: an average of weights, a teacher, a
target network, a reference. Only programs that have one are looked at closely: from then on it is noted which of the
two is called inside `torch.no_grad()`, by a hook that is in only inside some of these blocks.
"""

from __future__ import annotations

import sys
import weakref
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.followers import Followers
from torchdx.watch.governor import clock
from torchdx.watch.models import Models, named_parameters, walk
from torchdx.watch.optimizers import Optimizers
from torchdx.watch.places import user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample
from torchdx.watch.uses import Uses

MOST = 4
"""Twins followed."""

_SLOWER = 1.3
"""A twin is measured again once there are this many times the steps: ever fewer, as what was drawn near stays near."""

_LEAST_VALUES = 32
_PARTS, _EACH = 8, 64
_DEEPEST = 2
_WIDEST = 512
_MOST_CALLS = 64
_MOST_PLACES = 64
_BETWEEN = ("all_of_them", "__enter__", "decorate_context")
"""Functions between the probe and who switched gradients off, be it with a block or with a decorator."""
_WRAPPER = "module."

Signature = tuple[tuple[str, torch.Size], ...]


@dataclass
class Twin:
    """A copy, the module that it is like, and where the copy was when both were first seen beside each other."""

    copy: weakref.ref[nn.Module]
    trained: weakref.ref[nn.Module]
    number: int
    of: int
    noticed: int
    start: Tensor
    measured: int = -1
    told: dict[str, Any] = field(default_factory=dict)


class Twins:
    """Finds twins at looked-at steps, measures how far they follow, and tells who is run in evaluation."""

    def __init__(self, session: Session, models: Models, optimizers: Optimizers) -> None:
        self.session = session
        self.models = models
        self.optimizers = optimizers
        self._followers = Followers(session)
        self._twins: list[Twin] = []
        self._due = 1
        self._uses: dict[tuple[int, int, int, int], Uses] = {}
        self._roles: dict[int, tuple[weakref.ref[nn.Module], int, str]] = {}
        self._woven = False
        self._hook: Any = None
        self._inside: Uses | None = None
        self._depth = 0
        self._calls = 0
        self._measure_guarded = session.guarded(self._measure_run)
        session.weave(torch.optim.Optimizer.__init__, after=self._made)
        session.at_look_end.append(self._looks)
        session.at_end.append(self._ends)

    def _made(self, *_: Any) -> None:
        self._due = self.session.step + 1

    # --- who is whose twin

    def _looks(self) -> None:
        step = self.session.step
        if step < self._due:
            return
        self._due = max(step + 1, int(step * _SLOWER))
        trained = self._trained()
        self._twins = [twin for twin in self._twins if self._still(twin, trained)]
        if len(self._twins) < MOST:
            self._find(trained)
        for twin in self._twins:
            self._measure(twin)
        if self._twins and not self._woven and not self.session.compiled:
            self._woven = True
            self._followers.begin()
            for block in (torch.no_grad, torch.inference_mode, torch.set_grad_enabled):
                self.session.weave_bare(block.__enter__, self._entered)
                self.session.weave_bare(block.__exit__, self._left)

    def _trained(self) -> set[int]:
        stepped = [optimizer for ref in self.optimizers.stepped.values() if (optimizer := ref()) is not None]
        groups = [group for optimizer in stepped for group in optimizer.param_groups]
        return {id(p) for group in groups for p in group["params"] if p.requires_grad}

    def _still(self, twin: Twin, trained: set[int]) -> bool:
        """Do both live, and is the copy still not trained?"""
        copy, model = twin.copy(), twin.trained()
        return copy is not None and model is not None and not any(id(p) in trained for _, p in named_parameters(copy))

    def _find(self, trained: set[int]) -> None:
        learners: dict[Signature, list[nn.Module]] = defaultdict(list)
        others: list[tuple[Signature, nn.Module]] = []
        for module in _upper(self.models.roots()):
            ids = [id(p) for _, p in named_parameters(module)]
            signature = _signature(module)
            if not signature:
                continue
            share = sum(number in trained for number in ids) / len(ids)
            if share > 0.5:
                learners[signature].append(module)
            elif not share:
                others.append((signature, module))
        inside = {id(part) for twin in self._twins if (copy := twin.copy()) is not None for _, part in walk(copy)}
        for signature, module in others:
            if signature in learners and id(module) not in inside and len(self._twins) < MOST:
                inside.update(id(part) for _, part in walk(module))
                self._add(module, learners[signature])

    def _add(self, copy: nn.Module, learners: list[nn.Module]) -> None:
        start = _values(copy)
        known = [(module, values) for module in learners if (values := _values(module)) is not None]
        if start is None or not known or any(start.device != values.device for _, values in known):
            return
        trained = known[0][0]
        if len(known) > 1:
            trained = known[int(torch.stack([(values - start).norm() for _, values in known]).argmin())][0]
        if start.device.type == "cpu" and not _alike(start, trained):  # asked of a device, it would have to wait
            return
        number, of = self.models.number_of(copy), self.models.number_of(trained)
        if number is None or of is None:
            return
        twin = Twin(weakref.ref(copy), weakref.ref(trained), number, of, self.session.step, start)
        self._twins.append(twin)
        parts = {"copy": [part for _, part in walk(copy)], "trained": [part for _, part in walk(trained)]}
        both = {id(part) for part in parts["copy"]} & {id(part) for part in parts["trained"]}
        for role, of_it in parts.items():
            for part in of_it:
                if id(part) not in both:
                    self._roles.setdefault(id(part), (weakref.ref(part), number, role))

    # --- how far it follows

    def _measure_run(self, number: int) -> None:
        """A copy is about to be run: where is it now, if that was not asked for some time?"""
        step = self.session.step
        for twin in self._twins:
            if twin.number == number and step >= max(twin.measured + 1, int(twin.measured * _SLOWER)):
                with self.session.governor.look():
                    self._measure(twin)

    def _measure(self, twin: Twin) -> None:
        copy, trained = twin.copy(), twin.trained()
        mine = _values(copy) if copy is not None else None
        its = _values(trained) if trained is not None else None
        if mine is None or its is None or not mine.shape == its.shape == twin.start.shape:
            return
        if not mine.device == its.device == twin.start.device:
            return
        way, far = mine - twin.start, its - twin.start
        numbers = torch.stack(
            [(way != 0).any().float(), way @ far, way.norm(), far.norm(), twin.start.norm(), (mine - its).norm()]
        )
        step = twin.measured = self.session.step
        self.session.mail.send(numbers, lambda row: self._tell(twin, step, row))

    def _tell(self, twin: Twin, step: int, row: list[float]) -> None:
        moved, product, way, far, size, apart = row
        twin.told = {
            "copy": twin.number,
            "of": twin.of,
            "noticed": twin.noticed,
            "measured": step,
            "moved": bool(moved),
            "share": product / far**2 if far else None,
            "along": product / (way * far) if way and far else None,
            "far": far / size if size else None,
            "apart": apart / size if size else None,
            "pulled": (copy := twin.copy()) is not None and _is_pulled(copy),
        }
        self._write(twin)

    def _write(self, twin: Twin) -> None:
        runs = {
            role: [uses.told() for uses in self._uses.values() if (twin.number, role) in uses.runs]
            for role in ("copy", "trained")
        }
        self.session.write("twin", step=self.session.step, **twin.told, watched=self._woven, runs=runs)

    def _ends(self) -> None:
        self._unhook()
        for twin in self._twins:
            if twin.told and twin.copy() is not None and twin.trained() is not None:
                self._measure(twin)
            elif twin.told:
                self._write(twin)
        if any(not twin.told.get("moved", True) for twin in self._twins):
            files = {code.co_filename for uses in self._uses.values() for code in uses.codes}
            idle = self._followers.idle(files)
            if idle:
                self.session.write("idle_update", step=self.session.step, sites=idle)

    # --- which of the two is run without gradient

    def _entered(self, *_: Any) -> None:
        session = self.session
        if self._hook is not None:
            self._depth += 1
        elif session.active and not session.compiled and self._twins:
            frame: FrameType | None = sys._getframe(1)
            while frame is not None and frame.f_code.co_name in _BETWEEN:
                frame = frame.f_back
            if frame is None:
                return
            back = frame.f_back or frame
            key = (id(frame.f_code), frame.f_lasti, id(back.f_code), back.f_lasti)
            uses = self._uses.get(key)
            if uses is None:
                if len(self._uses) >= _MOST_PLACES:
                    return
                uses = self._uses[key] = Uses((frame.f_code, back.f_code))
            if uses.enters(session.step) and not torch.compiler.is_compiling():
                self._follow(uses)

    def _follow(self, uses: Uses) -> None:
        start = clock()
        self._inside, self._depth, self._calls = uses, 1, 0
        self._hook = nn.modules.module.register_module_forward_pre_hook(self._called)
        self.session.governor.charge(clock() - start)

    def _left(self, *_: Any) -> None:
        if self._hook is not None:
            self._depth -= 1
            if self._depth <= 0:
                self._unhook()

    def _called(self, module: nn.Module, _: Any) -> None:
        if not self.session.active or self._inside is None or torch.is_grad_enabled():
            return
        role = self._roles.get(id(module))
        if role is not None and role[0]() is module:
            self._inside.runs.add((role[1], role[2]))
            self._inside.place = self._inside.place or user_place(2)
            if role[2] == "copy":
                self._measure_guarded(role[1])
        self._calls += 1
        if self._calls >= _MOST_CALLS:
            self._unhook()

    def _unhook(self) -> None:
        hook, self._hook, self._inside = self._hook, None, None
        if hook is not None:
            hook.remove()


def _upper(roots: list[nn.Module]) -> Iterator[nn.Module]:
    """The models and their parts, the outermost first and not far inside: a copy is a model, or a part of one."""
    level = roots[:_WIDEST]
    for _ in range(_DEEPEST + 1):
        yield from level
        level = [inner for module in level for inner in module._modules.values() if inner is not None][:_WIDEST]


def _signature(module: nn.Module) -> Signature:
    pairs = [(name.replace(_WRAPPER, ""), p.shape) for name, p in named_parameters(module) if is_plain(p)]
    large = len(pairs) > 1 and sum(shape.numel() for _, shape in pairs) >= _LEAST_VALUES
    drawn = any(len(shape) > 1 for _, shape in pairs)  # the gains and shifts of all norms begin alike
    return tuple(pairs) if large and drawn else ()


def _is_pulled(copy: nn.Module) -> bool:
    """Do gradients reach it, as they reach no average?"""
    return any(p.grad is not None for _, p in named_parameters(copy))


def _alike(start: Tensor, trained: nn.Module) -> bool:
    """Are these values those that the module has, or had a few steps ago? Other random weights are 1.4 away."""
    values = _values(trained)
    return values is not None and bool((values - start).norm() < start.norm())


def _values(module: nn.Module) -> Tensor | None:
    """Some values of the largest parameters, side by side; None where they cannot be read together."""
    parameters = sorted((p for _, p in named_parameters(module) if is_plain(p)), key=lambda p: -p.numel())[:_PARTS]
    if not parameters or len({p.device for p in parameters}) > 1:
        return None
    return torch.cat([sample(p, _EACH) for p in parameters])
