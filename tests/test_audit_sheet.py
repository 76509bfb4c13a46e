"""The contact sheet: which samples it shows, and whether they are shown as they are."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from torchdx.watch.audit.measures import OF_ONE
from torchdx.watch.audit.measures.sheet import LARGEST, MOST
from torchdx.watch.audit.pool import Pool, gather
from torchdx.watch.audit.subjects import Subject
from torchdx.watch.audit.undoing import undoing_of

Told = dict[str, Any]
DIGITS = load_digits()
PICTURES = torch.tensor(DIGITS.images, dtype=torch.float32)[:, None] / 16
LABELS = torch.tensor(DIGITS.target)
MEAN, DEVIATION = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.1])
NORMALIZE = {
    "part": "input",
    "kind": "call",
    "words": "minus 0.5 0.4 0.3, divided by 0.2 0.25 0.1",
    "before": {"dtype": "float32", "min": 0.0, "max": 1.0},
    "after": {"dtype": "float32", "min": -4.0, "max": 7.0},
    "change": {"scale": (1 / DEVIATION).tolist(), "shift": (-MEAN / DEVIATION).tolist(), "order": "same"},
}


def sheet_of(dataset: Dataset[Any], steps: list[Told] | None = None, *, suspects: bool = False) -> Told:
    pool = Pool(0)
    gather(pool, dataset)
    pool.steps = steps or []
    subject = Subject(dataset, "dataset", None)
    if suspects:
        OF_ONE["neighbours"](pool, subject)
    told = OF_ONE["sheet"](pool, subject)
    assert told is not None
    json.dumps(told)
    assert not {"kind", "pipeline"} & told.keys()  # these the fact has already
    return told


def pixels(png: str) -> Tensor:
    """(height, width, channels) of a PNG as `png` writes it."""
    raw = base64.b64decode(png, validate=True)
    width, height, _, colour = struct.unpack(">IIBB", raw[16:26])
    size = struct.unpack(">I", raw[33:37])[0]
    lines = torch.frombuffer(bytearray(zlib.decompress(raw[41 : 41 + size])), dtype=torch.uint8).reshape(height, -1)
    return lines[:, 1:].reshape(height, width, 3 if colour == 2 else 1)


def coloured(count: int = 100, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_suspects_unusual_and_usual_ones_are_on_it() -> None:
    labels = LABELS.clone()
    labels[7] = (labels[7] + 1) % 10
    pictures = PICTURES.clone()
    pictures[20] = 1 - pictures[20]
    told = sheet_of(TensorDataset(pictures, labels), suspects=True)
    marks = {item["index"]: item for item in told["items"]}
    assert (told["what"], told["samples"], len(marks), len(told["items"])) == ("pictures", len(labels), MOST, MOST)
    assert marks[7]["mark"] == "suspect"
    assert "nearest are" in marks[7]["note"]
    assert marks[20]["mark"] == "unusual"
    assert sum(item["mark"] == "usual" for item in told["items"]) == 4
    rest = [item["index"] for item in told["items"] if item["mark"] is None]
    assert rest == sorted(rest)
    assert max(rest) > len(labels) * 0.9


def test_a_sample_that_is_not_finite_is_the_most_unusual() -> None:
    pictures = PICTURES.clone()
    pictures[30, 0, 2, 2] = math.nan
    first = sheet_of(TensorDataset(pictures, LABELS))["items"][0]
    assert (first["index"], first["mark"]) == (30, "unusual")
    assert "not finite" in first["note"]


def test_normalize_is_undone_where_the_journey_tells_of_it() -> None:
    pictures = coloured()
    normal = (pictures - MEAN[:, None, None]) / DEVIATION[:, None, None]
    told = sheet_of(TensorDataset(normal, torch.arange(100)), [NORMALIZE])
    assert told["undone"] == "with “minus 0.5 0.4 0.3, divided by 0.2 0.25 0.1” undone, times 255"
    for item in told["items"]:
        wanted = (pictures[item["index"]] * 255).round().permute(1, 2, 0)
        assert (pixels(item["picture"]).float() - wanted).abs().max() <= 1


def test_channels_turned_after_normalize_are_shown_turned() -> None:
    pictures = coloured()
    normal = ((pictures - MEAN[:, None, None]) / DEVIATION[:, None, None]).flip(1)
    turned = {
        **NORMALIZE,
        "before": NORMALIZE["after"],
        "change": {"scale": 1.0, "shift": 0.0, "order": "channels-reversed"},
    }
    item = sheet_of(TensorDataset(normal, torch.arange(100)), [NORMALIZE, turned])["items"][0]
    wanted = (pictures[item["index"]].flip(0) * 255).round().permute(1, 2, 0)
    assert (pixels(item["picture"]).float() - wanted).abs().max() <= 1


def test_what_is_not_known_is_stretched_and_said() -> None:
    normal = (coloured() - MEAN[:, None, None]) / DEVIATION[:, None, None]
    other = {**NORMALIZE, "change": None}
    for steps in ([], [other]):
        assert str(sheet_of(TensorDataset(normal, torch.arange(100)), steps)["undone"]).startswith("stretched from -")


def test_a_normalize_that_other_samples_did_not_pass_is_not_undone() -> None:
    assert "stretched" in (undoing_of([coloured()[0] * 40 - 20], [NORMALIZE]).words or "")


def test_bytes_are_shown_as_they_are() -> None:
    pictures = (coloured() * 255).to(torch.uint8)
    told = sheet_of(TensorDataset(pictures, torch.arange(100)))
    assert told["undone"] is None
    for item in told["items"]:
        assert torch.equal(pixels(item["picture"]), pictures[item["index"]].permute(1, 2, 0))


def test_large_pictures_are_made_small() -> None:
    told = sheet_of(TensorDataset(coloured(60, 200), torch.arange(60)))
    assert len(json.dumps(told)) < 300_000
    assert sum(len(item["picture"]) for item in told["items"]) <= LARGEST
    assert 24 <= max(pixels(told["items"][0]["picture"]).shape[:2]) <= 64


def test_rows_of_tokens_are_told_with_their_padding() -> None:
    rows = torch.randint(1, 50, (64, 100), generator=torch.Generator().manual_seed(0))
    rows[:40, 30:] = 0
    item = sheet_of(TensorDataset(rows, torch.zeros(64)))["items"][0]
    assert item["padding"] == 0
    assert item["tokens"] == rows[item["index"], :64].tolist()
    assert item["length"] == 100


def test_rows_of_numbers_are_told() -> None:
    told = sheet_of(TensorDataset(torch.randn(50, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(50)))
    assert told["what"] == "rows"
    assert len(told["items"][0]["values"]) == 5


class Texts(Dataset[Any]):
    """Rows of tokens, each of its own length."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.arange(1, 3 + index % 7), 0


def padded(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    rows = torch.nn.utils.rnn.pad_sequence([row for row, _ in samples], batch_first=True)
    return rows, torch.tensor([label for _, label in samples])


def test_rows_of_different_lengths_are_told_as_a_batch_holds_them() -> None:
    pool = Pool(0)
    gather(pool, Texts())
    told = OF_ONE["sheet"](pool, Subject(DataLoader(Texts(), 4, collate_fn=padded), "loader", None))
    assert told is not None
    assert {(item["padding"], item["length"]) for item in told["items"]} == {(0, 8)}
    plain = OF_ONE["sheet"](pool, Subject(DataLoader(Texts(), 4), "loader", None))
    assert plain is not None
    assert {item["padding"] for item in plain["items"]} == {None}


class Named(Dataset[Any]):
    """Pictures whose classes have names, of which some cannot be had."""

    classes = ("zero", "one")

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return PICTURES[index], index % 3


def test_classes_are_called_as_the_dataset_calls_them() -> None:
    labels = {item["label"] for item in sheet_of(Named())["items"]}
    assert labels == {"0 zero", "1 one", "2"}


def test_no_random_number_is_drawn() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    sheet_of(TensorDataset(PICTURES, LABELS), suspects=True)
    assert torch.equal(before, torch.get_rng_state())
