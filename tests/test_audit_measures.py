"""The audit's measures of many samples, each on data made to have, and not to have, what it measures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from torchdx.watch.audit.measures import OF_ALL, OF_ONE, OF_TWO
from torchdx.watch.audit.pool import Pool, gather
from torchdx.watch.audit.subjects import Subject

Told = dict[str, Any]
DIGITS = load_digits()
PICTURES = torch.tensor(DIGITS.images, dtype=torch.float32)[:, None] / 16
LABELS = torch.tensor(DIGITS.target)


def pooled(*parts: Tensor) -> Pool:
    pool = Pool(0)
    gather(pool, TensorDataset(*parts))
    return pool


def of_one(kind: str, dataset: Dataset[Any], **options: Any) -> Told | None:
    pool = Pool(0)
    gather(pool, dataset)
    return OF_ONE[kind](pool, Subject(DataLoader(dataset, **options), "loader", None))


def noisy(share: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    changed = torch.rand(len(LABELS), generator=generator) < share
    return torch.where(changed, torch.randint(0, 10, (len(LABELS),), generator=generator), LABELS)


def test_the_share_of_wrong_labels_is_estimated_within_its_error() -> None:
    told = of_one("neighbours", TensorDataset(PICTURES, noisy(0.3)))
    assert told is not None
    assert told["gain"] > 10
    assert told["votes"][0] < 0.15
    assert told["noise"] == pytest.approx(0.27, abs=0.04)  # 3 of 10 drawn anew, a tenth of these the same


def test_true_labels_have_hardly_any_noise() -> None:
    told = of_one("neighbours", TensorDataset(PICTURES, LABELS))
    assert told is not None
    assert told["votes"][0] > 0.3  # those less sure are hard, not contradicted by all around them
    assert told["agree"] > 0.95


def test_hard_data_are_not_taken_for_noisy_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1500, 4, generator=generator)
    classes = (rows[:, 0] + torch.randn(1500, generator=generator) > 0).long()
    told = of_one("neighbours", TensorDataset(rows, classes))
    assert told is not None
    assert told["gain"] < 0


def test_two_scales_are_told_from_one_wide_one() -> None:
    factors = torch.where(torch.arange(len(PICTURES)) % 2 == 0, 255.0, 1.0)
    mixed = of_one("mixture", TensorDataset(PICTURES * factors[:, None, None, None], LABELS))
    wide = torch.exp(3 * torch.randn(len(PICTURES), generator=torch.Generator().manual_seed(0)))
    one = of_one("mixture", TensorDataset(PICTURES * wide[:, None, None, None], LABELS))
    assert mixed is not None
    assert mixed["gain"] > 100
    assert mixed["gap"] > 100
    assert mixed["share"] == pytest.approx(0.5, abs=0.01)
    assert one is None or one["gain"] < 0


def test_samples_that_are_in_both_are_counted() -> None:
    told = OF_TWO["overlap"](pooled(PICTURES[:1000], LABELS[:1000]), pooled(PICTURES[900:1200], LABELS[900:1200]))
    assert told is not None
    assert told["exact"] == 100
    assert told["examples"][0] == (900, 0)


def test_copies_with_a_little_noise_are_near() -> None:
    copies = PICTURES[:200] + 1e-3 * torch.randn(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    told = OF_TWO["overlap"](pooled(PICTURES[:1000], LABELS[:1000]), pooled(copies, LABELS[:200]))
    assert told is not None
    assert (told["exact"], told["near"]) == (0, 200)


def test_other_data_are_told_from_the_same() -> None:
    trained = pooled(PICTURES[:1000], LABELS[:1000])
    same = OF_TWO["shift"](trained, pooled(PICTURES[1000:], LABELS[1000:]))
    other = OF_TWO["shift"](trained, pooled(1 - PICTURES[1000:], LABELS[1000:]))
    assert same is not None
    assert other is not None
    assert other["divergence"] > 0.9 > same["divergence"]
    assert other["p"] < 0.02


def test_a_scaler_fitted_on_all_is_told_from_one_fitted_on_training() -> None:
    table = torch.tensor(load_wine().data)[torch.randperm(178, generator=torch.Generator().manual_seed(0))]
    labels = torch.zeros(178)
    for fitted, alone, together in ((table, False, True), (table[:130], True, False)):
        rows = ((table - fitted.mean(0)) / fitted.std(0)).float()
        told = OF_ALL["scaled"](pooled(rows[:130], labels[:130]), [pooled(rows[130:], labels[130:])])
        assert told is not None
        assert (told["alone"] < 1e-3, told["together"] < 1e-3) == (alone, together)


def test_padding_is_counted_in_batches() -> None:
    rows = torch.randint(1, 50, (64, 20), generator=torch.Generator().manual_seed(0))
    rows[:32, 5:] = 0
    rows[32:, 15:] = 0
    told = of_one("tokens", TensorDataset(rows, torch.zeros(64)), batch_size=16)
    assert told is not None
    assert told["padding"] == pytest.approx(0.5)
    assert told["value"] == 0


def test_what_is_not_finite_is_found() -> None:
    rows = torch.randn(50, 3)
    rows[7, 1] = float("nan")
    told = of_one("nonfinite", TensorDataset(rows, torch.zeros(50)))
    assert told is not None
    assert told["inputs"] == [7]
    assert of_one("nonfinite", TensorDataset(torch.zeros(50, 3), torch.zeros(50))) is None


class Drawn(Dataset[Tensor]):
    """Samples with noise from a generator of its own, which every worker has a copy of."""

    def __init__(self, own: bool) -> None:
        self.generator = torch.Generator().manual_seed(0) if own else None

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(4, generator=self.generator) + index


@pytest.mark.parametrize("own", [True, False])
def test_workers_that_draw_alike_are_told_from_those_that_do_not(own: bool) -> None:
    told = of_one("clones", Drawn(own), num_workers=2)
    assert told is not None
    assert told["random"]
    assert told["same"] == (told["samples"] if own else 0)
