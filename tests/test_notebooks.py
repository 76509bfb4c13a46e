"""Notebooks and scripts of cells are read, named, reported and mended as their users know them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchdx.exam import examine
from torchdx.finding import Cell, Edit, Finding, Site
from torchdx.notebook import line_in_file
from torchdx.report import FORMATS
from torchdx.report.html import html
from torchdx.report.words import excerpt
from torchdx.source import Program, edits
from torchdx.source.edits import Refused
from torchdx.source.magics import parsed, without_magics
from torchdx.source.notebook import Notebook

TORCH = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F"
SOFT = """class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return torch.softmax(self.fc(x), 1)"""
HARD = SOFT.replace("torch.softmax(self.fc(x), 1)", "self.fc(x)")
LOSS = "net = Net()\nloss = F.cross_entropy(net(x), y)"
INSIDE = "def train():\n    net = Net()\n    return F.cross_entropy(net(x), y)"


def written(*cells: str | dict[str, Any], indent: int | str | None = 1, as_list: bool = True, **more: Any) -> bytes:
    """A notebook with these cells of code, or cells as they are."""
    whole = {"cells": [_cell(cell, as_list) for cell in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(whole | more, indent=indent, ensure_ascii=False) + "\n").encode()


def _cell(cell: str | dict[str, Any], as_list: bool) -> dict[str, Any]:
    if not isinstance(cell, str):
        return cell
    image = {"output_type": "display_data", "data": {"image/png": 'iVBOR{["\\', "source": ["x = 1\n"]}, "metadata": {}}
    source = cell.splitlines(keepends=True) if as_list else cell
    return {"cell_type": "code", "execution_count": 7, "metadata": {}, "outputs": [image], "source": source}


def text_cell(words: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": words}


def read(*cells: str | dict[str, Any], **more: Any) -> Notebook:
    file = Program.of({"a.ipynb": written(*cells, **more)}).files[0]
    assert isinstance(file, Notebook)
    return file


def found(*cells: str | dict[str, Any]) -> list[Finding]:
    return list(examine(Program.of({"a.ipynb": written(*cells)}), None).all_findings())


def first(file: Notebook, kind: type[ast.AST]) -> Any:
    return next(node for node in file.index.parents if isinstance(node, kind))


# Names of places


def test_a_finding_is_named_by_its_cell_and_the_line_in_it() -> None:
    (finding,) = found(text_cell("# Softmax"), TORCH, "", SOFT, LOSS)
    assert str(finding.site) == "a.ipynb#cell 5:2:8"
    assert "(line 7 of cell 4)" in finding.message
    assert finding.site is not None and finding.site.seen_from("b.py") == "line 2 of cell 5 of a.ipynb"


def test_columns_count_characters_and_spans_end_where_they_do() -> None:
    file = read("é = 1", "s = 'ß'; f(\n  1)")
    site = file.site(first(file, ast.Call))
    assert (site.row, site.column, site.end_row, site.end_column) == (1, 10, 2, 5)
    assert file.text_of(first(file, ast.Call)) == "f(\n  1)"


def test_names_of_all_cells_are_one_module_and_files_beside_it_are_found() -> None:
    sources = {"p/a.ipynb": written("import torch\nfrom net import Net", LOSS.replace("F.", "torch.nn.functional."))}
    program = Program.of(sources | {"p/net.py": f"{TORCH}\n{SOFT}"})
    assert [str(f.site) for f in examine(program, None).findings] == ["p/a.ipynb#cell 2:2:8"]


# What counts as a cell of Python


def test_older_formats_and_sources_in_one_piece_are_read() -> None:
    cells = [{"cell_type": "code", "input": text, "language": "python", "outputs": []} for text in (TORCH, SOFT, LOSS)]
    old = {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells}]}
    for data in (json.dumps(old).encode(), written(TORCH, SOFT, LOSS, as_list=False, indent=None)):
        diagnosis = examine(Program.of({"a.ipynb": data}), None)
        assert [str(finding.site) for finding in diagnosis.findings] == ["a.ipynb#cell 3:2:8"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"language": "R", "name": "ir"}},
        {"kernelspec": {"name": "julia-1.9"}, "language_info": {"name": "julia"}},
    ],
)
def test_notebooks_in_other_languages_are_passed_over(metadata: Any) -> None:
    program = Program.of({"a.ipynb": written("library(torch)\nx <- 1", metadata=metadata)})
    assert not examine(program, None).findings and not program.problems


def test_cells_in_other_languages_are_passed_over() -> None:
    rust = {"cell_type": "code", "metadata": {"vscode": {"languageId": "rust"}}, "source": "let x", "outputs": []}
    file = read(rust, "%%bash\nfor i in *; do echo $i; done", "\n%%writefile net.py\nx = 2", "%%time\ny = 3")
    assert [ast.unparse(node) for node in file.tree.body] == ["pass", "y = 3"] and not file.gaps


def test_an_indented_cell_is_read_as_jupyter_does() -> None:
    file = read("for i in x:\n    f(i)", "  # so\n    y = 2\n    z = 3\nw = 4")
    assert not file.gaps
    assert [file.site(node).row for node in ast.walk(file.tree) if isinstance(node, ast.Assign)] == [4, 2, 3]


def test_a_cell_that_does_not_parse_is_left_out_alone() -> None:
    data = written(TORCH, "lr =   # TODO", SOFT, "x = (1,", LOSS, "pip install torch\nz = 1")
    program = Program.of({"a.ipynb": data})
    assert [str(finding.site) for finding in examine(program, None).findings] == ["a.ipynb#cell 5:2:8"]
    assert [str(problem).partition(" does")[0] for problem in program.problems] == [
        "a.ipynb#cell 2:1:",
        "a.ipynb#cell 4:1:",
    ]


def test_gaps_are_told_of_where_the_notebook_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_bytes(written(TORCH, "lr ="))
    assert not Program.read([tmp_path]).problems
    assert len(Program.read([tmp_path / "a.ipynb"]).problems) == 1


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"cells": 3}', b'{"torch": 1}', b"\xff\xfe{", b'{"cells": [3]}x'])
def test_what_is_no_notebook_is_a_problem_in_one_sentence(data: bytes) -> None:
    program = Program.of({"a.ipynb": data})
    (problem,) = program.problems
    assert str(problem).startswith("a.ipynb: cannot be read as a notebook: it ")


@pytest.mark.parametrize("cell", [3, None, {"cell_type": "code"}, {"cell_type": "code", "source": 3, "metadata": []}])
def test_odd_cells_hurt_nobody(cell: Any) -> None:
    file = Program.of({"a.ipynb": json.dumps({"cells": [cell, _cell("x\ud800 = 1\0", True), _cell("y = 1", True)]})})
    assert file.files[0].tree.body and not examine(file, None).findings


def test_folders_are_searched_for_notebooks_but_not_for_their_checkpoints(tmp_path: Path) -> None:
    for name in ("a.ipynb", ".ipynb_checkpoints/a-checkpoint.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(written(TORCH))
    assert [Path(file.path).name for file in Program.read([tmp_path]).files] == ["a.ipynb"]


def test_big_outputs_are_no_code(tmp_path: Path) -> None:
    whole = json.loads(written(TORCH, SOFT, LOSS))
    whole["cells"][0]["outputs"][0]["data"]["image/png"] = "A" * 5_000_000
    (tmp_path / "a.ipynb").write_text(json.dumps(whole))
    program = Program.read([tmp_path])
    assert len(program.files[0].bytes) < 1000 and len(examine(program, None).findings) == 1


# IPython's own words


@pytest.mark.parametrize(
    ("line", "reads"),
    [
        ("%matplotlib inline", "pass"),
        ("  !pip install 'torch", "  pass"),
        ("?torch.nn", "pass"),
        ("torch.nn.Linear??", "pass"),
        ("%%time", "pass"),
        ("files = !ls *.py", "files = get_ipython()"),
        ("t = %timeit -o f(x)", "t = get_ipython()"),
        ("%time net = train(net)", "pass; net = train(net)"),
        ("%timeit -n 10 f(x)", "pass;         f(x)"),
        ("%time for", "pass"),
        ("x = 5 % y", "x = 5 % y"),
        ("assert x != y, 'why?'", "assert x != y, 'why?'"),
    ],
)
def test_lines_for_ipython_are_neutralised_in_place(line: str, reads: str) -> None:
    assert without_magics(line) == reads


def test_what_only_looks_like_a_magic_stays() -> None:
    kept = 's = """\n!pip install\n%cd\n"""\nx = (a\n  % b)\ny = a \\\n  % b\n'
    text = kept + "!pip install x \\\n  -q (\nz = 1 # (\n%cd x\n"
    plain = kept + "pass\n\nz = 1 # (\npass\n"
    assert without_magics(text) == plain
    ast.parse(plain)


def test_a_script_of_cells_with_magics_is_read_and_edited() -> None:
    text = (
        f"# %%\n%matplotlib inline\nget_ipython().run_line_magic('cd', 'x')\n{TORCH}\n# In[3]:\n!ls\n{SOFT}\n{LOSS}\n"
    )
    program = Program.of({"a.py": text})
    (finding,) = examine(program, None).findings
    assert not program.problems and finding.site is not None and finding.site.line == text.count("\n")
    changed = edits.applied(program.files[0], finding.fixes[0].edits).decode()
    assert changed == text.replace("torch.softmax(self.fc(x), 1)", "self.fc(x)")


def test_a_script_that_python_and_ipython_both_refuse_is_a_problem() -> None:
    (problem,) = Program.of({"a.py": "%cd x\nx = = 2\n"}).problems
    assert problem.line == 2
    with pytest.raises(SyntaxError):
        parsed("x = = 2")


# How cells run


def test_a_line_run_once_by_itself_may_be_there_to_show_that_nothing_changes() -> None:
    assert not found("import torch\nt = torch.zeros(3)", "t.float()", "t")
    assert not found("import torch\nt = torch.zeros(3)", "t.float()\nprint(t)")
    (finding,) = found("import torch\nt = torch.zeros(3)", "for _ in range(3):\n    t.float()\n    print(t)")
    assert (finding.rule, str(finding.site)) == ("discarded-to-result", "a.ipynb#cell 2:2:5")


@pytest.mark.parametrize(
    ("cells", "places"),
    [
        ((SOFT, LOSS, HARD, LOSS), ["a.ipynb#cell 3:2:8"]),
        ((HARD, LOSS, SOFT, LOSS), ["a.ipynb#cell 5:2:8"]),
        ((SOFT, HARD, LOSS), []),
        ((SOFT, INSIDE, "train()"), ["a.ipynb#cell 3:3:12"]),
        ((HARD, INSIDE, "train()", SOFT), []),
    ],
)
def test_the_last_definition_above_the_use_counts(cells: tuple[str, ...], places: list[str]) -> None:
    assert [str(finding.site) for finding in found(TORCH, *cells)] == places


def test_a_lesson_on_gpus_is_no_program_that_insists_on_one() -> None:
    assert not found("import torch\nt = torch.zeros(3)", "g = t.cuda()\ng.device")
    assert not found("import torch\na, b = net.cuda(0), net.cuda(1)")
    (finding,) = found("import torch\nfrom torch import nn", "net = nn.Linear(2, 2).cuda()")
    assert finding.rule == "unguarded-cuda"


# Edits

STYLES = [{"indent": 1}, {"indent": 4}, {"indent": "\t"}, {"indent": None}, {"as_list": False}]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_an_edit_changes_its_line_of_the_json_and_nothing_else(style: Any) -> None:
    old = written(text_cell("ü"), "ä = 'ß\\n\"'\nf(1)\n\tg(2)".replace("\t", ""), "h(3)", **style)
    file = Program.of({"a.ipynb": old}).files[0]
    call = next(node for node in file.index.parents if isinstance(node, ast.Call))
    changed = edits.applied(file, [edits.replace(file, call, "f('é\"')")])
    assert changed == old.replace(b"f(1)", "f('é\\\"')".encode())


def test_lines_are_added_at_the_end_and_taken_out() -> None:
    old = written("x = 1\nf(x)", "y = 2\nz = 3")
    file = Program.of({"a.ipynb": old}).files[0]
    one, two, three, _ = file.tree.body
    new = edits.applied(
        file,
        [
            edits.insert_after(file, two, "g(x)"),
            edits.delete_statement(file, three),
            edits.insert_before(file, one, "w = 0"),
        ],
    )
    assert new == written("w = 0\nx = 1\nf(x)\ng(x)", "z = 3")


def test_a_cell_may_end_up_empty() -> None:
    file = read("f(x)", "y = 2")
    assert edits.applied(file, [edits.delete_statement(file, file.tree.body[0])]) == written("", "y = 2")


def test_the_end_of_line_in_cells_is_kept() -> None:
    file = read("x = 1\r\nf(x)\r\n", "y")
    statement = file.tree.body[1]
    changed = edits.applied(file, [edits.replace(file, statement, "g()")])
    assert changed == written("x = 1\r\ng()\r\n", "y")


def test_edits_that_cannot_be_placed_are_refused() -> None:
    file = read("x = 1", "f(x)", "lr =")
    one, two = file.tree.body[:2]
    start, end = file.span(one)[0], file.span(two)[1]
    for wrong in ([Edit("a.ipynb", start, end, b"y")], [edits.replace(file, two, "f(")]):
        with pytest.raises(Refused):
            edits.applied(file, wrong)


def test_the_diff_is_of_the_cells_python() -> None:
    (finding,) = found(TORCH, SOFT, LOSS)
    assert finding.fixes[0].patch.splitlines()[:3] == [
        "--- a/a.ipynb#cell 2",
        "+++ b/a.ipynb#cell 2",
        "@@ -4,4 +4,4 @@",
    ]


# Reports


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ipynb").write_bytes(written(text_cell("# Why"), TORCH, SOFT, LOSS))
    return tmp_path / "a.ipynb"


def test_text_and_html_show_the_line_of_the_cell(place: Path) -> None:
    diagnosis = examine(Program.read([place]), None)
    told = FORMATS["text"](diagnosis, {})
    assert "→ a.ipynb#cell 4:2:8\n  2 │ loss = F.cross_entropy(net(x), y)\n" in told
    assert "a.ipynb#cell 4:2:8" in html(diagnosis, None, {})


def test_json_tells_the_cell(place: Path) -> None:
    (told,) = json.loads(FORMATS["json"](examine(Program.read([place]), None), {}))["findings"]
    assert (told["path"], told["cell"], told["line"], told["end_line"]) == ("a.ipynb", 4, 2, 2)


def test_sarif_and_github_tell_the_line_of_the_file_on_disk(place: Path) -> None:
    diagnosis = examine(Program.read([place]), None)
    line = next(k for k, text in enumerate(place.read_text().splitlines(), 1) if "cross_entropy" in text)
    (result,) = json.loads(FORMATS["sarif"](diagnosis, {}))["runs"][0]["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["region"] == {"startLine": line}
    assert location["logicalLocations"] == [{"fullyQualifiedName": "line 2 of cell 4", "kind": "cell"}]
    assert "fixes" not in result
    told = FORMATS["github"](diagnosis, {})
    assert told.startswith(
        f"::error file=a.ipynb,line={line},title=TDX601 softmax-before-cross-entropy (line 2 of cell 4)"
    )


@pytest.mark.parametrize("source", [["a\n", "b\n", "c"], ["a\nb\n", "c"], "a\nb\nc", ["a\n", "b\n", "", "c\n"]])
def test_lines_of_cells_are_found_in_the_json(source: Any) -> None:
    data = json.dumps({"cells": [text_cell("c"), {"cell_type": "code", "source": source}]}, indent=1).encode()
    lines = data.decode().split("\n")
    for row, letter in enumerate("abc", 1):
        assert letter in lines[line_in_file(data, 2, row) - 1].partition(":")[2] + lines[line_in_file(data, 2, row) - 1]
    assert line_in_file(data, 9, 1) == 1


def test_a_notebook_that_is_gone_has_no_excerpt() -> None:
    assert excerpt(Site("gone.ipynb", 5, cell=Cell(1, 2))) == []


def test_check_takes_notebooks_by_name_in_folders_and_from_stdin(place: Path) -> None:
    for given in (["a.ipynb"], ["."], ["-"]):
        command = [sys.executable, "-m", "torchdx", "check", "--format", "json", *given]
        result = subprocess.run(command, input=place.read_bytes(), capture_output=True, check=False)
        assert result.returncode == 1, result.stderr
        (told,) = json.loads(result.stdout)["findings"]
        assert (told["cell"], told["line"]) == (4, 2)
