"""A folder of programs: parted by imports, examined by several processes, and remembered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchdx.exam import memory as memory_module
from torchdx.exam import whole
from torchdx.exam.memory import Memory, usual_folder
from torchdx.exam.whole import Examined, examined
from torchdx.source import Program

SICK = """
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for inputs, labels in [(torch.randn(8, 4), torch.randint(2, (8,)))]:
    probabilities = model(inputs).softmax(1)
    loss = nn.functional.cross_entropy(probabilities, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
NETWORK = """
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)
    def forward(self, inputs):
        return self.layer(inputs).softmax(1)
"""
TRAINING = """
import torch
from torch import nn
{way_in}

model = {name}()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for inputs, labels in [(torch.randn(8, 4), torch.randint(2, (8,)))]:
    loss = nn.functional.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def folder(at: Path, files: dict[str, str]) -> Program:
    for name, text in files.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Program.read([at])


def names(program: Program) -> list[list[str]]:
    return [[Path(file.path).name for file in part.files] for part in program.parts]


def told(answer: Examined) -> list[tuple[str, int, str]]:
    return [(Path(f.site.path).name, f.site.line, f.code) for f in answer.diagnosis.all_findings() if f.site]


@pytest.mark.parametrize(
    ("way_in", "name"),
    [
        ("from nets.network import Network", "Network"),
        ("import nets.network", "nets.network.Network"),
        ("import nets.network as n", "n.Network"),
        ("from nets import network", "network.Network"),
        ("from nets import (  # what it is\n    network,\n)", "network.Network"),
        ("from nets import \\\n    network", "network.Network"),
        ("try: from nets.network import Network\nexcept ImportError: pass", "Network"),
        ("from nets import *", "Network"),
    ],
)
def test_files_are_one_program_however_one_imports_the_other(tmp_path: Path, way_in: str, name: str) -> None:
    inner = "from .network import Network\n" if "*" in way_in else ""
    program = folder(
        tmp_path,
        {
            "train.py": TRAINING.format(way_in=way_in, name=name),
            "nets/network.py": NETWORK,
            "nets/__init__.py": inner,
            "other.py": "import torch\n",
        },
    )
    assert sorted(map(sorted, names(program))) == [["__init__.py", "network.py", "train.py"], ["other.py"]]
    assert [code for _, _, code in told(examined(program, Memory(None), 1))] == ["TDX601"]


def test_files_that_share_no_import_are_programs_of_their_own(tmp_path: Path) -> None:
    program = folder(tmp_path, {"a.py": SICK, "b.py": SICK, "c.py": "import json\n"})
    assert names(program) == [["a.py"], ["b.py"]], "and a file that has nothing to do with torch is none"
    assert [name for name, _, _ in told(examined(program, Memory(None), 1))] == ["a.py", "b.py"]


def test_a_named_file_is_read_even_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("import json\ndef f(:\n", encoding="utf-8")
    (problem,) = examined(Program.read([path]), Memory(None)).problems
    assert problem.line == 2
    assert examined(Program.read([tmp_path]), Memory(None)).problems == ()


def test_several_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder(tmp_path, {f"{name}.py": SICK for name in "abcdef"} | {"bad.py": "import torch\nx = (\n"})
    monkeypatch.setattr(whole, "WORTH_A_PROCESS", 100)
    seen = []
    apart = whole._in_processes
    monkeypatch.setattr(whole, "_in_processes", lambda *given: seen.append(given[-1]) or apart(*given))
    assert examined(program, Memory(None), 2) == examined(program, Memory(None), 1)
    assert seen == [2]


def test_processes_that_die_are_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, plain = os.getpid(), whole.examine
    monkeypatch.setattr(whole, "WORTH_A_PROCESS", 100)
    monkeypatch.setattr(whole, "examine", lambda *given: plain(*given) if os.getpid() == here else os._exit(1))
    assert len(told(examined(folder(tmp_path, {"a.py": SICK, "b.py": SICK}), Memory(None), 2))) == 2


def test_what_did_not_change_is_not_examined_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a.py": SICK, "b.py": SICK, "bad.py": "import torch\nx = (\n"}
    first = examined(folder(tmp_path / "code", files), Memory(tmp_path / "kept"), 1)
    asked = []
    plain = whole.examine
    monkeypatch.setattr(whole, "examine", lambda part, record: asked.append(part.files[0].path) or plain(part, record))
    assert examined(Program.read([tmp_path / "code"]), Memory(tmp_path / "kept"), 1) == first
    assert asked == []
    (tmp_path / "code" / "b.py").write_text("import torch\n" + SICK, encoding="utf-8")
    again = examined(Program.read([tmp_path / "code"]), Memory(tmp_path / "kept"), 1)
    assert [Path(path).name for path in asked] == ["b.py"]
    assert [line for _, line, _ in told(again)] == [line + (name == "b.py") for name, line, _ in told(first)]


def test_a_rule_that_failed_is_asked_again_when_it_is_to_fail_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, memory = folder(tmp_path, {"a.py": SICK}), Memory(None)
    usual = memory.key_of(program)
    monkeypatch.setenv("TORCHDX_DEBUG", "1")
    assert Memory(None).key_of(program) != usual


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x80\x05garbage", b"\x80\x05K\x01.", b"\x80\x05\x95" + b"\xff" * 8],
    ids=["empty", "cut", "something else", "endless"],
)
def test_a_damaged_memory_is_forgotten(tmp_path: Path, damage: bytes) -> None:
    program = folder(tmp_path / "code", {"a.py": SICK})
    first = examined(program, Memory(tmp_path / "kept"), 1)
    (entry,) = (tmp_path / "kept").glob("*/*")
    entry.write_bytes(damage)
    assert examined(program, Memory(tmp_path / "kept"), 1) == first


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file where the folder would be", encoding="utf-8")
    assert told(examined(folder(tmp_path / "code", {"a.py": SICK}), Memory(tmp_path / "kept"), 1))


def test_the_memory_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, "MOST_BYTES", 6000)
    kept = Memory(tmp_path)
    for number in range(20):
        kept.keep(f"{number:040}", "x" * 1000)
    kept.tidy()
    left = [path for path in tmp_path.glob("*/*") if path.is_file()]
    assert 0 < len(left) < 7


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHDX_CACHE", str(tmp_path))
    assert usual_folder() == tmp_path
    monkeypatch.setenv("TORCHDX_CACHE", "")
    assert usual_folder() is None, "an empty name keeps nothing"


def test_a_trainer_need_not_name_torch_itself(tmp_path: Path) -> None:
    trainer = """
class Trainer:
    def __init__(self, model, criterion, optimizer):
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
    def fit(self, batches):
        for inputs, labels in batches:
            loss = self.criterion(self.model(inputs), labels)
            loss.backward()
            self.optimizer.step()
"""
    main = """
import torch
from torch import nn
from trainer import Trainer

model = nn.Linear(4, 2)
batches = [(torch.randn(8, 4), torch.randint(2, (8,))) for _ in range(9)]
Trainer(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1)).fit(batches)
"""
    program = folder(tmp_path, {"main.py": main, "trainer.py": trainer})
    assert [(name, code) for name, _, code in told(examined(program, Memory(None), 1))] == [("trainer.py", "TDX901")]
    alone = folder(tmp_path / "alone", {"trainer.py": trainer})
    assert told(examined(alone, Memory(None), 1)) == [], "where nothing of torch is in sight, nothing is said"


def test_what_stands_in_a_test_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = [
        "tests/net.py",
        "my_unittests.py",
        "test_net.py",
        "lib/test_net.py",
        "conftest.py",
        "testing.py",
        "test.py",
        "net_tests.py",
    ]
    found = examined(folder(tmp_path, dict.fromkeys(places, SICK)), Memory(None), 1).diagnosis.findings
    assert [Path(f.site.path).name for f in found if f.site and f.severity == "error"] == [
        "net_tests.py", "test.py", "testing.py"
    ]  # fmt: skip
    assert len(found) == len(places)
