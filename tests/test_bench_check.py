"""What the comparison with other checkers counts, and how it reads their answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(autouse=True)
def among_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in ("check", "judgements", "publish"):
        sys.modules.pop(name, None)


def test_a_finding_is_alone_where_no_other_is_near() -> None:
    from check import Told, alone

    mine = [Told("r", "a.py", line, "TDX402") for line in (8, 14, 15)] + [Told("s", "a.py", 10, "TDX402")]
    others = [Told("r", "a.py", 11, "X"), Told("r", "b.py", 20, "X")]
    assert alone(mine, others) == mine[2:]
    assert alone(mine, []) == mine


def test_the_tools_answers_are_read() -> None:
    from check import ours, preflight, torchfix

    folder = Path("/home/code")
    below = {"path": "/home/code/net.py", "line": 3, "code": "TDX301", "severity": "error", "consequences": []}
    told = {"path": "/home/code/a/t.py", "line": 7, "code": "TDX601", "severity": "warning", "consequences": [below]}
    nowhere = {"path": None, "line": None, "code": "TDX801", "severity": "warning", "consequences": []}
    answer = json.dumps({"findings": [told, nowhere, {**told, "severity": "note", "consequences": []}]})
    assert list(ours(answer, folder)) == [("a/t.py", 7, "TDX601"), ("net.py", 3, "TDX301")]
    answer = json.dumps({"diagnostics": [{"path": "/home/code/train.py", "line": 5, "code": "TG004"}]})
    assert list(preflight(answer, folder)) == [("train.py", 5, "TG004")]
    answer = (
        "/home/code/a b.py:93:18: \x1b[31mTOR102\x1b[0m [*] `torch.load` without\n--- /home/code/a b.py\n+x:1:2: y\n"
    )
    assert list(torchfix(answer, folder)) == [("a b.py", 93, "TOR102")]


def test_the_corpus_is_named_by_commits() -> None:
    corpus = json.loads((BENCH / "corpus.json").read_text())["repositories"]
    assert len({each["repository"] for each in corpus}) == len(corpus) > 30
    assert all(len(each["commit"]) == 40 and each["repository"].count("/") == 1 for each in corpus)
