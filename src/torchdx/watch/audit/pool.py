"""Many samples of one pipeline, in little memory: what of each of them the probes need."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchdx.watch.audit.numbers import channels_first, layout_of, numbers_of
from torchdx.watch.audit.samples import input_of, plain, target_of
from torchdx.watch.audit.values import digest_of

MOST, SECONDS = 4096, 12.0
"""Samples of one pipeline that are looked at, and what fetching them may take."""

SIDE = 8
"""Pixels a side that a picture is averaged to, to be held beside others."""

WIDEST = 4096
"""Numbers of a sample that is kept as it is, such as a row of a table."""

SHOWN = 64
"""Samples that are kept whole, to be shown."""

ENOUGH_ERRORS = 5
"""Samples that may fail before no more are asked for."""

_STEP = 2654435769 / 2**32


@dataclass
class Pool:
    """Samples of one pipeline, in the order of `indices`; all lists are as long as that.

    `features` are (samples, numbers) in float32: pictures averaged to 8 x 8, rows as they are; None where samples are
    of different form. `sizes` holds the shape of each input, `moments` mean and deviation of each of its channels;
    `fetched` the seconds that fetching each took; `steps` those of a sample's journey, `suspects` the places of samples
    whose neighbours are of another class, with words on it.
    """

    pipeline: int
    indices: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    rows: list[Tensor | None] = field(default_factory=list)
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    moments: list[Tensor | None] = field(default_factory=list)
    extremes: list[tuple[float, float]] = field(default_factory=list)
    tokens: list[list[int] | None] = field(default_factory=list)
    shown: list[tuple[int, Any, Any]] = field(default_factory=list)
    target_kind: dict[str, Any] = field(default_factory=dict)
    layout: str = ""
    dtype: str = ""
    seconds: float = 0.0
    stopped: str = "all"
    fetched: list[float] = field(default_factory=list)
    errors: list[tuple[int | None, str, BaseException]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    suspects: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def features(self) -> Tensor | None:
        """All rows as one (samples, numbers); None where they are not of one length."""
        rows = [row for row in self.rows if row is not None]
        if len(rows) != len(self.rows) or len({len(row) for row in rows}) != 1:
            return None
        return torch.stack(rows)

    def add(self, index: int, sample: Any) -> None:
        """Keep of a sample what is needed."""
        given, label = input_of(sample), target_of(sample)
        numbers = numbers_of(given)
        self.indices.append(index)
        self.labels.append(_small(label))
        self._take_target(label)
        if len(self.shown) < SHOWN:
            self.shown.append((index, given, label))
        if numbers is None:
            self._take_text(given)
            return
        layout = layout_of(given, tuple(numbers.shape))
        self.layout = self.layout or layout
        self.dtype = self.dtype or str(numbers.dtype).removeprefix("torch.")
        self.digests.append(digest_of(numbers))
        self.sizes.append(tuple(numbers.shape))
        self.tokens.append(_tokens(numbers))
        picture = channels_first(numbers, layout) if layout == self.layout else None
        self.rows.append(_row(numbers, picture))
        self.moments.append(_moments(picture if picture is not None else numbers[None]))
        finite = numbers.double().flatten() if numbers.numel() else torch.zeros(1)
        self.extremes.append((float(finite.min()), float(finite.max())))

    def _take_text(self, given: Any) -> None:
        words = repr(given)
        self.digests.append(hashlib.sha1(words.encode("utf-8", "replace")).hexdigest())
        numbers = torch.tensor(given) if _is_numbers(given) else None
        self.sizes.append((len(given),) if isinstance(given, str | list | tuple) else ())
        self.tokens.append(_tokens(numbers) if numbers is not None else None)
        self.rows.append(_row(numbers, None) if numbers is not None else None)
        self.moments.append(None)
        self.extremes.append((float("nan"), float("nan")))

    def _take_target(self, label: Any) -> None:
        if not self.target_kind and label is not None:
            numbers = numbers_of(label)
            dtype = str(numbers.dtype).removeprefix("torch.") if numbers is not None else type(label).__name__
            self.target_kind = {"dtype": dtype, "shape": list(numbers.shape) if numbers is not None else []}


def gather(pool: Pool, dataset: Any, seconds: float = SECONDS) -> None:
    """Fetch samples into the pool, spread evenly over the dataset, within bounds of number and time.

    What fetching raises goes into `errors`, and after a few of these nothing more is asked for.
    """
    began = time.monotonic()
    for index, fetch in _fetches(pool, dataset):
        try:
            asked = time.perf_counter()
            sample = fetch()
            pool.fetched.append(time.perf_counter() - asked)
            pool.add(index, sample)
        except StopIteration:
            break
        except Exception as problem:
            pool.errors.append((index, "sample", problem))
            if len(pool.errors) >= ENOUGH_ERRORS:
                pool.stopped = "broken"
                break
        if time.monotonic() - began > seconds:
            pool.stopped = "time"
            break
    pool.seconds = time.monotonic() - began


def _fetches(pool: Pool, dataset: Any) -> Iterator[tuple[int, Any]]:
    count = length_of(dataset)
    if hasattr(dataset, "__getitem__") and count is not None:
        chosen = spread(count, MOST)
        if len(chosen) < count:
            pool.stopped = "sampled"
        for index in chosen:
            yield index, lambda index=index: dataset[index]
        return
    stream = iter(dataset)
    for index in range(MOST):
        yield index, lambda: next(stream)
    pool.stopped = "sampled"


def length_of(dataset: Any) -> int | None:
    """How many samples it has; None if it cannot say."""
    try:
        return len(dataset)
    except Exception:
        return None


def spread(count: int, most: int) -> list[int]:
    """`most` different places of `count`, or all, spread evenly, in no order that data may have."""
    if count <= most:
        return list(range(count))
    return sorted({int(((k * _STEP) % 1.0) * count) for k in range(most)})


def _row(numbers: Tensor, picture: Tensor | None) -> Tensor | None:
    if picture is not None and picture.numel():
        return functional.adaptive_avg_pool2d(picture.float()[None], SIDE).flatten()
    return numbers.flatten().float() if 0 < numbers.numel() <= WIDEST else None


def _moments(channels: Tensor) -> Tensor | None:
    flat = channels.reshape(len(channels), -1).double()
    return torch.stack([flat.mean(1), flat.std(1, correction=0)], 1) if flat.numel() else None


def _tokens(numbers: Tensor) -> list[int] | None:
    """A row of whole numbers, as a text's indices are."""
    whole = numbers.dim() == 1 and not numbers.is_floating_point() and numbers.dtype is not torch.bool
    return numbers.tolist() if whole and len(numbers) <= WIDEST else None


def _is_numbers(given: Any) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(one, int | float) for one in given)


def _small(label: Any) -> Any:
    """The label as something plain, if it is small; a larger one is a map, and is left out."""
    numbers = numbers_of(label)
    if numbers is not None and numbers.numel() > 1000:
        return None
    return plain(label)
