"""The comment that silences a finding, put where it will be understood."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchdx.check.silence import silences
from torchdx.finding import Edit
from torchdx.source import SourceFile, edits


def silencing(file: SourceFile, line: int, rule: str) -> Edit | None:
    """Add a comment that silences a rule on a line, its reason still to be written; None where none can stand."""
    comment = f"# torchdx: ok {rule} - "
    for edit in _places(file, line, comment):
        moved = edit.text.count(b"\n") or edit.text.count(b"\r")
        after = SourceFile(file.path, file.bytes[: edit.start] + edit.text + file.bytes[edit.end :])
        if after.tree.body and after.problem is None and ast.dump(after.tree) == ast.dump(file.tree):
            meant = (each for each in silences(after) if rule in each.rules)
            if any(line + moved in each.lines for each in meant):
                return edit
    return None


def _places(file: SourceFile, line: int, comment: str) -> Iterator[Edit]:
    """At the end of the line, or of the statement that it is a part of; or else above that."""
    around = [node for node in ast.walk(file.tree) if isinstance(node, ast.stmt) and _is_on(node, line)]
    statement = max(around, key=lambda node: node.lineno, default=None)
    if statement is None:
        return
    for last in dict.fromkeys((line, statement.end_lineno or line)):
        start, _ = file.span_of_line(last)
        end = start + len(file.line_bytes(last).rstrip())
        yield Edit(file.path, end, end, f"  {comment}".encode())
    yield edits.insert_before(file, statement, comment)


def _is_on(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)
