"""`torchdx data`: samples are followed through real pipelines, whatever they are written with."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from torchdx.watch.audit.change import change
from torchdx.watch.audit.journey import Journey
from torchdx.watch.audit.values import Shot
from vision import v1, v2

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 10, 3), dtype=np.uint8))


def steps_of(fetch: Any) -> list[dict[str, Any]]:
    return Journey(fetch, default_collate).steps


def names(steps: list[dict[str, Any]]) -> list[str]:
    return [step["name"].rpartition(".")[2] for step in steps if step["kind"] == "call"]


def test_torchvision_is_followed_transform_by_transform() -> None:
    transform = v1.Compose([v1.Resize(6), v1.Compose([v1.ToTensor()]), v1.Normalize([0.5] * 3, [0.2, 0.4, 0.5])])
    steps = steps_of(lambda: (transform(PICTURE), 1))
    assert [name for name in names(steps) if name != "Compose"] == ["Resize", "ToTensor", "Normalize"]
    resized, scaled, normed = [step for step in steps if step["kind"] == "call"][:3]
    assert resized["change"]["resized"] == [6 / 8, 7 / 10]
    assert scaled["words"].endswith("divided by 255 as it was mode RGB")
    assert normed["words"] == "minus 0.5, divided by 0.2 0.4 0.5"
    assert steps[-1]["kind"] == "collate"


def test_the_second_generation_too() -> None:
    transform = v2.Compose([v2.ToImage(), v2.RandomRotation(30), v2.ToDtype(torch.float32, scale=True)])
    steps = steps_of(lambda: (transform(PICTURE), 1))
    assert names(steps) == ["ToImage", "RandomRotation", "ToDtype"]
    assert [bool(step.get("varies")) for step in steps][:3] == [False, True, False]


def test_lines_of_ones_own_are_followed() -> None:
    def fetch() -> Any:
        rows = np.asarray(PICTURE).astype(np.float32)
        rows /= 255
        return torch.from_numpy(rows).view(3, 8, 10), 0

    first, divided, called = [step for step in steps_of(fetch) if step["kind"] == "line"]
    assert first["after"]["dtype"] == "float32"
    assert divided["words"] == "divided by 255"
    assert called["change"]["order"] == "reinterpreted"


def test_floats_are_told_to_stay_as_they_are() -> None:
    (step,) = (s for s in steps_of(lambda: v1.ToTensor()(np.asarray(PICTURE, dtype=np.float64))) if s["kind"] == "call")
    assert step["words"].endswith("not divided by 255, as float64 is not scaled")


@pytest.mark.parametrize(
    ("made", "order"),
    [
        (lambda a: a.permute(2, 0, 1), "permuted"),
        (lambda a: a.reshape(3, 8, 10), "reinterpreted"),
        (lambda a: a.flip(1), "flipped"),
        (lambda a: a.flip(2), "channels-reversed"),
        (lambda a: a.clone(), "same"),
    ],
)
def test_order_is_measured(made: Any, order: str) -> None:
    before = np.asarray(PICTURE)
    told = change(Shot.of(before), Shot.of(made(torch.from_numpy(before.copy()))))
    assert told is not None
    assert told["order"] == order


def test_bytes_that_wrap_around_are_counted() -> None:
    floats = torch.linspace(-0.5, 1.5, 48).reshape(3, 4, 4)
    told = change(Shot.of(floats), Shot.of(v1.ToPILImage()(floats)))
    assert told is not None
    assert told["wrapped"] == pytest.approx(0.5, abs=0.05)


def torchdx(*words: str, here: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torchdx", *words], cwd=here, capture_output=True, text=True, check=False, timeout=300
    )


PROGRAM = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

print("hello")
torch.manual_seed(0)
data = TensorDataset(torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8), torch.arange(64) % 4)
loader = DataLoader(data, batch_size=16, shuffle=True)
net = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
optimizer = torch.optim.Adam(net.parameters())
for images, labels in loader:
    images = images.float() / 255
    loss = nn.functional.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_a_program_is_followed_to_the_models_door(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    done = torchdx("data", "--format", "json", "train.py", here=tmp_path)
    assert "hello" in done.stderr
    (pipeline,) = json.loads(done.stdout)["data"]
    assert (pipeline["role"], pipeline["name"], pipeline["seen"]) == ("train", "loader", 64)
    steps = pipeline["journey"][0]["steps"]
    assert [step["words"] for step in steps if step["kind"] == "line"] == ["divided by 255, now a tensor of float32"]
    (collated,) = (step for step in steps if step["kind"] == "collate" and step["part"] == "input")
    (divided,) = (step for step in steps if step["kind"] == "line")
    assert divided["from"] == [collated["n"]]
    assert steps[-1]["from"] == [divided["n"]]
    assert steps[-1]["kind"] == "door"
    assert steps[-1]["after"]["max"] == 1
    text = torchdx("data", "train.py", here=tmp_path)
    assert "divided by 255" in text.stdout
    assert "Traceback" not in text.stderr


BROKEN = """
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

class Torn(Dataset):
    def __len__(self):
        return 100
    def __getitem__(self, index):
        raise OSError("image file is truncated")

class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.ones(3), 0

torn, endless = Torn(), Endless()
empty = TensorDataset(torch.ones(0, 3))
number = 3
"""


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("parts.py:torn", "OSError: image file is truncated"),
        ("parts.py:endless", "4,096 samples of 1 pipeline were looked at"),
        ("parts.py:empty", "Not one sample could be fetched"),
        ("parts.py:number", "torchdx: number is neither a dataset, nor a loader, nor a transform, but int."),
        ("parts.py:gone", "torchdx: parts.py has no gone."),
        ("gone.py:x", "torchdx: There is no file gone.py."),
    ],
)
def test_what_cannot_be_fetched_is_told_in_a_sentence(tmp_path: Path, target: str, sentence: str) -> None:
    (tmp_path / "parts.py").write_text(textwrap.dedent(BROKEN))
    done = torchdx("data", target, here=tmp_path)
    assert sentence in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_a_transform_that_is_named_is_tried_on_a_picture(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "import numpy as np\nimport torch\n\n\ndef prepare(picture):\n"
        "    rows = np.asarray(picture, dtype=np.float32)\n    return torch.from_numpy(rows / 255).permute(2, 0, 1)\n"
    )
    done = torchdx("data", "--format", "json", "parts.py:prepare", here=tmp_path)
    (pipeline,) = json.loads(done.stdout)["data"]
    last = [step for step in pipeline["journey"][0]["steps"] if step["kind"] == "line"][-1]
    assert last["words"] == "axes moved from HWC to CHW, divided by 255"


def test_a_programs_samples_stand_on_a_sheet_and_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    done = torchdx("data", "--record", "seen", "--html", "page.html", "--format", "json", "train.py", here=tmp_path)
    (pipeline,) = json.loads(done.stdout)["data"]
    facts = "".join(file.read_text() for file in (tmp_path / "seen").glob("facts-*.jsonl"))
    assert '"disarmed"' not in facts
    assert pipeline["sheet"][0]["what"] == "pictures"
    page = (tmp_path / "page.html").read_text()
    assert page.count('<img src="data:image/png;base64,') > 48
    assert "48 of 64 samples" in page
