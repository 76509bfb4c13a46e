"""Padding is recognised where it is padding, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torchdx.watch.deep.episode import Call, Episode  # noqa: E402
from torchdx.watch.deep.padding import padding_of  # noqa: E402

LENGTHS = [9, 4, 6, 5, 9, 7]


def given(*args: Any, **kwargs: Any) -> Episode:
    """A step in which a model was called so, with one answer for each sample."""
    module = torch.nn.Identity()
    call = Call(module, args, kwargs, (True,), torch.get_rng_state(), None, None)
    target = torch.zeros(len(LENGTHS), dtype=torch.long)
    return Episode(1, call, (), (), None, "", None, (target,), torch.zeros(()), torch.zeros(()))


def tokens(value: int = 0, places: int = 9) -> Any:
    rows = torch.full((len(LENGTHS), places), value)
    for row, length in zip(rows, LENGTHS, strict=True):
        row[:length] = torch.arange(length) % 5 + 1
    return rows


def numbers() -> Any:
    return tokens().double()[..., None] * torch.tensor([0.5, -0.25])


@pytest.mark.parametrize("args", [(tokens(),), (tokens(value=7),), (numbers(),), (numbers().transpose(1, 2),)])
def test_runs_at_the_end_are_padding(args: tuple[Any, ...]) -> None:
    found = padding_of(given(*args))
    assert found is not None and [*found.lengths] == LENGTHS and not found.told


def test_time_may_come_first() -> None:
    found = padding_of(given(numbers().transpose(0, 1)))
    assert found is not None and (found.batch, found.time) == (1, 0) and [*found.lengths] == LENGTHS


@pytest.mark.parametrize(
    ("told", "argument"),
    [
        ("lengths", LENGTHS),
        ("lengths", torch.tensor(LENGTHS)),
        ("mask", torch.arange(9) < torch.tensor(LENGTHS)[:, None]),
        ("mask", (torch.arange(9) >= torch.tensor(LENGTHS)[:, None]).float()),
    ],
)
def test_the_model_may_be_told(told: str, argument: Any) -> None:
    rows = tokens()
    rows[0, 3] = rows[1, 3] = 0  # stands among the data, too, and at the end of it
    found = padding_of(given(rows, argument))
    assert found is not None and found.told == told and [*found.lengths] == LENGTHS


def test_what_every_sample_has_is_spare() -> None:
    found = padding_of(given(tokens(places=12)))
    assert found is not None and found.spare == 3


def test_what_also_stands_within_is_data() -> None:
    rows = tokens()
    rows[0, 2] = 0
    assert padding_of(given(rows)) is None


@pytest.mark.parametrize("rows", [tokens().flip(1), numbers() + 1, numbers()[:, :3], tokens() > 0])
def test_no_padding(rows: Any) -> None:
    """At the start; not zero; the same length; of truth values."""
    assert padding_of(given(rows)) is None
