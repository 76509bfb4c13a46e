"""The contact sheet: some samples as the model receives them, with the most unusual, the most usual and suspects."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchdx.watch.audit.measures.texts import padding_of, rows_of
from torchdx.watch.audit.numbers import channels_first, layout_of, numbers_of
from torchdx.watch.audit.png import thumbnail
from torchdx.watch.audit.pool import Pool
from torchdx.watch.audit.samples import input_of
from torchdx.watch.audit.subjects import Subject
from torchdx.watch.audit.undoing import undoing_of
from torchdx.watch.audit.values import SMALLEST

MOST, SUSPECTS, UNUSUAL, USUAL = 48, 12, 8, 4
"""Samples on a sheet; and at most how many of each kind that is marked."""

FAR = 3.0
"""Times the middle distance beyond which it is said how far off a sample lies."""

SECONDS = 2.0
"""What fetching them may take."""

SIDES, LARGEST = (64, 48, 40, 32, 24), 240_000
"""Pixels of the longer side that are tried, until all pictures together have so few letters."""

LONGEST, LETTERS = 64, 40
"""Numbers or tokens of a sample, and letters of a label, that are told."""

Item = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """A sample of the pool by its place there, and why it was chosen."""

    place: int
    mark: str | None = None
    note: str | None = None


def sheet(pool: Pool, subject: Subject) -> dict[str, Any] | None:
    """The sheet of a pipeline; None where its samples are neither pictures, nor tokens, nor rows of numbers."""
    found = [(choice, numbers) for choice, numbers in _fetched(pool, subject) if numbers.numel()]
    told = _pictures(pool, found) or _tokens(pool, found, subject) or _rows(found)
    if not told:
        return None
    names = _names_of(subject.dataset)
    for (choice, _), item in zip(found, told["items"], strict=True):
        item |= {"index": pool.indices[choice.place], "label": _label(pool.labels[choice.place], names)}
        item |= {"mark": choice.mark, "note": choice.note}
    return {"samples": len(pool), "undone": None} | told


def chosen(pool: Pool, among: Sequence[int] | None = None) -> list[Choice]:
    """Suspects, the farthest from the middle, the nearest to it, and a spread of all; each once."""
    places = list(range(len(pool)) if among is None else among)
    taken: dict[int, Choice] = {}
    for place, note in pool.suspects:
        if place in places and len(taken) < SUSPECTS:
            taken[place] = Choice(place, "suspect", note)
    for choice in _by_distance(pool, places):
        taken.setdefault(choice.place, choice)
    rest = [place for place in places if place not in taken]
    left = min(MOST - len(taken), len(rest))
    spread = [rest[k * len(rest) // left] for k in range(left)]
    return [*taken.values(), *(Choice(place) for place in spread)]


def _by_distance(pool: Pool, places: Sequence[int]) -> Iterator[Choice]:
    """The samples that lie farthest from the middle of all, the farthest first; then those that lie nearest."""
    distances = _distances(pool)
    if distances is None or len(places) < 2:
        return
    of_these = distances[list(places)]
    order = [places[k] for k in of_these.argsort(descending=True).tolist()]
    usual = float(distances.median())
    count = min(UNUSUAL, len(order) // 2)
    for place in order[:count]:
        times = float(distances[place]) / usual if usual > 0 else 0.0
        if times == float("inf"):
            yield Choice(place, "unusual", "holds numbers that are not finite")
        else:
            yield Choice(place, "unusual", f"{times:.0f} times as far from the middle as most" if times > FAR else None)
    yield from (Choice(place, "usual") for place in order[-min(USUAL, len(order) - count) :][::-1])


def _distances(pool: Pool) -> Tensor | None:
    """How far each sample lies from the median, in simple features each on its own scale."""
    features = _features(pool)
    if features is None or len(features) != len(pool):
        return None
    broken = ~torch.isfinite(features).all(1)
    rows = torch.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0)
    away = (rows - rows.median(0).values).abs()
    scale = away.mean(0)
    found = (away / torch.where(scale > 0, scale, torch.inf)).square().mean(1).sqrt()
    return torch.where(broken, torch.inf, found)


def _features(pool: Pool) -> Tensor | None:
    rows = [row for row in pool.tokens if row]
    if rows and len(rows) == len(pool):
        told = [[float(len(row)), float(len(set(row))), max(Counter(row).values()) / len(row)] for row in rows]
        return torch.tensor(told, dtype=torch.float64)
    features = pool.features
    if features is not None:
        return features.double()
    moments = [one for one in pool.moments if one is not None]
    same = len(moments) == len(pool) and len({one.shape for one in moments}) == 1
    return torch.stack(moments).flatten(1) if same and moments else None


def _fetched(pool: Pool, subject: Subject) -> Iterator[tuple[Choice, Tensor]]:
    """The chosen ones' inputs, fetched again where that is quick, else of those that were kept."""
    each = sum(pool.fetched) / max(1, len(pool.fetched))
    again = hasattr(subject.dataset, "__getitem__") and each * MOST < SECONDS
    kept = {pool.indices.index(index): given for index, given, _ in pool.shown}
    began = time.monotonic()
    for choice in chosen(pool, None if again else sorted(kept)):
        if time.monotonic() - began > 2 * SECONDS:
            return
        given = input_of(subject.dataset[pool.indices[choice.place]]) if again else kept[choice.place]
        numbers = numbers_of(given)
        if numbers is not None and layout_of(given, tuple(numbers.shape)) == pool.layout:
            yield choice, numbers


def _pictures(pool: Pool, found: Sequence[tuple[Choice, Tensor]]) -> dict[str, Any] | None:
    pictures = [channels_first(numbers, pool.layout) for _, numbers in found]
    shown = [one for one in pictures if one is not None and min(one.shape[1:]) >= SMALLEST]
    if not shown or len(shown) < len(pictures) or len({len(one) for one in shown}) > 1:
        return None
    undoing = undoing_of(shown, pool.steps)
    plain = [undoing.bytes_of(one) for one in shown]
    for side in SIDES:
        told = [thumbnail(_smaller(one, side))[0] for one in plain]
        if sum(map(len, told)) <= LARGEST:
            break
    return {"what": "pictures", "undone": undoing.words, "items": [{"picture": png} for png in told]}


def _smaller(picture: Tensor, side: int) -> Tensor:
    """At most so many pixels on the longer side, each the mean of those it stands for."""
    height, width = picture.shape[1:]
    longer = max(height, width)
    if longer <= side:
        return picture
    size = max(1, round(height * side / longer)), max(1, round(width * side / longer))
    return functional.adaptive_avg_pool2d(picture.float()[None], size)[0].round().to(torch.uint8)


def _tokens(pool: Pool, found: Sequence[tuple[Choice, Tensor]], subject: Subject) -> dict[str, Any] | None:
    rows = [numbers for _, numbers in found]
    if not rows or any(one.dim() != 1 or one.is_floating_point() or one.dtype is torch.bool for one in rows):
        return None
    if len({len(one) for one in rows}) > 1:
        rows = _batched(pool, found, subject) or rows
    padding = padding_of(rows)[0] if len({len(one) for one in rows}) == 1 else None
    items = [{"tokens": one[:LONGEST].tolist(), "padding": padding, "length": len(one)} for one in rows]
    return {"what": "tokens", "items": items}


def _batched(pool: Pool, found: Sequence[tuple[Choice, Tensor]], subject: Subject) -> list[Tensor] | None:
    """Rows of different lengths as one batch of the loader holds them, padded; None where it cannot be had."""
    collate = getattr(subject.thing, "collate_fn", None)
    if collate is None or not hasattr(subject.dataset, "__getitem__"):
        return None
    try:
        batch = collate([subject.dataset[pool.indices[choice.place]] for choice, _ in found])
    except Exception:  # of the program's own: the rows are told as they are
        return None
    rows = rows_of(input_of(batch))
    return list(rows) if rows is not None and len(rows) == len(found) else None


def _rows(found: Sequence[tuple[Choice, Tensor]]) -> dict[str, Any] | None:
    rows = [numbers for _, numbers in found]
    if not rows or any(one.dim() != 1 for one in rows):
        return None
    items = [{"values": one[:LONGEST].double().tolist(), "length": len(one)} for one in rows]
    return {"what": "rows", "items": items}


def _label(label: Any, names: Sequence[Any]) -> str | None:
    if label is None:
        return None
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names):
        return f"{label} {names[label]}"[:LETTERS]
    words = f"{label:.4g}" if isinstance(label, float) else str(label)
    return words if len(words) <= LETTERS else words[: LETTERS - 1] + "…"


def _names_of(dataset: Any) -> Sequence[Any]:
    """What the dataset calls its classes, if it does."""
    for _ in range(4):
        names = getattr(dataset, "classes", None)
        if isinstance(names, list | tuple):
            return names
        dataset = getattr(dataset, "dataset", None)
    return ()
