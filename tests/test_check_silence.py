"""A comment with a reason silences a finding where it stands, and only that; one that does nothing is told of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from telling import SICK, Told
from torchdx.check import Configuration
from torchdx.check import told as told_of
from torchdx.check.silence import silences
from torchdx.exam import examine
from torchdx.finding import Diagnosis, Finding, Site, Verdict
from torchdx.source import Program, SourceFile

LOSS = "        loss = F.cross_entropy(F.softmax(net(x), dim=1), y)\n"
MOVE = '        x.to("cuda")\n'


def codes(text: str | bytes, path: str = "train.py") -> list[str]:
    program = Program.of({path: text})
    return sorted(
        finding.code
        for finding in told_of(examine(program, None), program.files, Configuration(), audit=True).all_findings()
    )


@pytest.mark.parametrize(
    "comment",
    [
        "# torchdx: ok TDX601 - the paper has it so",
        "#torchdx:ok tdx601 -- the paper has it so",
        "# torchdx: ok softmax-before-cross-entropy — the paper",
        "# noqa: E501  # torchdx: ok loss - the paper",
        "# type: ignore # torchdx: ok TDX6 - the paper - and its appendix",
    ],
)
def test_at_the_end_of_the_line(comment: str) -> None:
    assert codes(SICK) == ["TDX101", "TDX102", "TDX601"]
    assert codes(SICK.replace(LOSS, f"{LOSS[:-1]}  {comment}\n")) == ["TDX101", "TDX102"]


def test_on_its_own_line_above() -> None:
    above = "        # torchdx: ok TDX601 - the paper has it so\n"
    assert codes(SICK.replace(LOSS, above + LOSS)) == ["TDX101", "TDX102"]
    assert codes(SICK.replace(LOSS, above + "\n        # more\n" + LOSS)) == ["TDX101", "TDX102"]
    assert codes(SICK.replace(LOSS, LOSS + above)) == ["TDX002", "TDX101", "TDX102", "TDX601"]


def test_several_rules() -> None:
    text = SICK.replace(MOVE, MOVE[:-1] + "  # torchdx: ok TDX101, discarded-to-result - a smoke test\n")
    assert codes(text) == ["TDX601"]


@pytest.mark.parametrize(
    "lines",
    [
        ["loss = F.cross_entropy(", "    F.softmax(net(x), dim=1), y", ")  # OK"],
        ["loss = F.cross_entropy(  # OK", "    F.softmax(net(x), dim=1), y", ")"],
        ["# OK", "loss = (", "    F.cross_entropy(F.softmax(net(x), dim=1), y)", ")"],
        ["loss = (", "    # OK", "    F.cross_entropy(F.softmax(net(x), dim=1), y)", ")"],
        ["loss = (", "    F.cross_entropy(F.softmax(net(x), dim=1), y)", ")  # OK"],
        ["if (", "    F.cross_entropy(F.softmax(net(x), dim=1), y)", "):  # OK", "    pass", "loss = net(x)"],
    ],
)
def test_a_statement_of_several_lines(lines: list[str]) -> None:
    written = "".join(f"        {line}\n" for line in lines).replace("OK", "torchdx: ok TDX601 - so")
    assert codes(SICK.replace(LOSS, written)) == ["TDX101", "TDX102"]


@pytest.mark.parametrize(
    "written",
    [
        "        print('# torchdx: ok TDX601 - no comment')\n" + LOSS,
        "        '''\n        # torchdx: ok TDX601 - no comment\n        '''\n" + LOSS,
        LOSS.replace("net(x)", "net(x['# torchdx: ok TDX601 - no comment'])"),
    ],
)
def test_words_in_a_string_are_no_comment(written: str) -> None:
    assert "TDX601" in codes(SICK.replace(LOSS, written))


def test_a_comment_in_a_loop_does_not_silence_the_whole_loop() -> None:
    text = SICK.replace("in loader:\n", "in loader:  # torchdx: ok TDX601, TDX102 - no\n")
    assert codes(text) == ["TDX002", "TDX002", "TDX101", "TDX102", "TDX601"]


@pytest.mark.parametrize("words", ["TDX601", "TDX601 -", "TDX601 because of the paper", "TDX601: the paper"])
def test_without_a_reason_it_silences_nothing(words: str) -> None:
    assert codes(SICK.replace(LOSS, f"{LOSS[:-1]}  # torchdx: ok {words}\n")) == [
        "TDX001",
        "TDX101",
        "TDX102",
        "TDX601",
    ]


@pytest.mark.parametrize(
    ("words", "said", "severity"),
    [
        ("TDX602 - why", "no TDX602 is found here: the comment may go, unless `torchdx run` finds it here", "note"),
        ("TDX102 - why", "no TDX102 is found here: the comment may go", "note"),
        ("TDX998 - why", "there is no rule 'TDX998' to silence", "warning"),
        ("- why", "this comment names no rule, and silences nothing", "warning"),
        ("", "this comment names no rule, and silences nothing", "warning"),
    ],
)
def test_one_that_does_nothing_is_told_of(words: str, said: str, severity: str) -> None:
    program = Program.of({"a.py": f"import torch\n\nx = 1  # torchdx: ok {words}\n"})
    (finding,) = told_of(examine(program, None), program.files, Configuration(), audit=True).findings
    assert (finding.code, finding.message, finding.severity) == ("TDX002", said, severity)
    assert finding.site is not None and (finding.site.line, finding.site.column) == (3, 8)


def test_one_for_what_only_a_run_shows_is_not_judged_by_the_source() -> None:
    assert codes("import torch\n\nx = 1  # torchdx: ok dead-relu - found by a run\n") == []


def test_settings_hold_for_what_is_said_of_comments() -> None:
    program = Program.of({"a.py": "x = 1  # torchdx: ok TDX601 - why\n"})
    only = Configuration(select=frozenset({"TDX102"}))
    assert not told_of(examine(program, None), program.files, only, audit=True).findings


def test_what_a_silenced_cause_explains_is_told_for_itself() -> None:
    line = "x = 1  # torchdx: ok TDX601 - why\n"
    below = Finding("below", Site("a.py", 2), code="TDX202", rule="vanishing-gradient", severity="warning")
    cause = Finding("cause", Site("a.py", 1), code="TDX601", rule="x", severity="error", consequences=(below,))
    diagnosis = Diagnosis(Verdict("faults found", "2"), (cause,))
    assert told_of(diagnosis, [SourceFile("a.py", line.encode())], Configuration()).findings == (below,)


def test_the_verdict_follows() -> None:
    text = SICK.replace(MOVE, "").replace(LOSS, LOSS[:-1] + "  # torchdx: ok TDX601 - so\n")
    program = Program.of({"a.py": text})
    assert told_of(examine(program, None), program.files, Configuration()).verdict.name == "no fault found"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_any_way_of_writing_a_file(end: str, encoding: str) -> None:
    head = "# coding: latin-1\n" if encoding == "latin-1" else ""
    text = head + SICK.replace(LOSS, "\f" + LOSS[:-1] + "; é = 'ü'  # torchdx: ok TDX601 - größer\n")
    assert codes(text.replace("\n", end).encode(encoding)) == ["TDX101", "TDX102"]


def test_in_a_notebook() -> None:
    cells = [
        SICK,
        "!ls 'x",
        LOSS.strip().replace("net(x)", "x") + "  # torchdx: ok TDX601 - so\n",
        "y = 1  # torchdx: ok TDX102 - so",
    ]
    whole = [
        {"cell_type": "code", "metadata": {}, "source": cell, "outputs": [], "execution_count": 1} for cell in cells
    ]
    data = json.dumps({"cells": whole, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    program = Program.of({"a.ipynb": data})
    found = told_of(examine(program, None), program.files, Configuration(), audit=True).all_findings()
    assert [(finding.code, str(finding.site)) for finding in found if finding.code in ("TDX601", "TDX002")] == [
        ("TDX601", "a.ipynb#cell 1:9:16"),
        ("TDX002", "a.ipynb#cell 4:1:8"),
    ]


def test_a_file_that_does_not_parse_is_passed_over() -> None:
    assert codes("import torch\nx = (  # torchdx: ok TDX601 - so\n")[:1] in ([], ["TDX002"])
    assert not list(silences(SourceFile("a.py", b"x = 1\n")))


def test_check_says_it_at_the_place(told: Told, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SICK.replace(LOSS, LOSS[:-1] + "  # torchdx: ok TDX601\n"))
    done = told("check")
    assert done.status == 1
    assert "warning[TDX001] suppression-without-reason" in done.out
    assert "write `# torchdx: ok TDX601 - reason`" in done.out
