"""Does what a model says of a sample depend on the padding that the longer samples of its batch made necessary?

Padding is recognised in a kept batch: runs of one constant at the end of the samples, of different lengths. Then some
samples are given to the copy once more, each with its padding cut off, and what it says of them is compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.deep.episode import Episode, at, mapped, tensors_in
from torchdx.watch.deep.passage import Outputs, passage
from torchdx.watch.deep.specimen import Specimen
from torchdx.watch.models import walk
from torchdx.watch.places import Place, user_place

TRIED = 10
"""Samples that are given alone, without their padding: evenly spread over the lengths."""

FEWEST = 4
"""Samples, and places of the longest, from which padding is recognised."""

EXACT = 1e-3
"""Share of the spread below which outputs are taken for the same: sums of other sizes round otherwise."""

LENGTHS = 3
"""Different lengths that samples must have."""


@dataclass(frozen=True)
class Padding:
    """Where the padding of a batch is: in which of its inputs, the axes of samples and of places, and the lengths."""

    place: int
    batch: int
    time: int
    lengths: tuple[int, ...]
    places: int
    told: str
    value: float
    indices: bool

    @property
    def spare(self) -> int:
        """Places of padding that every sample has."""
        return self.places - max(self.lengths)

    def places_in(self, episode: Episode) -> set[int]:
        """How many places the samples of another batch have."""
        shapes = [tensor.shape for tensor in episode.inputs]
        shape = shapes[self.place] if len(shapes) > self.place else ()
        return {shape[self.time]} if len(shape) > max(self.time, self.batch) else set()

    def tried(self) -> list[int]:
        """Samples to try: padded ones, the longest of them first."""
        rows = [row for row, length in enumerate(self.lengths) if 2 <= length < max(self.lengths)]
        rows.sort(key=lambda row: -self.lengths[row])
        step = max(1.0, (len(rows) - 1) / (TRIED - 1))
        return [rows[round(k * step)] for k in range(min(TRIED, len(rows)))]


def padding_of(episode: Episode) -> Padding | None:
    """The padding of the step's inputs; None where none is recognised."""
    for place, given in enumerate(episode.inputs):
        for batch, time in ((0, 1), (0, 2), (1, 0)):
            if given.dim() not in (2, 3) or max(batch, time) >= given.dim() or not _may_be(given, batch, time, episode):
                continue
            found = _padding(place, batch, time, episode)
            if found is not None:
                return found
    return None


def _may_be(given: Tensor, batch: int, time: int, episode: Episode) -> bool:
    """Can these be the axes of samples and of places?"""
    count, places = given.shape[batch], given.shape[time]
    if count < FEWEST or places < FEWEST or count == places or given.dtype is torch.bool:
        return False
    target = episode.target
    if target is not None and target.dim() and target.shape[0] % count:
        return False
    return batch == 0 or (target is not None and target.dim() > 0 and target.shape[0] == count)


def _padding(place: int, batch: int, time: int, episode: Episode) -> Padding | None:
    given = episode.inputs[place]
    rows = given.detach().movedim((batch, time), (0, 1))
    count, places = rows.shape[:2]
    ends = rows[:, -1].reshape(count, -1)
    value = ends[:, 0].mode().values
    if int((ends == value).all(1).sum()) * 4 < count:
        return None  # as of nearly all that is no padding
    rows = rows.reshape(count, places, -1)
    same = (rows == value).all(2)
    tails = same.flip(1).to(torch.int64).cumprod(1).sum(1)
    indices = not given.is_floating_point()
    lengths, told = places - tails, ""
    for name, said in _told(episode, given, count, places):
        if bool((said >= lengths).all()) and int(said.max()) <= places and len(said.unique()) >= LENGTHS:
            lengths, told = said, name
            break
    elsewhere = int(same.sum() - tails.sum())
    square = [*given.shape].count(places) > 1  # a graph's adjacency, or a picture
    if not told and (elsewhere or square or (not indices and float(value) != 0.0)):
        return None
    if len(lengths.unique()) < LENGTHS or int((lengths < places).sum()) * 4 < count or int(lengths.max()) < 2:
        return None
    return Padding(place, batch, time, tuple(lengths.tolist()), places, told, float(value), indices)


def _told(episode: Episode, given: Tensor, count: int, places: int) -> Iterator[tuple[str, Tensor]]:
    """How many places each sample has, as arguments of the model say: lengths, or a mask."""
    for thing in (*episode.call.args, *episode.call.kwargs.values()):
        if isinstance(thing, list | tuple) and len(thing) == count and all(type(one) is int for one in thing):
            yield "lengths", torch.tensor(thing, device=given.device)
    for one in tensors_in((episode.call.args, dict(episode.call.kwargs))):
        if one is given:
            continue
        whole = not one.is_floating_point() or bool((one == one.round()).all())
        if one.dim() and one.numel() == count and one.dtype is not torch.bool and whole:
            yield "lengths", one.detach().reshape(-1).to(given.device, torch.int64)
        if one.numel() != count * places or one.dim() < 2 or not whole:
            continue
        kept = one.detach().squeeze()
        if kept.shape == (places, count):
            kept = kept.T
        if kept.shape == (count, places) and bool(((kept == 0) | (kept == 1)).all()):
            kept = kept.to(given.device, torch.int64)
            for mask in (kept, 1 - kept):
                if bool((mask.cumprod(1) == mask).all()):
                    yield "mask", mask.sum(1)


# --- the experiment


def padding_in_batches(specimen: Specimen) -> dict[str, Any]:
    """The experiment with the latest kept step that is padded, on what was learnt."""
    for episode in reversed(specimen.episodes):
        padding = padding_of(episode)
        if padding is not None:
            batches = set().union(*map(padding.places_in, specimen.episodes))
            return padding_counted(specimen, episode, padding, specimen.final) | {"batches": sorted(batches)}
    return {"why": "no padding was recognised"}


def padding_counted(
    specimen: Specimen, episode: Episode, padding: Padding, state: Mapping[str, Tensor]
) -> dict[str, Any]:
    """How far the output for a sample moves when its padding is cut off, beside how far samples lie apart."""
    specimen.become({name: tensor.detach() for name, tensor in state.items()})
    specimen.evaluating()
    trial = _Trial(specimen, episode, padding)
    told = {
        "places": padding.places,
        "lengths": sorted(padding.lengths)[:64],
        "told": padding.told or None,
        "indices": padding.indices,
        "value": padding.value,
    }
    with torch.no_grad():
        return told | trial.outcome()


class _Trial:
    """One batch, and what the copy says of some of its samples with padding and without."""

    def __init__(self, specimen: Specimen, episode: Episode, padding: Padding) -> None:
        self.specimen, self.episode, self.padding = specimen, episode, padding
        self.rows = padding.tried()
        self.longest = max(range(len(padding.lengths)), key=padding.lengths.__getitem__)

    def outcome(self) -> dict[str, Any]:
        """What came of it; or why nothing did."""
        if len(self.rows) < 2:
            return {"why": "too few samples are padded"}
        padded = [self.longest, *self.rows]  # the longest first, as packing asks for
        together = self._said(padded, None)
        if not together:
            return {"why": "the model gives no output for single samples"}
        whole = self._said(range(len(self.padding.lengths)), None)
        pairs = list[tuple[Tensor, Tensor]]()
        kept, tried = "", list[int]()
        for place, row in enumerate(self.rows, 1):
            alone = self._alone(row)
            for name in ("judged", "given"):
                if name in together and name in alone and (not kept or kept == name):
                    pair = self._pair(together[name].select(0, place), alone[name].select(0, 0), row)
                    if pair is not None:
                        pairs.append(pair)
                        tried.append(row)
                        kept = name
                        break
        if len(pairs) < 2 or kept not in whole:
            return {"why": "the model takes samples of one length alone"}
        self.rows = tried
        spread = self._spread(whole[kept], pairs)
        mixed = _size(together[kept] - whole[kept][padded])
        moved = [_size(one - other) for one, other in pairs]
        if not math.isfinite(spread + sum(moved)) or mixed > EXACT * spread:
            return {"why": "what is said of a sample depends on the other samples in other ways, too"}
        return {
            "by_place": pairs[0][0].shape != together[kept].shape[1:],
            "spread": spread,
            "moved": moved,
            "alone": [self.padding.lengths[row] for row in self.rows],
            "parting": self._layers(spread, moved),
        }

    def _cut(self, rows: Sequence[int], places: int | None) -> Episode:
        """The step with these samples alone, with so many places each."""
        padding, count = self.padding, len(self.padding.lengths)
        given = self.episode.inputs[padding.place]

        def change(tensor: Tensor) -> Tensor:
            axes = (padding.batch,) if tensor is given else (0, 1)
            axis = next((axis for axis in axes if tensor.dim() > axis and tensor.shape[axis] == count), None)
            other = tensor.detach()
            if axis is not None:
                other = other.index_select(axis, torch.tensor([*rows], device=tensor.device))
            times = (padding.time,) if tensor is given else range(tensor.dim())
            for time in times if places is not None else ():
                if places is not None and time != axis and tensor.shape[time] == padding.places:
                    rest = other.narrow(time, places, padding.places - places)
                    if axis is not None and rest.numel() and bool((rest != rest.flatten()[0]).any()):
                        raise ValueError("more than padding would be cut")
                    other = other.narrow(time, 0, places)
            return other.clone()

        def chosen(thing: Any) -> Any:
            if isinstance(thing, list | tuple) and len(thing) == count and all(type(one) is int for one in thing):
                return type(thing)(thing[row] for row in rows)
            return mapped(thing, change)

        call = self.episode.call
        args = tuple(map(chosen, call.args))
        kwargs = {name: chosen(value) for name, value in call.kwargs.items()}
        return replace(self.episode, call=replace(call, args=args, kwargs=kwargs))

    def _said(self, rows: Sequence[int], places: int | None) -> dict[str, Tensor]:
        """What the loss is given, and what the model gave, where their first axis is that of the samples."""
        torch.manual_seed(0)
        episode = self._cut(rows, places)
        given = at(self.specimen.output(episode), episode.path)
        said = {}
        if given.shape[0] == len(rows):
            said["given"] = given
        elif given.dim() > 1 and given.shape[1] == len(rows):
            said["given"] = given.movedim(1, 0)
        try:
            for step in episode.steps:
                given = step(given)
        except Exception:  # a step that knows the sizes of the whole batch
            return said
        return said | ({"judged": given} if given.dim() and given.shape[0] == len(rows) else {})

    def _alone(self, row: int) -> dict[str, Tensor]:
        try:
            return self._said([row, row], self.padding.lengths[row] + self.padding.spare)
        except Exception:  # the model needs more places, or always as many
            return {}

    def _pair(self, one: Tensor, other: Tensor, row: int) -> tuple[Tensor, Tensor] | None:
        """The same places of both; None where these cannot be told."""
        real = self.padding.lengths[row]
        if one.shape == other.shape:
            return one, other
        axes = [axis for axis in range(one.dim()) if one.shape[axis] != other.shape[axis]]
        if one.dim() != other.dim() or len(axes) != 1 or one.shape[axes[0]] != self.padding.places:
            return None
        if other.shape[axes[0]] != real + self.padding.spare:
            return None
        return one.narrow(axes[0], 0, real), other.narrow(axes[0], 0, real)

    def _spread(self, whole: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
        """How far the samples lie apart, padded or not, whichever is more."""
        if pairs[0][0].shape == whole.shape[1:]:
            groups = [whole.double(), torch.stack([other for _, other in pairs]).double()]
        else:  # places of samples
            axis = next(k for k in range(pairs[0][0].dim()) if pairs[0][0].shape[k] != whole.shape[k + 1])
            groups = [torch.cat([pair[which].movedim(axis, 0) for pair in pairs]).double() for which in (0, 1)]
        return max(_size(group - group.mean(0)) for group in groups)

    def _layers(self, spread: float, moved: Sequence[float]) -> dict[str, Any]:
        """The first layer whose output moves about as much, and the last of a place's outputs before it."""
        if not spread > 0 or max(moved) <= EXACT * spread:
            return {}
        at_most = max(range(len(moved)), key=moved.__getitem__)
        row = self.rows[at_most]
        try:
            padded = replace(self._cut([self.longest, row], None), steps=())
            alone = replace(self._cut([row, row], self.padding.lengths[row] + self.padding.spare), steps=())
            passages = passage(self.specimen, padded), passage(self.specimen, alone)
            told = self._parting(*passages, row, 0.3 * min(1.0, moved[at_most] / spread))
            return {"call": self._called(told["name"], padded), **told} if told else {}
        except Exception:  # it can be told without
            return {}

    def _parting(self, padded: Outputs, alone: Outputs, row: int, least: float) -> dict[str, Any]:
        before, number = None, self.specimen.number
        for name, one in padded.items():
            other = alone.get(name)
            if other is None or one.dim() != other.dim():
                continue
            axis = next((a for a in (0, 1) if a < one.dim() and one.shape[a] == other.shape[a] == 2), None)
            pair = None if axis is None else self._pair(one.select(axis, 1), other.select(axis, 1), row)
            if axis is None or pair is None:
                continue
            by_place, change = one.shape != other.shape, pair[0] - pair[1]
            if by_place and change.dim() and change.numel():  # a convolution reaches over the end at a few places alone
                time = next(k for k in range(one.dim()) if one.shape[k] != other.shape[k])
                change = max(change.movedim(time - (time > axis), 0), key=_size)
            if _size(change) > least * _size(pair[1] - pair[1].mean()):
                return {"name": name, "layer": number(name), "before": before, "by_place": by_place}
            before = number(name) if by_place else before
        return {}

    def _called(self, name: str, episode: Episode) -> Place | None:
        """The line that calls this layer."""
        places = list[Place | None]()
        module = dict(walk(self.specimen.module))[name]
        hook = module.register_forward_pre_hook(lambda *_: places.append(user_place(2)))
        try:
            self.specimen.judged(episode)
        finally:
            hook.remove()
        return places[0] if places else None


def _size(tensor: Tensor) -> float:
    return float(tensor.double().square().mean().sqrt()) if tensor.numel() else 0.0
