"""Where a program chooses the best so far, with weights that are kept, or the end of training, hanging on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torchdx.source.index import FUNCTIONS, Binding, last_word
from torchdx.source.values import Instance, literal

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program

KEEPS = re.compile(r"state_dict$|save|checkpoint|snapshot")
_ORDERS = (ast.Gt, ast.GtE, ast.Lt, ast.LtE)
_NEVER_BELOW_ZERO = re.compile(
    r"cross_?entropy|mse|l1_?loss|bce|huber|\babs\(|\.square\(|\*\* ?2|pow\(2", re.IGNORECASE
)
_PERHAPS_BELOW = re.compile(
    r"log_?prob|nll|likelihood|elbo|energy|reward|return_|gaussian|kl_|critic|score|= ?-", re.IGNORECASE
)


class Choice(NamedTuple):
    """A comparison with the best so far: where, the two sides, and whether the greater is taken."""

    file: SourceFile
    test: ast.expr
    value: ast.expr
    best: ast.expr
    greater: bool


def choices(program: Program) -> Iterator[Choice]:
    """Comparisons on whose one side stands what the other is then kept as, with weights, or the end, hanging on it."""
    if next(program.calls_named("backward"), None) is None:
        return
    for file in program.torch_files:
        for node in tuple(file.index.parents):
            if not isinstance(node, ast.If):
                continue
            for branch, turned in ((node.body, False), (node.orelse, True)):
                if not branch or (turned and isinstance(branch[0], ast.If)) or not hangs_on(program, file, branch):
                    continue
                pairs = list(_assigned(branch))
                for test in _comparisons(program, file, node.test):
                    for best, value in (*pairs, *_at_places(test, pairs)):
                        greater = _takes_greater(file, test, best, value)
                        if greater is not None:
                            yield Choice(file, test, value, best, greater is not turned)


def _comparisons(program: Program, file: SourceFile, test: ast.expr, depth: int = 0) -> Iterator[ast.Compare]:
    """The comparisons that it comes down to, in the mode that the program asks for where there are several."""
    if depth > 4 or not is_of_mode(program, file, test):
        return
    for part in _parts(program, file, test):
        if isinstance(part, ast.Compare) and len(part.ops) == 1 and isinstance(part.ops[0], _ORDERS):
            yield part
        elif isinstance(part, (ast.BoolOp, ast.IfExp, ast.Name)):
            yield from _comparisons(program, file, part, depth + 1)


def _parts(program: Program, file: SourceFile, test: ast.expr) -> list[ast.expr]:
    if isinstance(test, ast.Name):
        bindings = program.names.visible(file.scope_of(test), test.id)[1]
        values = [one.value for one in bindings if one.how == "assign" and one.value and not one.steps]
        return [one for one in values if is_of_mode(program, file, one)] if len(values) == len(bindings) else []
    if isinstance(test, ast.IfExp):
        asked = _holds(program, file, test.test)
        return [] if asked is None else [test.body if asked else test.orelse]
    if isinstance(test, ast.BoolOp):
        asked_all = [_holds(program, file, part) for part in test.values]
        unknown = any(one is None and _asks_mode(part) for one, part in zip(asked_all, test.values, strict=True))
        return [] if unknown or (False in asked_all and isinstance(test.op, ast.And)) else test.values
    return [test]


def is_of_mode(program: Program, file: SourceFile, node: ast.expr) -> bool:
    """Do all the questions of a mode around it, down to its function, have the answer that leads to it?"""
    inner: ast.AST = node
    while (outer := file.index.parents.get(inner)) is not None and not isinstance(outer, FUNCTIONS):
        if isinstance(outer, ast.If) and inner is not outer.test:
            asked = _holds(program, file, outer.test)
            if asked is (inner in outer.orelse) or (asked is None and _asks_mode(outer.test)):
                return False
        inner = outer
    return True


def _asks_mode(test: ast.expr) -> bool:
    """Is something held against a word?"""
    sides = [test.left, *test.comparators] if isinstance(test, ast.Compare) else []
    return any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)


def _holds(program: Program, file: SourceFile, test: ast.expr) -> bool | None:
    """Is what is held against a word that word? None where that is not known, or something else is asked."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _holds(program, file, test.operand)
        return None if inner is None else not inner
    if isinstance(test, (ast.Name, ast.Attribute)):
        known = literal(program.evaluate(file, test))
        return known if isinstance(known, bool) else None
    if not (isinstance(test, ast.Compare) and _asks_mode(test) and isinstance(test.ops[0], (ast.Eq, ast.NotEq))):
        return None
    one, other = (literal(program.evaluate(file, side)) for side in (test.left, test.comparators[0]))
    if not isinstance(one, str) or not isinstance(other, str):
        return None
    return (one == other) is isinstance(test.ops[0], ast.Eq)


def _assigned(branch: list[ast.stmt]) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is given a value in a branch, and the value, bare of what only reads it."""
    for statement in branch:
        if not isinstance(statement, ast.Assign):
            continue
        for target in statement.targets:
            value = statement.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                yield from zip(target.elts, map(_bare, value.elts), strict=True)
            else:
                yield target, _bare(value)


def _at_places(test: ast.expr, pairs: list[tuple[ast.expr, ast.expr]]) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Of a best that is kept together with more, `best = (score, weights)`: the part asked for, as `best[0]`."""
    whole = {
        best.id: value.elts for best, value in pairs if isinstance(best, ast.Name) and isinstance(value, ast.Tuple)
    }
    for part in ast.walk(test) if whole else ():
        match part:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=int(place))):
                if 0 <= place < len(whole.get(name, ())):
                    yield part, _bare(whole[name][place])


def _bare(value: ast.expr) -> ast.expr:
    while isinstance(value, ast.Call) and last_word(value) in ("float", "item", "detach", "clone", "cpu"):
        inner = value.args[0] if value.args else getattr(value.func, "value", None)
        if inner is None:
            break
        value = inner
    return value


def _takes_greater(file: SourceFile, test: ast.Compare, best: ast.expr, value: ast.expr) -> bool | None:
    """Does it ask whether the value is above the best? None if it compares other things."""
    sides, names = (test.left, test.comparators[0]), (file.text_of(value), file.text_of(best))
    above = isinstance(test.ops[0], (ast.Gt, ast.GtE))
    found = [[_has(file, side, name) for name in names] for side in sides]
    if found == [[True, False], [False, True]]:
        return above
    if found == [[False, True], [True, False]]:
        return not above
    for side, turned in ((test.left, False), (test.comparators[0], True)):
        if isinstance(side, ast.BinOp) and isinstance(side.op, ast.Sub):
            ends = file.text_of(side.left), file.text_of(side.right)
            if ends == names:
                return above is not turned
            if ends == names[::-1]:
                return above is turned
    return None


def _has(file: SourceFile, side: ast.expr, text: str) -> bool:
    """Does it stand there, moved by some margin at most?"""
    if isinstance(side, ast.BinOp) and isinstance(side.op, (ast.Add, ast.Sub, ast.Mult)):
        moved = not isinstance(side.op, ast.Mult) or not isinstance(side.right, ast.UnaryOp)
        return moved and _has(file, side.left, text)
    return file.text_of(_bare(side)) == text


def hangs_on(program: Program, file: SourceFile, branch: list[ast.stmt]) -> bool:
    """Are weights kept in a branch, or the waiting started anew?"""
    for statement in branch:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                copied = last_word(node) in ("deepcopy", "copy") and node.args
                whole = program.evaluate(file, node.args[0]) if copied else None
                if KEEPS.search(last_word(node)) or (isinstance(whole, Instance) and whole.is_module):
                    return True
        if isinstance(statement, ast.Assign):
            for target, value in _pairs(statement):
                restarts = isinstance(value, ast.Constant) and value.value == 0
                if (restarts or isinstance(value, ast.Name)) and _is_waited_with(file, target, counted=restarts):
                    return True
    return False


def _pairs(statement: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    for target in statement.targets:
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            yield from zip(target.elts, statement.value.elts, strict=False)
        else:
            yield target, statement.value


def _is_waited_with(file: SourceFile, counter: ast.expr, counted: bool) -> bool:
    """Does an end hang on it, as one that is counted up, or as the time that passed since?"""
    text = file.text_of(counter)
    raised = [
        node
        for node in tuple(file.index.parents)
        if isinstance(node, ast.AugAssign) and file.text_of(node.target) == text
    ]
    if counted and not raised:
        return False
    for node in tuple(file.index.parents):
        asked = node.value if isinstance(node, ast.Return) else node.test if isinstance(node, ast.If) else None
        if isinstance(node, ast.If) and not any(
            isinstance(one, ast.Break | ast.Return) or _ends(one) for one in node.body
        ):
            continue
        for one in ast.walk(asked) if asked is not None else ():
            if isinstance(one, ast.Compare) and any(_speaks_of(file, s, text) for s in (one.left, *one.comparators)):
                return counted or any(isinstance(side, ast.BinOp) for side in (one.left, *one.comparators))
    return False


def _ends(statement: ast.stmt) -> bool:
    """Is a truth value set, as that of a flag to stop?"""
    value = statement.value if isinstance(statement, ast.Assign) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, bool)


def _speaks_of(file: SourceFile, side: ast.expr, text: str) -> bool:
    sides = (side.left, side.right) if isinstance(side, ast.BinOp) and isinstance(side.op, ast.Sub) else (side,)
    return any(file.text_of(one) == text for one in sides)


def is_never(choice: Choice) -> bool:
    """Did the best start, wherever it did, at the end that nothing is beyond?"""
    starts = [_end_of(choice.file, start) for start in _starts(choice)]
    return bool(starts) and all(start == (1 if choice.greater else -1) for start in starts)


def is_below_all(choice: Choice) -> bool:
    """Did the best start at zero, in a file whose losses are of those that never fall below?"""
    starts, text = _starts(choice), choice.file.text
    zero = [isinstance(s, ast.Constant) and type(s.value) in (int, float) and s.value == 0 for s in starts]
    found = not choice.greater and bool(zero) and all(zero)
    return found and bool(_NEVER_BELOW_ZERO.search(text)) and not _PERHAPS_BELOW.search(text)


def _starts(choice: Choice) -> list[ast.expr | None]:
    """What the best is given before the comparison; nothing where that is not known."""
    file, best = choice.file, choice.best
    if not isinstance(best, ast.Name):
        return []
    starts = []
    for binding in file.scope_of(best).bindings.get(best.id, ()):
        if binding.how != "assign" or binding.value is None:
            return []
        if file.enclosing(binding.node, ast.If, *FUNCTIONS) is not file.enclosing(choice.test, ast.If, *FUNCTIONS):
            starts.append(_unpacked(binding))
    return starts


def _unpacked(binding: Binding) -> ast.expr | None:
    value = binding.value
    for step in binding.steps:
        if not isinstance(value, (ast.Tuple, ast.List)) or step >= len(value.elts):
            return None
        value = value.elts[step]
    return value


def _end_of(file: SourceFile, value: ast.expr | None) -> int:
    """1 for infinity, -1 for minus infinity, 0 for anything else."""
    text = re.sub(r"[\s\"'()+]", "", file.text_of(value)).lower() if value is not None else ""
    infinite = re.fullmatch(r"(-?)(?:float|math\.|np\.|numpy\.|torch\.)?(-?)inf(?:inity)?", text)
    return 0 if infinite is None else -1 if (infinite[1] + infinite[2]) == "-" else 1
