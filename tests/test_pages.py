"""Pages of rules: their parts, their cases, and the committed Markdown."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from torchdx import pages
from torchdx.pages import case_source, coloured, fragment, main, markdown, markdown_files, page, parts_of, plain
from torchdx.rules import all_rules

DOCS = Path(__file__).parent.parent / "docs" / "rules"

RULE = '''"""A fault | made up for a test.

Seen as a loss that `stays` where it was
and does not move.

Hurts because sigma'(x) = sigma(x)(1 - sigma(x)):

    f(x) = <1>

Helped by
- one thing
- another

No fault when it is a gate.
Sources: A. Author (2015), https://example.org/paper.
"""

code, family, severity = "TDX399", "activations", "warning"
needs, explains = {"outputs"}, set()


def sick() -> None:
    # the first comment
    import torch

    text = """
    kept
"""
    model = torch.nn.Sigmoid()  # TDX399


def healthy() -> None:
    """The same, cured."""
    import torch

    text = """
    kept
"""
    model = torch.nn.ReLU()


def looks_like_it() -> None: print("not it")
'''


@pytest.fixture
def rule(tmp_path: Path) -> ModuleType:
    path = tmp_path / "made_up_fault.py"
    path.write_text(RULE)
    spec = importlib.util.spec_from_file_location("torchdx.rules.activations.made_up_fault", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_docstring_has_its_parts(rule: ModuleType) -> None:
    told = page(rule)
    assert (told.code, told.name, told.title) == ("TDX399", "made-up-fault", "A fault | made up for a test.")
    assert list(told.parts) == list(pages.PARTS)
    assert told.parts["Seen as"] == "a loss that `stays` where it was\nand does not move."
    assert "\n    f(x) = <1>" in told.parts["Hurts because"]
    assert told.parts["Helped by"] == "- one thing\n- another"
    assert told.parts["Sources"].startswith("A. Author")


def test_parts_may_be_missing_or_spelt_with_a_mark() -> None:
    assert parts_of("") == ("", {})
    assert parts_of("Title.\n\nSeen as: this\nwhich is Seen as well.\n") == (
        "Title.",
        {"Seen as": "this\nwhich is Seen as well."},
    )


def test_a_case_is_a_script(rule: ModuleType) -> None:
    script = case_source(rule, "sick")
    ast.parse(script)
    header, first, *rest = script.splitlines()
    assert header.startswith("# TDX399 made-up-fault")
    assert first == "# the first comment"
    assert rest[-1] == "model = torch.nn.Sigmoid()  # TDX399"
    assert case_source(rule, "healthy").splitlines()[1] == "import torch"
    assert case_source(rule, "looks_like_it").splitlines()[1] == 'print("not it")'


def test_the_diff_is_the_cure(rule: ModuleType) -> None:
    changed = [line for line in page(rule).diff.splitlines()[2:] if line[0] in "+-"]
    assert changed == [
        "-# the first comment",
        "-model = torch.nn.Sigmoid()",
        "+model = torch.nn.ReLU()",
    ]


def test_markdown_and_index(rule: ModuleType) -> None:
    files = markdown_files([rule])
    assert set(files) == {"index.md", "TDX399-made-up-fault.md"}
    told = files["TDX399-made-up-fault.md"]
    assert told.startswith("# A fault | made up for a test.\n\n`TDX399` · family activations · warning\n")
    assert "## Helped by\n\n- one thing\n" in told
    assert "```python\n# the first comment\n" in told
    assert r"| [made-up-fault](TDX399-made-up-fault.md) | warning | A fault \| made up" in files["index.md"]


def test_a_terminal_gets_the_same_in_colour_and_plain(rule: ModuleType) -> None:
    told = plain(page(rule), 60)
    assert coloured(page(rule), 60).plain == told
    assert "  a loss that `stays` where it was and does not move.\n" in told
    assert "\n      f(x) = <1>\n" in told
    assert "\n  - one thing\n  - another\n" in told
    assert "  +model = torch.nn.ReLU()\n" in told
    assert not [line for line in told.splitlines() if line != line.rstrip()]


def test_a_fragment_is_escaped(rule: ModuleType) -> None:
    told = fragment(page(rule))
    assert "<pre><span>f(x) = &lt;1&gt;</span></pre>" in told
    assert "<code>stays</code>" in told
    assert '<a href="https://example.org/paper" rel="noreferrer">' in told
    opened: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: opened.extend([tag] * (tag != "br"))  # type: ignore[method-assign]
    parser.handle_endtag = lambda tag: opened.remove(tag)  # type: ignore[method-assign]
    parser.feed(told)
    assert not opened


def test_the_folder_is_written_and_cleared(
    tmp_path: Path, rule: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pages, "all_rules", lambda: (rule,))
    (tmp_path / "TDX998-gone.md").write_text("old")
    (tmp_path / "own.md").write_text("kept")
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "TDX399-made-up-fault.md").read_text() == markdown(page(rule))
    assert not (tmp_path / "TDX998-gone.md").exists()
    assert (tmp_path / "own.md").exists()
    assert main([]) == 2
    assert main([str(tmp_path / "own.md")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_committed_pages_are_fresh() -> None:
    committed = {file.name: file.read_text(encoding="utf-8") for file in DOCS.glob("*.md")}
    assert committed == markdown_files(all_rules()), "run: python -m torchdx.pages docs/rules"


def test_pages_never_import_torch() -> None:
    code = (
        "import sys; from torchdx.pages import *; from torchdx.rules import all_rules\n"
        "for rule in all_rules(): plain(page(rule)), markdown(page(rule)), fragment(page(rule))\n"
        "assert not {'torch', 'numpy', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
