"""Layers whose weights are masked so that each output sees what comes before it: do the masks, and the whole, hold?

A kernel's mask is read alone. Of masked matrices one after the other a copy is taken, with a few rows of what it was
called with; when training is over, the copy is called with one number of these replaced after the other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.deep.specimen import CannotReplay, apart, duplicate
from torchdx.watch.models import Models, walk
from torchdx.watch.reach import is_contained
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain

MOST = 3
"""Networks of masked matrices that are copied."""

LARGEST = 1 << 20
"""Numbers in the largest that is copied, and in the largest mask that is read."""

ROWS, PLACES = 4, 12
"""Rows of the input that are kept, and numbers of a row that are replaced."""


@dataclass
class _Kept:
    module: int
    copy: nn.Module
    rows: Tensor


class Masks:
    """Reads the masks of modules in use, and tries what they are part of."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._kept: list[_Kept] = []
        self._seen: set[int] = set()
        self._wholes: set[int] = set()
        self._masked: dict[int, Tensor] = {}
        models.at_layer = self._meets
        session.at_end.append(self._end)

    def _meets(self, number: int, module: nn.Module) -> None:
        """A layer comes into use: is its weight masked?"""
        mask = mask_of(module)
        if mask is None:
            return
        self._masked[id(module)] = mask
        if mask.dim() == 4:
            pair = symmetric(mask.flatten(0, 1).amax(0) > 0)
            if pair is not None:
                self.session.write("mask", module=number, kernel=list(mask.shape[2:]), sees=pair)

    def called(self, number: int, module: nn.Module, given: Any, output: Any) -> None:
        """At a look, after a module with parts was called: is it a network of masked matrices?"""
        if not self._masked or id(module) in self._seen or len(self._kept) >= MOST:
            return
        self._seen.add(id(module))
        inner = [m for _, m in walk(module)]
        masks = [self._masked[id(m)] for m in inner if id(m) in self._masked]
        if len(masks) < 2 or any(id(m) in self._wholes for m in inner) or not _fits(masks, given, output):
            return
        if sum(p.numel() for m in inner for p in m._parameters.values() if p is not None) > LARGEST:
            return
        if is_contained(module):
            try:
                self._kept.append(_Kept(number, duplicate(module), given.detach()[:ROWS].clone()))
            except CannotReplay:
                return
            self._wholes.add(id(module))

    def _end(self) -> None:
        for kept in self._kept:
            level = logging.root.manager.disable
            with self.session.governor.look(), apart(kept.rows.device), torch.no_grad():
                logging.disable(logging.CRITICAL)
                try:
                    told = _try(kept)
                finally:
                    logging.disable(level)
            if told:
                self.session.write("order", module=kept.module, **told)


def mask_of(module: nn.Module) -> Tensor | None:
    """A tensor of zeros and ones beside the module's weight that fits on it: of a matrix exactly, of a kernel at least
    in its extent."""
    weight = module._parameters.get("weight")
    if weight is None or weight.dim() not in (2, 4) or weight.numel() > LARGEST or not is_plain(weight.data):
        return None
    for thing in (*module._buffers.values(), *vars(module).values()):
        if not isinstance(thing, Tensor) or thing.dim() != weight.dim() or thing.device.type != "cpu":
            continue
        fits = thing.shape == weight.shape or (thing.dim() == 4 and thing.shape[2:] == weight.shape[2:])
        if fits and min(weight.shape[-2:]) > 1 and not thing.is_complex():
            mask = thing.detach()
            if bool(((mask == 0) | (mask == 1)).all()) and bool((mask == 0).any()) and bool((mask == 1).any()):
                return mask.float()
    return None


def symmetric(seen: Tensor) -> list[int] | None:
    """Of a kernel that in its own row sees what comes before it alone: a place of another row seen from both ends.

    Where the place p + d sees p, and p sees p + d, neither comes before the other.
    """
    height, width = seen.shape
    row, column = height // 2, width // 2
    before, after = seen[row, :column], seen[row, column + 1 :]
    if height % 2 == 0 or width % 2 == 0 or width < 3 or bool(before.all()) == bool(after.all()):
        return None
    if bool(before.any()) and bool(after.any()):
        return None
    both = (seen & seen.flip(0, 1))[row + 1 :].nonzero()
    return [int(both[0, 0]) + 1, int(both[0, 1]) - column] if len(both) else None


def _fits(masks: Sequence[Tensor], given: Any, output: Any) -> bool:
    """Do the masks, one after the other, lead from this input to this output, in an order?"""
    tensor = _first(output)
    if not isinstance(given, Tensor) or not is_plain(given) or given.dim() != 2 or tensor is None or len(given) < 2:
        return False
    count = given.shape[1]
    if not 2 < count <= masks[0].shape[1] or masks[0].shape[1] != count or masks[-1].shape[0] % count:
        return False
    if tensor.dim() != 2 or tensor.shape[1] % count or given.device.type != "cpu":
        return False
    whole = masks[0]
    for mask in masks[1:]:
        if mask.dim() != 2 or mask.shape[1] != whole.shape[0]:
            return False
        whole = ((mask @ whole) > 0).float()
    return any(not _mutual(table) and bool(table.any()) for table in _tables(whole > 0, count))


def _first(output: Any) -> Tensor | None:
    output = output[0] if isinstance(output, tuple | list) and output else output
    return output if isinstance(output, Tensor) and is_plain(output) else None


def _tables(sees: Tensor, count: int) -> list[Tensor]:
    """Which of the variables sees which, where outputs come variable by variable, or all of a kind together."""
    kinds = sees.shape[0] // count
    return [sees.reshape(kinds, count, -1).any(0), sees.reshape(count, kinds, -1).any(1)]


def _mutual(table: Tensor) -> list[int] | None:
    """Two variables each of which sees the other."""
    both = (table & table.T).triu(1).nonzero()
    return both[0].tolist() if len(both) else None


def _try(kept: _Kept) -> dict[str, Any]:
    """Replace one number of each row after the other: which outputs change?"""
    copy, rows = kept.copy, kept.rows
    for _, module in walk(copy):
        module.training = False

    def outputs(given: Tensor) -> Tensor:
        torch.manual_seed(0)
        found = _first(copy(given))
        assert found is not None
        return found

    try:
        first = outputs(rows)
        count = rows.shape[1]
        sees = torch.zeros(first.shape[1], count, dtype=torch.bool)
        for place in range(0, count, -(-count // PLACES)):
            other = rows.clone()
            other[:, place] = rows[:, place].roll(1) + 0.5
            sees[:, place] = (outputs(other) != first).any(0)
        if not torch.equal(outputs(rows), first):
            return {}
    except Exception:  # whatever it is: it is not understood well enough
        return {}
    pairs = [_mutual(table) for table in _tables(sees, count)]
    return {"variables": count, "mutual": pairs[0] if all(pairs) else None}
