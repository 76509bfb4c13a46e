"""Edits change what they should, byte for byte, and nothing else."""

from __future__ import annotations

import ast

import pytest

from torchdx.source import Program, SourceFile, edits
from torchdx.source.edits import Refused

ENCODINGS = [
    ("utf-8", "\n", ""),
    ("utf-8", "\r\n", ""),
    ("utf-8-sig", "\n", ""),
    ("latin-1", "\r\n", "# coding: latin-1\n"),
    ("utf-8", "\r", ""),
]


def read(text: str) -> SourceFile:
    return Program.of({"a.py": text}).files[0]


def first(file: SourceFile, kind: type[ast.AST], place: int = 0) -> ast.AST:
    return [node for node in file.index.parents if isinstance(node, kind)][place]


@pytest.mark.parametrize(("encoding", "end", "head"), ENCODINGS)
def test_bytes_outside_the_edit_stay(encoding: str, end: str, head: str) -> None:
    text = (head + "é = 'ü'  # ö\nif é:\n\tf('ä', g(1))\t# ß\n").replace("\n", end)
    file = Program.of({"a.py": text.encode(encoding)}).files[0]
    call = first(file, ast.Call)
    statement = file.statement(call)
    assert isinstance(call, ast.Call) and statement is not None
    changed = edits.applied(
        file, [edits.replace(file, call.args[1], "h(2)"), edits.insert_after(file, statement, "k()")]
    )
    wanted = (head + "é = 'ü'  # ö\nif é:\n\tf('ä', h(2))\t# ß\n\tk()\n").replace("\n", end)
    assert changed == wanted.encode(encoding)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f()\n", "a()\nf()\n"),
        ("if x:\n    f()\n", "if x:\n    a()\n    f()\n"),
        ("if x: f()\n", "if x: a(); f()\n"),
        ("g(); f()\n", "g(); a(); f()\n"),
    ],
)
def test_insert_before(text: str, wanted: str) -> None:
    file = read(text)
    call = next(node for node in file.index.calls["f"])
    statement = file.statement(call)
    assert statement is not None
    assert edits.applied(file, [edits.insert_before(file, statement, "a()")]).decode() == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f()", "f()\na()"),
        ("if x:\n    f()  # c\ng()\n", "if x:\n    f()  # c\n    a()\ng()\n"),
        ("if x: f()\n", "if x: f(); a()\n"),
        ("f(); g()\n", "f(); a(); g()\n"),
        ("f(\n  1,\n)\n", "f(\n  1,\n)\na()\n"),
    ],
)
def test_insert_after(text: str, wanted: str) -> None:
    file = read(text)
    statement = file.statement(file.index.calls["f"][0])
    assert statement is not None
    assert edits.applied(file, [edits.insert_after(file, statement, "a()")]).decode() == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a()\nf()  # gone\nb()\n", "a()\nb()\n"),
        ("if x:\n    f()\n", "if x:\n    pass\n"),
        ("f(); b()\n", "b()\n"),
        ("b(); f()\n", "b(); pass\n"),
    ],
)
def test_delete_statement(text: str, wanted: str) -> None:
    file = read(text)
    statement = file.statement(file.index.calls["f"][0])
    assert statement is not None
    assert edits.applied(file, [edits.delete_statement(file, statement)]).decode() == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f()\n", "f(k=1)\n"),
        ("f(2)\n", "f(2, k=1)\n"),
        ("f(2, a=3,)\n", "f(2, a=3, k=1,)\n"),
        ("f(\n    2,  # two\n)\n", "f(\n    2, k=1,  # two\n)\n"),
        ("f((2))\n", "f((2), k=1)\n"),
        ("f(*a, **b)\n", "f(*a, **b, k=1)\n"),
    ],
)
def test_insert_keyword(text: str, wanted: str) -> None:
    file = read(text)
    assert edits.applied(file, [edits.insert_keyword(file, file.index.calls["f"][0], "k=1")]).decode() == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("y = f(x)\n", "y = x\n"), ("y = 2 * f(x + 1)\n", "y = 2 * (x + 1)\n"), ("y = f(x).z\n", "y = x.z\n")],
)
def test_unwrap(text: str, wanted: str) -> None:
    file = read(text)
    call = file.index.calls["f"][0]
    assert edits.applied(file, [edits.unwrap(file, call, call.args[0])]).decode() == wanted


def test_edits_that_overlap_or_break_the_program_are_refused() -> None:
    file = read("f(g(1))\n")
    outer, inner = file.index.calls["f"][0], file.index.calls["g"][0]
    with pytest.raises(Refused):
        edits.applied(file, [edits.replace(file, outer, "a"), edits.replace(file, inner, "b")])
    with pytest.raises(Refused):
        edits.applied(file, [edits.replace(file, outer, "if")])
    assert edits.fix("never", file, [edits.replace(file, outer, "if")]) is None


def test_the_diff_is_one_that_tools_read() -> None:
    file = read("a\nb")
    name = first(file, ast.Name, 1)
    cure = edits.fix("rename", file, [edits.replace(file, name, "c")])
    assert cure is not None
    assert cure.patch == (
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n"
        "+c\n\\ No newline at end of file\n"
    )
