"""Is the target the input itself, and is a model that reads in one direction given it at the place of the answer?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torchdx.watch.deep.dependency import COUNTED, counted, equal, others, parts_like
from torchdx.watch.deep.episode import Episode, tensors_in
from torchdx.watch.deep.specimen import Specimen

Same: TypeAlias = tuple[Tensor, Callable[[Tensor], Tensor]]
"""An input, and what of it is meant."""


def target_given(specimen: Specimen) -> dict[str, Any]:
    """Where the target is the input itself: does the model read in one direction, and what it is to give at a place?

    The places of a picture come row by row.
    """
    episode = specimen.episodes[-1]
    same = _same_input(episode)
    if same is None:
        return {"same": False}
    given, part = same
    found = part(given)
    specimen.become(specimen.initial)  # one that has learnt to copy looks at nothing else any more
    specimen.evaluating()
    with torch.no_grad():
        terms = specimen.terms(episode)
    if terms is None or terms.numel() != found.numel():
        return {"same": True, "why": "the loss has no terms for single places"}
    told = _given(specimen, episode, same, terms, 1)
    if found.dim() < 4 and told.get("later") == told.get("earlier") == 0:  # time may come first
        told = _given(specimen, episode, same, terms, 0)
    return {"same": True} | told


def _given(specimen: Specimen, episode: Episode, same: Same, terms: Tensor, axis: int) -> dict[str, Any]:
    """How losses change with inputs at other places, which are along this axis and all those after it."""
    given, its = same
    found = its(given)

    def turned(tensor: Tensor) -> Tensor:
        return tensor if axis else tensor.transpose(0, 1)

    places = turned(found).flatten(1).shape[1]
    if places < 4:
        return {"why": "there are too few places"}
    counts = counted(episode, found.shape)
    place = places // 2
    if counts is not None:
        counts = turned(counts).flatten(1)
        place = int(counts.nonzero()[:, 1].median())
        if not bool(counts[:, :place].any()):
            return {"why": "there are too few places"}

    def change(tensor: Tensor, first: int, last: int) -> Tensor:
        if tensor is not given:
            return tensor
        whole = tensor.detach().clone()
        other = turned(its(whole)).flatten(1).clone()
        part = other[:, first:last]
        if last - first == 1:
            part.copy_(others(other)[:, first:last])
        else:
            part.copy_(part.roll(1, 0) if len(other) > 1 else part.flip(1))
        its(whole).copy_(turned(other.reshape(turned(found).shape)))
        return whole

    told = dict[str, Tensor]()
    for key, ends in (("later", (place, places)), ("earlier", (0, place)), ("own", (place, place + 1))):
        with torch.no_grad():
            moved = specimen.terms(episode.changed(partial(change, first=ends[0], last=ends[1])))
        assert moved is not None
        told[key] = turned((moved - terms).abs().reshape(found.shape)).flatten(1)
    return {
        "place": place,
        "later": float(told["later"][:, :place].max()),
        "own": float(told["own"][:, place].max()),
        "earlier": float(told["earlier"][:, place:].max()),
        "size": float(terms.abs().mean()),
    }


def _same_input(episode: Episode) -> Same | None:
    """The input that the target is, place by place: numbers one a place, the indices of symbols, or grey pictures.

    Or one of the numbers that the input holds for each place.
    """
    target = episode.target
    if target is None:
        return None
    for given in tensors_in((episode.call.args, episode.call.kwargs)):
        if given.dtype != target.dtype:
            continue
        for part in parts_like(given, target):
            one = part(given)
            picture = one.dim() == 4 and one.shape[1] == 1
            single = picture or one.dim() == 2 or (one.dim() == 3 and one.shape[2] == 1)
            if not single:
                continue
            same, counts = equal(target.reshape(one.shape), one), counted(episode, one.shape)
            if counts is not None and int(counts.sum()) < COUNTED:
                continue
            seen = one if counts is None else one[counts]
            if bool((same if counts is None else same[counts]).all()) and len(seen.unique()) > (1 if picture else 2):
                return given, part
    return None
