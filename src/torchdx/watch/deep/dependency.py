"""Which outputs depend on which inputs: across the samples of a batch, and on what comes later in a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdx.watch.deep.episode import Episode, mapped, masks_in, tensors_in
from torchdx.watch.deep.passage import parting, passage
from torchdx.watch.deep.specimen import Specimen, names_of

SHIFTED = 0.95
"""Share of targets equal to the input one place further at which they are the input shifted by one."""

COUNTED = 8
"""Targets that a loss counts, at least, where it leaves others out: of fewer some may be the input by chance."""

MOST_NUMBERS = 16
"""Numbers that a sequence holds for each place, at most, of which one may be what is to be told."""

CHANGED = 4
"""Samples of the batch that are changed, one after the other."""


def batch_mixing(specimen: Specimen) -> dict[str, Any]:
    """How much the loss of one sample changes with another sample, beside how much it changes with its own."""
    specimen.become(specimen.final)
    specimen.evaluating()
    episode = specimen.episodes[-1]
    terms = _by_sample(specimen, episode)
    if terms is None or episode.samples < 2:
        return {"why": "the loss has no terms for single samples"}
    own, other, layer = 0.0, 0.0, None
    for changed in range(min(CHANGED, episode.samples)):
        moved = _by_sample(specimen, _with_sample_changed(episode, changed))
        assert moved is not None
        difference = (moved - terms).abs()
        own = max(own, float(difference[changed]))
        difference[changed] = 0
        if float(difference.max()) > other:
            other, layer = float(difference.max()), _mixing_layer(specimen, episode, changed)
    again = _by_sample(specimen, episode)
    if again is None or not torch.equal(again, terms):
        return {"why": "the model remembers earlier calls, or gives another answer to every one"}
    if other > 0 and _compares(specimen, episode):
        return {"why": "the model compares the samples of a batch with each other"}
    told = {"samples": episode.samples, "own": own, "other": other, "size": float(terms.abs().mean()), "layer": layer}
    return told | ({"across": _across(specimen, episode)} if other > 0 else {})


def _compares(specimen: Specimen, episode: Episode) -> bool:
    """Does an output of a sample have a place for every other sample, as a table of likenesses has?"""
    with torch.no_grad():
        all_of_it, fewer = (specimen.judged(one) for one in (episode, episode.part(episode.samples - 1)))
    return all_of_it.shape[1:] != fewer.shape[1:]


def _across(specimen: Specimen, episode: Episode) -> float | None:
    """How much a loss changes with an input of another row and another column, where each place has a loss of its own.

    Whichever axis the samples are along: of two samples one then knows of the other. None where losses have no places.
    """
    masks = masks_in(episode.inputs)
    given = [tensor for tensor in episode.inputs if all(tensor is not mask for mask in masks)]
    shapes = {tuple(tensor.shape) for tensor in given}
    shape = next(iter(shapes))
    indices = all(not tensor.is_floating_point() and tensor.dtype is not torch.bool for tensor in given)
    with torch.no_grad():
        terms = specimen.terms(episode)
    if len(shapes) > 1 or len(shape) != 2 or min(shape) < 2 or not indices:
        return None
    if terms is None or terms.numel() != shape[0] * shape[1]:
        return None
    most = 0.0
    for row in range(min(2, shape[0])):

        def change(tensor: Tensor, row: int = row) -> Tensor:
            if any(tensor is mask for mask in masks):
                return tensor
            other = tensor.detach().clone()
            other[row, 0] = others(tensor)[row, 0]
            return other

        with torch.no_grad():
            moved = specimen.terms(episode.changed(change))
        assert moved is not None
        difference = (moved - terms).abs().reshape(shape)
        difference[row], difference[:, 0] = 0, 0
        most = max(most, float(difference.max()))
    return most


def others(tensor: Tensor) -> Tensor:
    """For each value another one within the same bounds."""
    low, high = tensor.min(), tensor.max()
    return low + high - tensor if tensor.is_floating_point() else low + (tensor - low + 1) % (high - low + 1)


def _by_sample(specimen: Specimen, episode: Episode) -> Tensor | None:
    """The loss of each sample."""
    with torch.no_grad():
        terms = specimen.terms(episode)
    if terms is None or not terms.dim() or terms.numel() % episode.samples or terms.shape[0] % episode.samples:
        return None
    return terms.double().reshape(episode.samples, -1).sum(1)


def _mixing_layer(specimen: Specimen, episode: Episode, changed: int) -> int | None:
    """The first layer whose output for other samples changes with this one."""
    count = episode.samples

    def unchanged(output: Tensor) -> Tensor | None:
        return torch.cat([output[:changed], output[changed + 1 :]]) if output.shape[:1] == (count,) else None

    other = _with_sample_changed(episode, changed)
    return specimen.number(parting(passage(specimen, episode), passage(specimen, other), unchanged))


def _with_sample_changed(episode: Episode, sample: int) -> Episode:
    """The step with one sample replaced, in the inputs alone, by the next one (numbers: by it and its negative)."""
    count, masks = episode.samples, masks_in(episode.inputs)

    def change(tensor: Tensor) -> Tensor:
        if not tensor.dim() or tensor.shape[0] != count or any(tensor is mask for mask in masks):
            return tensor
        if tensor.dtype is torch.bool:
            return tensor
        other = tensor.detach().clone()
        other[sample] = -other[(sample + 1) % count] if tensor.is_floating_point() else other[(sample + 1) % count]
        return other

    return episode.changed(change)


# --- the future


def future_leak(specimen: Specimen) -> dict[str, Any]:
    """Where the target is the input one place further on: does the loss at a place change with later inputs?"""
    episode = specimen.episodes[-1]
    found = _shifted_input(episode)
    if found is None:
        return {"shifted": False}
    specimen.become(specimen.final)
    specimen.evaluating()
    with torch.no_grad():
        terms = specimen.terms(episode)
    assert episode.target is not None
    shape, axis = found.shape, found.axis
    if terms is None or terms.numel() not in (found.given.numel(), episode.target.numel()):
        return {"shifted": True, "why": "the loss has no terms for single places"}
    place = middle(episode, shape, axis)
    changed = _with_future_changed(episode, found, place)
    with torch.no_grad():
        moved, again = specimen.terms(changed), specimen.terms(episode)
    assert moved is not None
    if again is None or not torch.equal(again, terms):
        return {"shifted": True, "why": "the model remembers earlier calls, or gives another answer to every one"}
    each = _as_places(terms, shape)
    difference = (moved.reshape(each) - terms.reshape(each)).abs()
    # a term at t compares with the input at t + 1: what is before `place` may not know of it
    before = difference.narrow(axis, 0, place)
    after = difference.narrow(axis, place, shape[axis] - place)
    return {
        "shifted": True,
        "axis": axis,
        "place": place,
        "before": float(before.max()),
        "after": float(after.max()),
        "earliest": _earliest(difference, axis, place),
        "size": float(terms.abs().mean()),
        "layer": _leaking_layer(specimen, episode, changed, found, place) if bool(before.max() > 0) else None,
    }


def _leaking_layer(specimen: Specimen, episode: Episode, changed: Episode, found: Ahead, place: int) -> int | None:
    """The first layer whose output for earlier places changes with later inputs."""
    shape, axis = found.shape, found.axis

    def earlier(output: Tensor) -> Tensor | None:
        if output.shape[:2] == shape:
            return output.narrow(axis, 0, place)
        if output.dim() == 3 and axis == 1 and output.shape[::2] == shape and output.shape[1] != shape[1]:
            return output[..., :place]  # channels before places
        turned = (shape[1], shape[0])
        return output.narrow(1 - axis, 0, place) if output.shape[:2] == turned and turned[0] != turned[1] else None

    return specimen.number(parting(passage(specimen, episode), passage(specimen, changed), earlier))


def _earliest(difference: Tensor, axis: int, place: int) -> int | None:
    other = 1 - axis
    changed = difference.flatten(2).amax(2) if difference.dim() > 2 else difference
    reached = (changed.amax(other) > 0)[:place].nonzero()
    return int(reached[0]) if len(reached) else None


def _as_places(terms: Tensor, shape: tuple[int, int]) -> tuple[int, ...]:
    """The shape that gives each term its place: that of the sequence, with what a place holds behind it."""
    count, rest = shape[0] * shape[1], terms.numel()
    return (*shape, rest // count) if rest > count else shape


class Ahead(NamedTuple):
    """An input, or a part of what it holds for each place, that is the target one place further along an axis."""

    given: Tensor
    part: Callable[[Tensor], Tensor]
    shape: tuple[int, int]
    axis: int


def _shifted_input(episode: Episode) -> Ahead | None:
    """The input of which the target is the same, one place further along an axis; None if there is none."""
    target = episode.target
    if target is None:
        return None
    for given in tensors_in((episode.call.args, episode.call.kwargs)):
        if given.dim() < 2 or given.dtype is torch.bool:
            continue
        for part in parts_like(given, target):
            one = part(given)
            same = target.reshape(one.shape)
            for axis in (1, 0):
                length = one.shape[axis]
                if length < 4:
                    continue
                ahead, here = one.narrow(axis, 1, length - 1), same.narrow(axis, 0, length - 1)
                counts = counted(episode, same.shape)
                if counts is not None and int(counts.sum()) < COUNTED:
                    return None
                unmoved = _share(equal(one, same), counts)
                moved = _share(equal(ahead, here), counts.narrow(axis, 0, length - 1) if counts is not None else None)
                if moved >= SHIFTED and unmoved < 1 - (1 - SHIFTED) * 4:
                    return Ahead(given, part, (one.shape[0], one.shape[1]), axis)
    return None


def counted(episode: Episode, shape: torch.Size) -> Tensor | None:
    """Which targets have a term in the loss, laid out in this shape; None where all have."""
    target, name = episode.target, "ignore_index"
    if target is None or target.is_floating_point() or name not in names_of(episode):
        return None
    names = names_of(episode)[1:]
    counts = target.reshape(shape) != episode.arguments[names.index(name)]
    return None if bool(counts.all()) else counts


def middle(episode: Episode, shape: tuple[int, ...], axis: int) -> int:
    """A place along an axis with about as many targets before it as behind it, of those that a loss counts."""
    counts = counted(episode, torch.Size(shape))
    if counts is None or not bool(counts.any()):
        return shape[axis] // 2
    return max(1, int(counts.nonzero()[:, axis].median()))


def _share(same: Tensor, counts: Tensor | None) -> float:
    return float((same if counts is None else same[counts]).double().mean())


def parts_like(given: Tensor, target: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
    """What of an input is of the size of the target: all, or one of the numbers that it holds for each place."""
    if given.numel() == target.numel():
        yield lambda tensor: tensor
    if given.dim() != 3 or not given.is_floating_point() or target.dtype != given.dtype:
        return
    for axis in (2, 1):
        if 1 < given.shape[axis] <= MOST_NUMBERS and given.numel() == target.numel() * given.shape[axis]:
            for k in range(given.shape[axis]):
                yield partial(_number_of, axis=axis, k=k)


def equal(one: Tensor, other: Tensor) -> Tensor:
    """Which values are the same: of numbers that were found again from their errors, within rounding."""
    return torch.isclose(one, other, rtol=1e-5, atol=1e-6) if one.is_floating_point() else one == other


def _number_of(tensor: Tensor, axis: int, k: int) -> Tensor:
    return tensor.select(axis, k)


def _with_future_changed(episode: Episode, found: Ahead, place: int) -> Episode:
    """The step with every input from this place on replaced by that of another sequence, or of another place."""
    axis = found.axis

    def change(tensor: Tensor) -> Tensor:
        if tensor is not found.given:
            return tensor
        other = tensor.detach().clone()
        part = found.part(other)
        later = part.narrow(axis, place, part.shape[axis] - place)
        later.copy_(later.roll(1, dims=1 - axis) if part.shape[1 - axis] > 1 else later.flip(axis))
        return other

    call = episode.call
    changed = replace(call, args=mapped(call.args, change), kwargs=mapped(dict(call.kwargs), change))
    return replace(episode, call=changed)
