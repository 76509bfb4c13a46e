"""Reports for a terminal, and the words and numbers that all reports share."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from believable import diagnosis, program
from torchdx.finding import Diagnosis, Finding, Fix, NotEnough, Site, Verdict, near
from torchdx.report import FORMATS
from torchdx.report.lines import speakable
from torchdx.report.text import coloured, show, text
from torchdx.report.words import curve, duration, ending, excerpt, number, percent, said, tally


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    monkeypatch.chdir(tmp_path)
    return diagnosis(program(tmp_path))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (12345, "12,345"), (0.0, "0"), (-0.0, "0"), (0.00392, "0.00392"), (1.2e-7, "1.2e-7"), (2.303, "2.3"),
     (1234.5, "1,234"), (2e9, "2e9"), (math.nan, "NaN"), (-math.inf, "-infinity"), (True, "yes")],
)  # fmt: skip
def test_numbers_are_short_and_plain(value: float, words: str) -> None:
    assert number(value) == words


def test_shares_are_percentages_and_lists_are_curves() -> None:
    assert said("flat_share", 0.931) == "93%"
    assert said("flat_share", 1.7) == "1.7"
    assert percent(0.0153) == "1.5%"
    assert said("gradient", [1.0, 0.5, 0.0]) == "1 █▅▁ 0"
    assert said("kinds", ["a", "b", "a"]) == "a, b"
    assert said("counts", {"a": 1, "b": 0.25}) == "a 1, b 0.25"
    assert said("nothing", None) == "none"
    assert curve([math.nan, math.nan]) == "NaN"
    assert len(curve([float(k) for k in range(1000)])) < 30


def test_endings_and_durations() -> None:
    assert (ending(0), ending(-9), ending(-4242)) == ("exit status 0", "killed by SIGKILL", "killed by signal 4242")
    assert ending("ended with KeyError") == "ended with KeyError"
    assert (duration(0.44), duration(250), duration(7500)) == ("0.4 s", "4 min 10 s", "2 h 5 min")


def test_paths_are_relative_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert near(str(tmp_path / "here" / "a" / "b.py")) == "a/b.py"
    assert near(str(tmp_path / "there.py")) == str(tmp_path / "there.py")


def test_the_verdict_comes_first_and_the_run_last(told: Diagnosis) -> None:
    lines = text(told).splitlines()
    assert lines[0] == "✗ not learning: data"
    assert "training loss 1.52 · uniform 2.3" in lines[2]
    assert lines[-2] == "7 findings: 3 errors, 3 warnings, 1 note"
    assert lines[-1] == "300 steps, 76 looked at · overhead 1.5% · 1 process · 12.3 s · exit status 0"
    assert len(lines) <= 60
    assert not [line for line in lines if line != line.rstrip()]


def test_a_finding_stands_at_its_line_of_source(told: Diagnosis) -> None:
    shown = text(replace(told, findings=told.findings[:1]))
    assert "error[TDX502] double-scaling" in shown
    assert "→ train.py:6:6" in shown
    assert "6 │     x = x.to(device) / 255  # über\n    │         ^^^^^^^^^^^^^^^^^^\n" in shown
    assert "evidence  min 0 · max 0.0039 · times scaled 2" in shown
    assert "fix       - x = x.to(device) / 255  # über\n            + x = x.to(device)  # über\n" in shown
    assert "explains  TDX301 saturated-activation in head.1" in shown


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_but_those_to_be_copied(told: Diagnosis, width: int) -> None:
    long = "x" * 300
    finding = Finding(long, Site(long, 1), long, {long: 1.0}, long, fixes=(Fix(long, (), f"+{long}"),))
    shown = text(replace(told, findings=(*told.findings, finding)), width)
    too_wide = [line for line in shown.splitlines() if len(line) > width and not line.startswith("  → ")]
    assert too_wide[-1] == f"  fix       + {long}"
    assert all(line[12:14] in ("+ ", "- ") for line in too_wide)


INSERTION = """--- a/train.py
+++ b/train.py
@@ -97,5 +97,6 @@
         optimizer.step()
     print(epoch)
\x20
+    net.eval()
     for x, y in test:
         total += net(x)
"""
ELSEWHERE = """@@ -2,2 +2,3 @@
 import torch
+import math
 from torch import nn
@@ -50 +51 @@
-    x = a
+    x = b
"""


def shown_fix(patch: str) -> str:
    finding = Finding("m", cure="Do it.", fixes=(Fix("title", (), patch),))
    return text(Diagnosis(Verdict("v", ""), (finding,))).partition("  fix       ")[2]


def test_added_lines_stand_between_their_neighbours() -> None:
    assert shown_fix(INSERTION).startswith(
        " 98 │   print(epoch)\n                │ + net.eval()\n            100 │   for x, y in test:\n"
    )


def test_a_patch_in_two_places_numbers_them_all() -> None:
    rows = [line.strip() for line in shown_fix(ELSEWHERE).splitlines()[:6]]
    assert rows == [
        "2 │   import torch",
        "│ + import math",
        "3 │   from torch import nn",
        "│ …",
        "50 │ -     x = a",
        "│ +     x = b",
    ]


def test_what_is_missing_is_said_in_words_unless_all_is_well() -> None:
    lacks = tuple(NotEnough(needs, "a-rule") for needs in ("gradients, step", "phase", "input", "20 looks", "loss"))
    shown = text(Diagnosis(Verdict("not learning", ""), (), lacks))
    for words in (
        "gradients at optimizer steps",
        "evaluations",
        "what the model is given",
        "20 looks",
        "a loss function",
    ):
        assert f"  a-rule: {words}" in shown
    assert "more" not in shown
    assert text(Diagnosis(Verdict("healthy", ""), (), lacks)) == "✓ healthy\n"
    failed = (NotEnough("the rule itself failed (KeyError: 3)", "a-rule"),)
    assert "KeyError" in text(Diagnosis(Verdict("no fault found", ""), (), failed))


def test_evidence_is_not_said_twice() -> None:
    finding = Finding("m", evidence={"left_out": ["body", "body"], "left out": "body"})
    assert "evidence  left out body\n" in text(Diagnosis(Verdict("v", ""), (finding,)))


@pytest.mark.parametrize(("steps", "words"), [(0, "no optimizer step"), (1, "1 step, 4 looked at")])
def test_a_run_without_steps_is_not_said_to_have_looks_at_them(steps: int, words: str) -> None:
    assert text(Diagnosis(Verdict("v", ""), run={"steps": steps, "looked": 4})).splitlines()[-1] == words


def test_a_long_source_line_is_shown_about_its_span(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("a = " + "b + " * 200 + "here + " + "c + " * 200 + "d\n")
    finding = Finding("m", Site(str(path), 1, 805, 1, 809), code="TDX999")
    row, carets = text(Diagnosis(Verdict("v", ""), (finding,)), 80).splitlines()[-4:-2]
    assert row[carets.index("^") : carets.rindex("^") + 1] == "here"
    assert len(row) <= 80


def test_wide_letters_keep_the_caret_in_place(tmp_path: Path) -> None:
    path = tmp_path / "wide.py"
    path.write_text("x = '漢字' + y\n", encoding="utf-8")
    carets = text(Diagnosis(Verdict("v", ""), (Finding("m", Site(str(path), 1, 12, 1, 13)),))).splitlines()[-3]
    assert carets.index("^") == carets.index("│") + 2 + len("x = '漢字' + ") + 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe bad \x00", None])
def test_an_unreadable_source_is_left_out(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gone.py"
    if content is not None:
        path.write_bytes(content)
    assert excerpt(Site(str(path), 1)) == []
    assert "gone.py:1:1" in text(Diagnosis(Verdict("v", ""), (Finding("m", Site(str(path), 1)),)))


def test_no_findings_and_missing_evidence() -> None:
    lacks = tuple(NotEnough("20 looks", f"rule-{k}") for k in range(3))
    shown = text(Diagnosis(Verdict("not enough evidence", "Too few steps."), (), lacks))
    assert shown.startswith("? not enough evidence\n  Too few steps.\n")
    assert "  rule-0, rule-1, rule-2: 20 looks\n" in shown
    assert tally(Diagnosis(Verdict("healthy", ""))) == ""
    assert text(Diagnosis(Verdict("healthy", ""))) == "✓ healthy\n"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_that_want_it(told: Diagnosis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Terminal()
    show(told, shown)
    assert "\x1b[" in shown.getvalue()
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setenv("NO_COLOR", "1")
        show(told, stream)
        assert "\x1b[" not in stream.getvalue()
        assert "double-scaling" in stream.getvalue()


def test_colour_and_plain_say_the_same(told: Diagnosis) -> None:
    assert coloured(told).plain == text(told)


def test_a_poor_encoding_gets_plainer_signs(told: Diagnosis) -> None:
    shown = speakable(text(told), "ascii")
    assert shown.isascii()
    assert "6 |     x = x.to(device) / 255  # ?ber" in shown
    assert speakable("→", "utf-8") == "→"


def test_plain_formats_never_load_rich_or_torch() -> None:
    code = (
        "import sys; from torchdx.finding import *; from torchdx.report import FORMATS\n"
        "for f in FORMATS.values(): f(Diagnosis(Verdict('v', 'w'), (Finding('m'),)), {})\n"
        "assert not {'rich', 'torch', 'numpy'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
    assert set(FORMATS) == {"text", "json", "sarif", "github"}


def test_findings_that_say_the_same_are_shown_once_at_length() -> None:
    same = [Finding(f"place {n}", Site("a.py", n), code="TDX999", rule="one", severity="note") for n in range(1, 41)]
    grave = Finding("another", Site("b.py", 7), code="TDX998", rule="two", severity="error")
    out = text(Diagnosis(Verdict("v", "w"), (grave, *same)))
    assert "place 5" in out and "place 6" not in out
    assert "note[TDX999] one: 35 more places" in out
    assert all(f"a.py:{n}:1" in out.replace("\n ", "") for n in range(1, 41)), "and every place is named"
    assert "41 findings: 1 error, 40 notes" in out
