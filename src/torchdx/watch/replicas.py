"""What each rank holds before the same steps: checksums of parameters and gradients, and how they are shared."""

from __future__ import annotations

import math
import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from torchdx.watch.models import Models, walk
from torchdx.watch.optimizers import Optimizers
from torchdx.watch.places import Place, user_place
from torchdx.watch.ranks import Ranks
from torchdx.watch.session import Session
from torchdx.watch.shares import Shares
from torchdx.watch.tensors import is_plain, number, sample

ELEMENTS = 32
"""Elements of a tensor that stand for it: two tensors that differ throughout differ in them."""

MOST = 32
"""Parameters of an optimizer that are measured, evenly spread over all of them."""

MOST_NORMS = 4
"""Batch norms whose running means are told."""

Row = list[float]


class Replicas:
    """Checksums of what an optimizer is about to step, at the steps that all ranks measure."""

    def __init__(self, session: Session, models: Models, optimizers: Optimizers, ranks: Ranks, shares: Shares) -> None:
        self.session = session
        self.models = models
        self.optimizers = optimizers
        self.ranks = ranks
        self.shares = shares
        self._clip: tuple[float, float, Place | None] | None = None
        ranks.at_join.append(self._begins)
        session.weave(nn.utils.clip_grad_norm_, after=self._clipped)

    def _begins(self) -> None:
        register_optimizer_step_pre_hook(self.session.guarded(self._before))

    def _clipped(self, total: Any, _: Any, bound: Any, *__: Any) -> None:
        if not self.ranks.looks_at(self.session.step + 1, self.optimizers.count):
            return
        if isinstance(total, Tensor) and type(total) is Tensor and total.numel() == 1 and total.device.type == "cpu":
            self._clip = (number(total), float(bound), user_place(2))

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        if self.ranks.looks_at(self.session.step + 1, self.optimizers.count):
            with self.session.governor.look():
                self._tell(optimizer)
        self._clip = None

    def _tell(self, optimizer: Optimizer) -> None:
        held = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        wrappers = self._wrappers({id(p) for p in held})
        free = {id(p) for wrapper in wrappers for p in _ignored(wrapper)}
        wrapped = {id(p) for wrapper in wrappers for p in _parameters(wrapper)} - free
        fact: dict[str, Any] = {
            "step": self.session.step + 1,
            "optimizer": self.optimizers.number_of(optimizer),
            "lr": _rate(optimizer),
            "layout": zlib.crc32(repr([(tuple(p.shape), str(p.dtype)) for p in held]).encode()),
            "elements": sum(p.numel() for p in held),
            "sharded": not all(map(is_plain, held)),
            "wrapper": _told(wrappers) if wrappers else None,
            "moved": dict(self.ranks.moved),
            "clip": self._clip,
            "batch": self.shares.take_batch(),
            "norms": _running_means(self.models.alive(nn.modules.batchnorm._BatchNorm)),
        }
        kept = [p for p in held if p.device == held[0].device and id(p) not in free]
        chosen = [] if fact["sharded"] else _spread(kept)
        numbers = [[self.models.parameter_number(p), int(id(p) in wrapped)] for p in chosen]
        write = self._writing(fact, numbers, [p.grad is not None and is_plain(p.grad) for p in chosen])
        if not chosen:
            write([])
            return
        values = [sample(p, ELEMENTS) for p in chosen]
        gradients = [p.grad for p in chosen if p.grad is not None and is_plain(p.grad)]
        self.session.mail.send(torch.stack([*values, *(sample(g, ELEMENTS) for g in gradients)]), write)

    def _writing(
        self, fact: dict[str, Any], numbers: Sequence[list[int]], present: Sequence[bool]
    ) -> Callable[[Sequence[Row]], None]:
        """How to write the fact, whenever its numbers arrive: rows of parameters, then of gradients."""

        def write(table: Sequence[Row]) -> None:
            gradients = iter(table[len(numbers) :])
            rows = [
                [*number, *_digest(row), *(_digest(next(gradients)) if there else ())]
                for number, row, there in zip(numbers, table, present, strict=False)
            ]
            self.session.write("replica", **fact, params=rows)

        return write

    def _wrappers(self, held: set[int]) -> list[Any]:
        """The living wrappers that average gradients of these parameters."""
        module = sys.modules.get("torch.nn.parallel.distributed")
        kind = getattr(module, "DistributedDataParallel", None)
        if kind is None:
            return []
        return [w for w in self.models.alive(kind) if any(id(p) in held for p in _parameters(w))]


def _digest(row: Row) -> tuple[int, float, float]:
    """A checksum of the bits, a sum with alternating signs, and the RMS: whether, and by how much, two rows differ.

    The squared difference of two such sums is, on average over rows, the squared distance of the rows.
    """
    signed = math.fsum(-v if k * 2654435769 >> 31 & 1 else v for k, v in enumerate(row))
    size = math.sqrt(math.fsum(v * v for v in row) / len(row))
    return zlib.crc32(array("f", row).tobytes()), float(f"{signed:.9g}"), float(f"{size:.9g}")


def _parameters(module: nn.Module) -> list[Tensor]:
    return [p for _, inner in walk(module) for p in inner._parameters.values() if p is not None]


def _ignored(wrapper: Any) -> list[Tensor]:
    names = set(getattr(wrapper, "parameters_to_ignore", ()))
    return [p for name, p in wrapper.module.named_parameters() if name in names] if names else []


def _told(wrappers: Sequence[Any]) -> dict[str, Any]:
    """How the wrapper shares gradients at this moment, by what it remembers itself."""
    first = wrappers[0]
    join = getattr(first, "_join_config", None)
    return {
        "group": sorted(torch.distributed.get_process_group_ranks(first.process_group)),
        "called": all(getattr(w, "_lazy_init_ran", True) for w in wrappers),
        "syncs": all(getattr(w, "require_backward_grad_sync", True) for w in wrappers),
        "joins": bool(getattr(join, "enable", False)),
        "hooked": any(getattr(w, "_comm_hooks", ()) for w in wrappers),
        "buffers": bool(getattr(first, "forward_sync_buffers", getattr(first, "broadcast_buffers", True))),
    }


def _running_means(norms: Sequence[Any]) -> list[list[Any]]:
    """Of the first batch norms: is it synchronised, and its running mean in units of its running deviation."""
    return [
        [isinstance(norm, nn.SyncBatchNorm), *_scaled(norm.running_mean, norm.running_var)]
        for norm in norms[:MOST_NORMS]
        if norm.running_mean is not None and norm.running_mean.device.type == "cpu" and norm.running_mean.numel()
    ]


def _scaled(mean: Tensor, variance: Tensor) -> list[float]:
    values = (mean.detach() / (variance.detach() + 1e-12).sqrt())[:ELEMENTS].tolist()
    return [float(f"{value:.4g}") for value in values]


def _spread(parameters: list[Tensor]) -> list[Tensor]:
    if len(parameters) <= MOST:
        return parameters
    return [parameters[k * len(parameters) // MOST] for k in range(MOST)]


def _rate(optimizer: Optimizer) -> float | None:
    rate = next(iter(optimizer.param_groups), {}).get("lr")
    return float(rate) if isinstance(rate, int | float) else None
