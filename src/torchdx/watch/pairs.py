"""Inputs beside their targets: whether the two have anything to do with each other.

At looked-at steps a few features of some samples of a batch are kept, and their targets; what comes again, as a
checksum of its values tells, is taken once. Nothing of a model is needed for that: only that a loss compares what the
model gave for a sample with the sample's target.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchdx.watch.copied import copied
from torchdx.watch.errors import errors_in
from torchdx.watch.laid import Laid
from torchdx.watch.losses import FUNCTIONS
from torchdx.watch.places import Place, user_place
from torchdx.watch.relation import FEATURES, related, views
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of

ROWS = 32
"""Samples of a batch that are looked at, others at each look."""

JUDGED = 256
"""Samples whose features are kept, to see at the end whether targets have to do with them."""

COLUMNS = 2048
"""Values of a sample that are looked at; of more, some at even distances."""

LAID = 1024
"""Pictures whose maps are held beside them, at most."""

PLACES = 4
"""Losses that are followed."""

_TARGETS = 16
_LONGEST = 12
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_FOLLOWED = (
    *("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Reshape", "Clone", "Alias", "ToCopy"),
    *("Sigmoid", "Tanh", "Relu", "Exp", "Softmax", "LogSoftmax"),
)
"""Operations between a model's output and its loss that leave every sample in its row."""


class Pairs:
    """Sees, at looked-at steps, which inputs a model was called with and which targets its loss was given."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._calls: dict[int, tuple[Tensor, ...]] = {}
        self._outputs: dict[int, Tensor] = {}
        self._pairings: dict[tuple[str, str], Pairing] = {}
        self._paired = False
        session.at_look.append(self._forget)
        session.at_look_end.append(self._forget)
        session.at_end.append(self._ends)
        session.weave(torch.autograd.backward, before=self._backward)
        for name in FUNCTIONS:
            session.weave(getattr(functional, name), after=lambda *told, name=name: self._loss(name, *told))

    def _forget(self) -> None:
        self._calls.clear()
        self._outputs.clear()
        self._paired = False

    def meet(self, inputs: tuple[Any, ...], output: Any) -> None:
        """A model was called from outside with these inputs."""
        given = [*_tensors(inputs)]
        first = output[0] if isinstance(output, tuple | list) and output else output
        if not isinstance(first, Tensor) or first.grad_fn is None or not given:
            return
        if all(_is_readable(one) and one.shape[:1] == given[0].shape[:1] for one in given):
            self._calls[first.grad_fn._sequence_nr()] = tuple(one.detach() for one in given)
            self._outputs[first.grad_fn._sequence_nr()] = first.detach()

    def _loss(self, name: str, result: Any, given: Any, target: Any, *_: Any) -> None:
        if not self._calls or not self.session.looking or not isinstance(result, Tensor) or result.grad_fn is None:
            return
        if not isinstance(given, Tensor) or not isinstance(target, Tensor) or not _is_readable(target):
            return
        with self.session.governor.look():
            self._paired = True
            inputs = self._inputs_of(given)
            if inputs is not None:
                self._pair(name, user_place(2), inputs, target)

    def _backward(self, tensors: Any, *_: Any) -> None:
        """Where no loss function was called, the errors may have been taken by hand."""
        if not self._calls or self._paired or not self.session.looking:
            return
        root = root_of(tensors)
        if root is None or root.grad_fn is None:
            return
        with self.session.governor.look():
            found = errors_in(root, self._calls, self._outputs)
            if found is not None:
                self._pair(found.name, user_place(2), found.call, found.target, found.is_mean)

    def _pair(
        self, name: str, place: Place | None, inputs: tuple[Tensor, ...], target: Tensor, by_hand: bool = False
    ) -> None:
        if _is_by_place(inputs[0], target):
            inputs, target = _contexts(inputs[0]), target.reshape(-1)
        if target.shape[:1] != inputs[0].shape[:1] or target.shape[0] < 2:
            return
        pairing = self._pairings.get((name, str(place)))
        if pairing is None and len(self._pairings) < PLACES:
            pairing = self._pairings[name, str(place)] = Pairing(name, place, by_hand)
        if pairing is not None:
            pairing.add(inputs, target)

    def _inputs_of(self, given: Tensor) -> tuple[Tensor, ...] | None:
        """The inputs of the call whose output this is, sample by sample."""
        node = given.grad_fn
        for _ in range(_LONGEST):
            if node is None or node._sequence_nr() in self._calls:
                break
            parents = [parent for parent, _ in node.next_functions if parent is not None]
            follows = len(parents) == 1 and (node.name().rpartition("Backward")[0] in _FOLLOWED or _keeps_rows(node))
            node = parents[0] if follows else None
        return self._calls.get(node._sequence_nr()) if node is not None else None

    def _ends(self) -> None:
        for one in self._pairings.values():
            with self.session.governor.look():
                self.session.write("pairs", step=self.session.step, fn=one.name, site=one.place, **one.relation())


class Pairing:
    """The samples and targets that one loss was seen to compare."""

    def __init__(self, name: str, place: Place | None, by_hand: bool = False) -> None:
        self.name = name
        self.by_hand = by_hand
        self.place = place
        self._looks = 0
        self._known: set[int] = set()
        self._views: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._form: tuple[Any, ...] = ()
        self._laid = Laid()
        self._copied: set[tuple[int, int]] | None = None
        self._tables = 0
        self._columns = [0, 0]

    def add(self, inputs: tuple[Tensor, ...], target: Tensor) -> None:
        """Some samples of one more batch, as long as there are few."""
        if len(self._known) >= JUDGED:
            return
        count = target.shape[0]
        rows = (torch.arange(min(ROWS, count)) * count // min(ROWS, count) + self._looks) % count
        self._looks += 1
        if inputs[0].dim() == 4 and target.dim() > 2 and self._laid.counts[0] < LAID:
            self._laid.add(inputs[0][rows], target.detach()[rows])
        targets = _columns(target.detach()[rows], _TARGETS).double()
        seen = [_some(one, rows) for one in inputs]
        self._compare(seen, targets)
        keys = {key: row for row, key in enumerate(_checksums(seen)) if key not in self._known}
        if not keys:
            return
        fresh = [*keys.values()]
        features = views([one[fresh] for one in seen])
        form = (targets.shape[1], target.is_floating_point(), features.shape[1])
        if self._form in ((), form):
            self._form = form
            self._known |= keys.keys()
            self._views.append(features)
            self._targets.append(targets[fresh])

    def _compare(self, seen: list[Tensor], targets: Tensor) -> None:
        """Are columns of the inputs those of the targets, at this look as at all before?"""
        found = copied(seen, targets)
        if found is not None:
            self._copied = found if self._copied is None else self._copied & found
            self._columns = [max(one.shape[1] for one in seen if one.dim() == 2), targets.shape[1]]
            self._tables += 1

    def relation(self) -> dict[str, Any]:
        """Whether the targets have anything to do with the inputs, as far as distances tell."""
        if not self._targets:
            return {}
        targets, seen = torch.cat(self._targets)[:JUDGED], torch.cat(self._views)[:JUDGED]
        classes = not self._form[1]
        found = related([*seen.split(FEATURES, 1)], targets, classes)
        told: dict[str, Any] = {"judged": len(targets), "related": found} if found else {}
        if self._copied:
            told["copied"], told["looks"], told["columns"] = sorted(self._copied), self._tables, self._columns
        if any(self._laid.counts):
            told["laid"] = self._laid.counts
        if self.by_hand:
            far = targets - targets.mean(0)
            told["blind"] = float(far.square().mean() if self.name == "mse_loss" else far.abs().mean())
        if self._form[1] and bool(((targets == 0) | (targets == 1)).all()):
            share = targets.mean(0)
            told["entropy"] = float((torch.special.entr(share) + torch.special.entr(1 - share)).mean())
        return told


def _keeps_rows(node: Any) -> bool:
    """Does this operation, which chooses or moves along an axis, leave the first one alone?"""
    kind = node.name().rpartition("Backward")[0]
    if kind == "Transpose":
        return 0 not in (node._saved_dim0, node._saved_dim1)
    return kind in ("Slice", "Select") and node._saved_dim != 0


def _is_by_place(given: Tensor, target: Tensor) -> bool:
    """Has each symbol of a sequence a symbol to be told?"""
    whole = not (given.is_floating_point() or target.is_floating_point())
    return whole and given.dim() == 2 and given.shape[1] > 1 and given.numel() == target.numel()


def _contexts(symbols: Tensor) -> tuple[Tensor, ...]:
    """Each symbol, the one before it and, to tell places apart, some more: where each has something to be told."""
    before = [symbols.roll(shift, 1).reshape(-1, 1) for shift in range(6)]
    return before[0], before[1], torch.cat(before[2:], 1)


def _is_readable(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.grad_fn is None
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.dim() > 0
        and tensor.numel() > 0
        and not tensor.is_complex()
        and not tensor.is_quantized
    )


def _tensors(thing: Any) -> Iterator[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, tuple | list):
        for one in thing:
            yield from _tensors(one)


def _columns(rows: Tensor, most: int) -> Tensor:
    flat = rows.reshape(len(rows), -1)
    return flat if flat.shape[1] <= most else flat[:, torch.arange(most) * flat.shape[1] // most]


def _some(tensor: Tensor, rows: Tensor) -> Tensor:
    """These rows; as rows of numbers at even distances, where each is long."""
    if tensor.numel() <= COLUMNS * len(tensor):
        return tensor[rows]
    flat = tensor.reshape(len(tensor), -1)
    return flat[rows[:, None], torch.arange(COLUMNS) * flat.shape[1] // COLUMNS]


def _checksums(inputs: list[Tensor]) -> list[int]:
    """One number for each sample, the same for the same values, bit by bit."""
    total = torch.zeros(len(inputs[0]), dtype=torch.int64)
    for place, rows in enumerate(inputs):
        flat = rows.reshape(len(rows), -1)
        whole = flat.contiguous().view(_WORDS[flat.element_size()]).long()
        total += (whole * _factors(whole.shape[1], place)).sum(1)
    found: list[int] = total.tolist()
    return found


_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@lru_cache(maxsize=64)
def _factors(count: int, place: int) -> Tensor:
    """Odd numbers that look random: sums of products with them wrap around."""
    k = torch.arange(1 + place * COLUMNS, 1 + place * COLUMNS + count, dtype=torch.int64) * _GOLDEN
    k = (k ^ (k >> 29)) * _GOLDEN
    return (k ^ (k >> 32)) | 1
