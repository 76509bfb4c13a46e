"""Who may import whom, and what each room may not do: the street of docs/architecture.md, enforced."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "src" / "torchdx"
CASES = {"sick", "healthy", "looks_like_it"}

BELOW_EXAM = {"finding", "notebook", "record", "source", "num", "rules"}
BELOW_CLI = BELOW_EXAM | {"exam", "check", "treat", "tune", "launch", "report", "pages", "data"}

MAY_IMPORT = {
    "finding": set(),
    "launch": set(),
    "notebook": set(),
    "num": set(),
    "watch": set(),
    "_inject": {"watch"},
    "record": {"finding"},
    "source": {"finding", "notebook"},
    "rules": {"finding", "record", "source", "num"},
    "exam": BELOW_EXAM,
    "check": BELOW_EXAM | {"exam"},
    "report": {"finding", "notebook", "record"},
    "pages": {"finding", "rules", "report"},
    "treat": BELOW_EXAM | {"exam", "launch"},
    "tune": BELOW_EXAM | {"exam", "launch", "treat"},
    "data": BELOW_EXAM,
    "integrations": BELOW_CLI | {"watch"},
    "cli": BELOW_CLI | {"integrations"},
    "__init__": {"watch"},
    "__main__": {"cli"},
}
"""Room -> the rooms it may import. A new room must be entered here, which is to say: thought about."""

OTHERS = {
    "watch": {"torch"},
    "num": {"numpy", "scipy"},
    "data": {"torch", "numpy", "torchvision", "PIL"},
    "report": {"rich"},
    "pages": {"rich"},
    "tune": {"optuna", "ray"},
    "treat": {"ray"},
    "cli": {"click", "rich"},
    "check": {"tomli"},
}
"""Room -> the packages of others it may import; all other rooms have the standard library alone."""

ALONE = {"watch/deep/curvature.py": {"scipy"}}
"""File -> what it alone may import, within the function that needs it, and can do without."""

RULES_MAY_NOT_IMPORT = {"os", "sys", "io", "pathlib", "shutil", "tempfile", "subprocess", "socket", "random", "time"}
RULES_MAY_NOT_CALL = {"print", "open", "input", "exec", "eval", "compile", "__import__"}


def room_of(file: Path) -> str:
    return file.relative_to(HOUSE).parts[0].removesuffix(".py")


FILES = [pytest.param(file, id=str(file.relative_to(HOUSE))) for file in sorted(HOUSE.rglob("*.py"))]
RULE_FILES = [each for each in FILES if "rules/" in str(each.id)]


def outside_cases(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all in it but the bodies of a rule's cases, which are other people's programs."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.FunctionDef) and child.name in CASES):
            yield from outside_cases(child)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of everything that the file imports, anywhere but in cases."""
    tree = ast.parse(file.read_bytes())
    package = ["torchdx", *file.relative_to(HOUSE).parent.parts]
    for node in outside_cases(tree) if room_of(file) == "rules" else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}" if base == "torchdx" else base) for alias in node.names)


@pytest.mark.parametrize("file", FILES)
def test_a_room_imports_only_what_it_may(file: Path) -> None:
    room = room_of(file)
    assert room in MAY_IMPORT, f"say in MAY_IMPORT what {room} may import"
    others = OTHERS.get(room, set()) | ALONE.get(file.relative_to(HOUSE).as_posix(), set())
    for line, name in imports(file):
        top, _, rest = name.partition(".")
        if top == "torchdx":
            other = rest.partition(".")[0]
            allowed = other in {"", room, "__version__"} or other in MAY_IMPORT[room]
        else:
            allowed = top in sys.stdlib_module_names or top in others or room == "integrations"
        assert allowed, f"{file}:{line}: {room} may not import {name}"


@pytest.mark.parametrize("file", RULE_FILES)
def test_a_rule_only_does_arithmetic(file: Path) -> None:
    if file.name == "__init__.py" and file.parent == HOUSE / "rules":
        return
    for line, name in imports(file):
        assert name.partition(".")[0] not in RULES_MAY_NOT_IMPORT, f"{file}:{line}: a rule may not import {name}"
    for node in outside_cases(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in RULES_MAY_NOT_CALL, f"{file}:{node.lineno}: a rule may not {node.func.id}"
        assert not isinstance(node, ast.Global), f"{file}:{node.lineno}: a rule may not remember"


@pytest.mark.parametrize("file", FILES)
def test_only_the_command_line_exits(file: Path) -> None:
    if room_of(file) in {"cli", "launch", "pages"}:  # `pages` is a program, too: python -m torchdx.pages
        return
    for node in outside_cases(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"sys.exit", "exit", "quit", "os._exit"}, f"{file}:{node.lineno}"


def modules_after(code: str) -> set[str]:
    """The top-level modules that are imported once the code has run in a fresh python."""
    program = f"import sys\n{code}\nprint('|'.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split("|"))


def test_importing_torchdx_is_light() -> None:
    assert not modules_after("import torchdx; torchdx.__version__") & {"torch", "numpy", "click", "rich"}


def test_check_imports_neither_torch_nor_numpy(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch\nnet = torch.nn.Linear(1, 1)\n")
    code = f"""
from torchdx.cli import main
try:
    main(["check", {str(tmp_path)!r}])
except SystemExit as end:
    assert end.code in (0, 1), end.code
"""
    assert not modules_after(code) & {"torch", "numpy", "scipy"}
