"""Edits of a user's file, byte for byte: nothing changes but what is meant to, and the result still parses."""

from __future__ import annotations

import ast
import codecs
import difflib
import re
from collections.abc import Iterable, Sequence

from torchdx.finding import Edit, Fix, near
from torchdx.source.file import SourceFile
from torchdx.source.magics import parsed
from torchdx.source.notebook import Notebook

OWN_PARENTHESES = re.compile(rb"(?:(?:\s|#[^\r\n]*)*\))*")


CONTEXT = 3
HUNK = re.compile(r"^@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


class Refused(ValueError):
    """An edit that would not leave a program behind, or does not fit the file."""


def replace(file: SourceFile, node: ast.AST, text: str) -> Edit:
    """Put other text in a node's place."""
    start, end = file.span(node)
    return Edit(file.path, start, end, _encoded(file, text))


def unwrap(file: SourceFile, call: ast.Call, inner: ast.AST) -> Edit:
    """Put a part of a call in the call's place: `softmax(x)` becomes `x`."""
    text = file.text_of(inner)
    compound = isinstance(
        inner, (ast.BinOp, ast.BoolOp, ast.IfExp, ast.Lambda, ast.UnaryOp, ast.Compare, ast.NamedExpr)
    )
    within = isinstance(file.parent(call), (ast.BinOp, ast.Attribute, ast.UnaryOp, ast.Subscript))
    return replace(file, call, f"({text})" if (compound and within) or isinstance(inner, ast.NamedExpr) else text)


def method_of(file: SourceFile, node: ast.AST, call: str) -> Edit:
    """Put a call of a method behind an expression: `x` becomes `x.sigmoid()`, `a + b` becomes `(a + b).sigmoid()`."""
    text = file.text_of(node)
    simple = isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    return replace(file, node, f"{text if simple else f'({text})'}.{call}")


def insert_before(file: SourceFile, statement: ast.stmt, line: str) -> Edit:
    """Add a line of code before a statement, indented like it."""
    start, _ = file.span(statement)
    return Edit(file.path, start, start, _encoded(file, line + _joint(file, statement)))


def insert_after(file: SourceFile, statement: ast.stmt, line: str) -> Edit:
    """Add a line of code after a statement, indented like it."""
    last = statement.end_lineno or statement.lineno
    before = file.bytes[file.span_of_line(statement.lineno)[0] : file.span(statement)[0]]
    rest = file.line_bytes(last)[file.span(statement)[1] - file.span_of_line(last)[0] :].strip()
    if before.removeprefix(codecs.BOM_UTF8).strip() or (rest and not rest.startswith(b"#")):
        end = file.span(statement)[1]
        return Edit(file.path, end, end, _encoded(file, f"; {line}"))
    end = file.span_of_line(last)[1]
    joint = _indentation(file, statement) + line
    if file.line_bytes(last).endswith((b"\n", b"\r")):
        return Edit(file.path, end, end, _encoded(file, joint + _line_end(file)))
    return Edit(file.path, end, end, _encoded(file, _line_end(file) + joint))


def delete_statement(file: SourceFile, statement: ast.stmt) -> Edit:
    """Take a statement out, with its line if it has that to itself; `pass` where nothing else would be left."""
    start, end = file.span(statement)
    block = block_of(file, statement)
    if len(block) == 1:
        return Edit(file.path, start, end, _encoded(file, "pass"))
    first = file.span_of_line(statement.lineno)[0]
    last = file.span_of_line(statement.end_lineno or statement.lineno)[1]
    after = file.bytes[end:last].strip()
    if not file.bytes[first:start].strip() and (not after or after.startswith(b"#")):
        return Edit(file.path, first, last, b"")
    if after.startswith(b";"):
        end = file.bytes.index(b";", end) + 1
        return Edit(file.path, start, end + (file.bytes[end : end + 1] == b" "), b"")
    return Edit(file.path, start, end, _encoded(file, "pass"))


def insert_keyword(file: SourceFile, call: ast.Call, text: str) -> Edit:
    """Add an argument (`bias=False`) at the end of a call's arguments."""
    arguments: list[ast.AST] = [*call.args, *call.keywords]
    if not arguments:
        end = file.span(call)[1] - 1
        return Edit(file.path, end, end, _encoded(file, text))
    end = max(file.span(argument)[1] for argument in arguments)
    if len(arguments) == 1 and isinstance(arguments[0], ast.GeneratorExp):
        raise Refused("a lone generator cannot be followed by another argument")
    end += len(OWN_PARENTHESES.match(file.bytes[end : file.span(call)[1] - 1])[0])  # type: ignore[index]
    return Edit(file.path, end, end, _encoded(file, f", {text}"))


def applied(file: SourceFile, edits: Iterable[Edit]) -> bytes:
    """The file on disk after the edits; `Refused` if they overlap or the result does not parse."""
    data, edits = file.bytes, list(edits)
    before = len(data) + 1
    for edit in sorted(set(edits), key=lambda edit: (edit.start, edit.end), reverse=True):
        if edit.end > before or not 0 <= edit.start <= edit.end <= len(file.bytes):
            raise Refused(f"two edits of {file.path} overlap, or lie outside it")
        before = edit.start
        data = data[: edit.start] + edit.text + data[edit.end :]
    if isinstance(file, Notebook):
        return _in_notebook(file, edits)
    start, end = _touched(file, edits)
    try:
        parsed(data[start : len(data) - len(file.bytes) + end].decode(file.encoding))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(f"{file.path} would no longer parse: {error}") from error
    return data


def _touched(file: SourceFile, edits: Sequence[Edit]) -> tuple[int, int]:
    """The lines of the statements at the file's top level that edits touch: the others parse as they did."""
    if not edits or file.problem is not None:
        return 0, len(file.bytes)
    lines = [
        (min(node.lineno for node in (*getattr(stmt, "decorator_list", ()), stmt)), stmt.end_lineno or stmt.lineno)
        for stmt in file.tree.body
    ]
    spans = [(file.span_of_line(first)[0], file.span_of_line(last)[1]) for first, last in lines]
    first, last = min(edit.start for edit in edits), max(edit.end for edit in edits)
    start = max((start for start, _ in spans if start < first), default=0)
    return start, min((end for _, end in spans if end >= last), default=len(file.bytes))


def _in_notebook(notebook: Notebook, edits: Iterable[Edit]) -> bytes:
    """The notebook on disk after edits; `Refused` where they do not fit, or a cell would no longer parse."""
    try:
        data = notebook.changed(edits)
    except (ValueError, KeyError) as error:
        raise Refused(f"{notebook.path} cannot be edited there: {error}") from error
    after = Notebook(notebook.path, data)
    if not notebook.tree or not after.tree or after.problem or len(after.gaps) > len(notebook.gaps):
        raise Refused(f"{notebook.path} would no longer parse")
    return data


def unified_diff(file: SourceFile, changed: bytes) -> str:
    """The change as a unified diff that `patch -p1` and `git apply` understand; a notebook's is that of its cells."""
    path = near(file.path).lstrip("/")
    if isinstance(file, Notebook):
        after = {part.number: part.code for part in Notebook(file.path, changed).parts}
        cells = [(f"{path}#cell {part.number}", part.code, after.get(part.number, "")) for part in file.parts]
        return "".join(_diff(cell, old, new) for cell, old, new in cells if old != new)
    encoding = file.encoding.replace("-sig", "")
    return _diff(path, file.bytes.decode(encoding, "replace"), changed.decode(encoding, "replace"))


def _diff(path: str, old: str, new: str) -> str:
    before, after = _lines(old), _lines(new)
    first = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    start = max(0, first - CONTEXT)
    end = _alike(before[start:], after[start:])
    lines = difflib.unified_diff(
        before[start : len(before) - end], after[start : len(after) - end], f"a/{path}", f"b/{path}"
    )
    moved = (HUNK.sub(lambda found: _moved(found, start), line) for line in lines)
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in moved)


def _alike(before: list[str], after: list[str]) -> int:
    """How many lines at the end of both need not be looked at: difflib is slow, and the changes are small."""
    pairs = zip(reversed(before), reversed(after), strict=False)
    same = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(before), len(after)))
    return max(0, same - CONTEXT)


def _moved(found: re.Match[str], start: int) -> str:
    """A hunk's head for lines that stand so much further down."""
    return f"@@ -{int(found[1]) + start}{found[2] or ''} +{int(found[3]) + start}{found[4] or ''} @@"


def fix(title: str, file: SourceFile, edits: Sequence[Edit], *, safe: bool = False) -> Fix | None:
    """A cure with its edits and the diff that they amount to; None where the edits do not fit.

    Whether it is `safe` is for the rule to know: see `Fix`.
    """
    try:
        changed = applied(file, edits)
    except Refused:
        return None
    return Fix(title, tuple(edits), unified_diff(file, changed), safe)


def _lines(text: str) -> list[str]:
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _encoded(file: SourceFile, text: str) -> bytes:
    return text.encode(file.encoding.replace("-sig", ""), "strict")


def _line_end(file: SourceFile) -> str:
    first = file.line_bytes(1)
    return "\r\n" if first.endswith(b"\r\n") else "\r" if first.endswith(b"\r") else "\n"


def _indentation(file: SourceFile, statement: ast.stmt) -> str:
    """The white space that a line beside the statement has to start with."""
    first = block_of(file, statement)[0]
    raw = file.line_bytes(first.lineno).decode(file.encoding.replace("-sig", ""), "replace")
    return raw[: len(raw) - len(raw.lstrip(" \t\f"))]


def _joint(file: SourceFile, statement: ast.stmt) -> str:
    """What parts a new first statement from the one it stands before."""
    start, _ = file.span(statement)
    before = file.bytes[file.span_of_line(statement.lineno)[0] : start]
    alone = not before.removeprefix(codecs.BOM_UTF8).strip()
    return _line_end(file) + _indentation(file, statement) if alone else "; "


def block_of(file: SourceFile, statement: ast.stmt) -> list[ast.stmt]:
    """The list of statements that a statement stands in."""
    above = file.parent(statement)
    for name in ("body", "orelse", "finalbody"):
        block = getattr(above, name, None)
        if isinstance(block, list) and statement in block:
            return block
    return [statement]
