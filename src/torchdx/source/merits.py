"""Is a number better the smaller it is, as a loss, or the greater, as an accuracy? Followed from how it is computed."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from torchdx.source.expressions import Call
from torchdx.source.flow import reaching
from torchdx.source.index import FUNCTIONS, Binding, last_word
from torchdx.source.reading import words
from torchdx.source.stores import JOINS, Store, stores_by_word
from torchdx.source.values import Instance, literal

if TYPE_CHECKING:
    from torchdx.source.definitions import UserFunction
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program

Merit: TypeAlias = "frozenset[int] | tuple[Merit, ...]"
Given: TypeAlias = Mapping[str, Merit]

NEUTRAL: frozenset[int] = frozenset()
LESS, MORE, UNKNOWN = frozenset({-1}), frozenset({1}), frozenset({0})

SAME = words(
    "item mean sum float int detach cpu numpy tolist sqrt exp log log2 log10 log1p round array tensor as_tensor stack "
    "cat nanmean average median fmean double to view reshape squeeze flatten asarray list tuple max min fsum rmse half "
    "clone mul_ contiguous nansum type ravel abs_ sorted logsumexp"
)
SCORES = words(
    "accuracy_score balanced_accuracy_score f1_score roc_auc_score average_precision_score r2_score precision_score "
    "recall_score jaccard_score cohen_kappa_score matthews_corrcoef top_k_accuracy_score"
)
ERRORS = words(
    "mean_squared_error mean_absolute_error root_mean_squared_error log_loss hamming_loss brier_score_loss "
    "zero_one_loss mean_absolute_percentage_error median_absolute_error mean_poisson_deviance "
    "mean_gamma_deviance max_error"
)
COUNTS = words("len size numel")
MOST, DEEPEST = 6000, 40


class Merits:
    """Follows numbers through names, lists, attributes and calls of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._active: set[tuple[ast.AST, frozenset[tuple[str, Merit]]]] = set()
        self._visits = 0

    def better(self, file: SourceFile, node: ast.expr) -> int:
        """-1 if it is better the smaller it is, 1 if the greater, 0 if that is not known."""
        self._visits = 0
        found = flat(self.of(file, node))
        return next(iter(found)) if len(found) == 1 else 0

    def of(self, file: SourceFile, node: ast.expr | None, given: Given | None = None) -> Merit:
        """Which ends of an expression are the better ones; `given` holds parameters and what comprehensions draw."""
        if node is None:
            return NEUTRAL
        key = node, frozenset((given or {}).items())
        self._visits += 1
        if key in self._active:
            return NEUTRAL
        if len(self._active) > DEEPEST or self._visits > MOST:
            return UNKNOWN
        self._active.add(key)
        try:
            return self._of(file, node, given or {})
        finally:
            self._active.discard(key)

    def _of(self, file: SourceFile, node: ast.expr, given: Given) -> Merit:
        match node:
            case ast.Constant():
                return NEUTRAL
            case ast.Name():
                return self._name(file, node, given)
            case ast.Attribute():
                return self._kept(node.attr)
            case ast.Subscript(slice=ast.Constant(value=str(key))):
                return self._kept(key)
            case ast.Subscript(slice=ast.Constant(value=int(place))):
                whole = self.of(file, node.value, given)
                return whole[place] if isinstance(whole, tuple) and -len(whole) <= place < len(whole) else whole
            case ast.Compare(ops=[ast.Eq()]):
                return MORE
            case ast.Compare(ops=[ast.NotEq()]):
                return LESS
            case ast.UnaryOp(op=ast.USub()):
                return turned(self.of(file, node.operand, given))
            case ast.BinOp():
                return self._binary(file, node, given)
            case ast.IfExp():
                return united((self.of(file, node.body, given), self.of(file, node.orelse, given)))
            case ast.Tuple():
                return tuple(self.of(file, part, given) for part in node.elts)
            case ast.List():
                return united(self.of(file, part, given) for part in node.elts)
            case ast.ListComp() | ast.GeneratorExp():
                inner = dict(given)
                for generator in node.generators:
                    inner.update(_drawn(generator.target, self.of(file, generator.iter, inner)))
                return self.of(file, node.elt, inner)
            case ast.Call():
                return self._call(file, node, given)
            case ast.Subscript() | ast.Starred() | ast.NamedExpr() | ast.Await():
                return self.of(file, node.value, given)
        return UNKNOWN

    # What has a name

    def _name(self, file: SourceFile, node: ast.Name, given: Given) -> Merit:
        if node.id in given:
            return given[node.id]
        scope = file.scope_of(node)
        home, bindings = self.program.names.visible(scope, node.id)
        if home is None:
            return UNKNOWN
        here = given if home is scope else {}
        seen = reaching(file, bindings, node, scope.node) if home is scope else bindings
        found = [self._bound(file, binding, here) for binding in seen]
        for word in JOINS:
            for call in file.index.calls.get(word, ()):
                holder = call.func.value if isinstance(call.func, ast.Attribute) else None
                named = isinstance(holder, ast.Name) and holder.id == node.id and call.args
                if named and self.program.names.visible(file.scope_of(call), node.id)[0] is home:
                    found.append(self.of(file, call.args[-1], here))
        return united(found)

    def _bound(self, file: SourceFile, binding: Binding, given: Given) -> Merit:
        node = binding.node
        if binding.how == "parameter":
            return self._handed(file, binding)
        if binding.how == "augment" and isinstance(node, ast.AugAssign):
            return self._joined(file, node.target, node.op, node.value, given)
        if binding.value is None or binding.how not in ("assign", "element"):
            return UNKNOWN
        return _part(self.of(file, binding.value, given), binding.steps)

    def _handed(self, file: SourceFile, binding: Binding) -> Merit:
        """What all callers hand over."""
        node = file.enclosing(binding.node, *FUNCTIONS)
        if node is None:
            return UNKNOWN
        function = self.program.function(file, node)
        place = function.place_of(binding.name)
        callers = self._called(function) if function.name == "__call__" else self.program.callers(function)
        arguments = [call.argument(place, binding.name) for call in callers]
        return united(self.of(one.file, one.node) for one in arguments if one is not None) or UNKNOWN

    def _called(self, function: UserFunction) -> Iterator[Call]:
        """Where an object that can be called is called, by a name of its own or of an attribute."""
        for file in self.program.torch_files:
            for calls in tuple(file.index.calls.values()):
                for node in calls:
                    value = self.program.evaluate(file, node.func)
                    if isinstance(value, Instance) and value.definition is function.owner is not None:
                        yield Call(self.program, file, node)

    def _kept(self, word: str) -> Merit:
        """What is ever kept under an attribute, a field or a key of this name, or is minimised under it."""
        sign = self._minimised.get(word)
        if sign is not None:
            return sign
        return (
            united(_part(self.of(file, value), steps) for file, value, steps in self._stores.get(word, ())) or UNKNOWN
        )

    @cached_property
    def _stores(self) -> dict[str, list[Store]]:
        return stores_by_word(self.program.torch_files)

    # What is computed

    def _binary(self, file: SourceFile, node: ast.BinOp, given: Given) -> Merit:
        if isinstance(node.op, ast.Pow):
            return LESS if self._is_deviation(file, node.left, given) else self._positive_power(file, node, given)
        return self._joined(file, node.left, node.op, node.right, given)

    def _positive_power(self, file: SourceFile, node: ast.BinOp, given: Given) -> Merit:
        number = self.program.expression(file, node.right).literal
        return self.of(file, node.left, given) if number == 0.5 else UNKNOWN

    def _joined(self, file: SourceFile, left: ast.expr, op: ast.operator, right: ast.expr, given: Given) -> Merit:
        one = self.of(file, left, given)
        if isinstance(op, ast.Div):
            return one
        if isinstance(op, ast.Mult):
            signs = [self._sign(file, side) for side in (left, right)]
            other = self.of(file, right, given) if not signs[1] else NEUTRAL
            if signs[1]:
                return one if signs[1] > 0 else turned(one)
            return UNKNOWN if not signs[0] else other if signs[0] > 0 else turned(other)
        other = self.of(file, right, given)
        if isinstance(op, ast.Add):
            return united((one, other))
        return united((one, turned(other))) if isinstance(op, ast.Sub) else UNKNOWN

    def _sign(self, file: SourceFile, node: ast.expr) -> int:
        """The sign of a number that is known, or counts something; 0 of any other."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._sign(file, node.operand)
        if isinstance(node, ast.Call):
            return 1 if last_word(node) in COUNTS else 0
        if isinstance(node, ast.Subscript):
            return 1 if isinstance(node.value, ast.Attribute) and node.value.attr == "shape" else 0
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            return self._sign(file, node.left) * self._sign(file, node.right)
        known = literal(self.program.evaluate(file, node))
        if isinstance(known, (int, float)):
            return 1 if known > 0 else -1 if known < 0 else 0
        if isinstance(node, ast.Name):
            found = self.program.names.binding(file, node)
            if isinstance(found, Binding) and found.how == "assign" and found.value is not None and not found.steps:
                return self._sign(file, found.value)
        return 0

    def _is_deviation(self, file: SourceFile, node: ast.expr, given: Given) -> bool:
        """Is it how far one thing is from another, none of them a mean of itself?"""
        if isinstance(node, ast.Name):
            found = self.program.names.binding(file, node)
            value = found.value if isinstance(found, Binding) and found.how == "assign" and not found.steps else None
            return value is not None and not isinstance(value, ast.Name) and self._is_deviation(file, value, given)
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Sub):
            return False
        inside = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
        plain = not any(isinstance(side, ast.Constant) for side in (node.left, node.right))
        return plain and not any(last_word(call) in ("mean", "median", "average") for call in inside)

    def _call(self, file: SourceFile, node: ast.Call, given: Given) -> Merit:
        word = last_word(node)
        if node in self._losses or word in ERRORS:
            return LESS
        if word in SCORES:
            return MORE
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        free = owner is None or self.program.resolve(file, node.func) is not None
        inner = node.args[0] if free and node.args else owner
        known = self._of_known(file, node, word, inner, given)
        if known is not None:
            return known
        call = Call(self.program, file, node)
        functions = self.program.effects.targets(call)
        if functions:
            signs = [self._minimised.get(function.node) for function in functions]
            if all(sign is not None for sign in signs):
                return united(sign for sign in signs if sign is not None)
            return united(self._returned(call, given)) or UNKNOWN
        sign = self._minimised.get(f"{file.path}:{file.text_of(node.func)}")
        if sign is not None:
            return sign
        return self.of(file, inner, given) if word in SAME and inner is not None else UNKNOWN

    def _of_known(
        self, file: SourceFile, node: ast.Call, word: str, inner: ast.expr | None, given: Given
    ) -> Merit | None:
        """Of what torch, and libraries that measure, compute."""
        if word in ("eq", "equal"):
            return MORE
        if word in COUNTS:
            return NEUTRAL
        if word == "ne":
            return LESS
        if word in ("log_prob", "log_likelihood"):
            return MORE
        if word in ("square", "abs", "pow", "norm"):
            return LESS if inner is not None and self._is_deviation(file, inner, given) else UNKNOWN
        value = self.program.evaluate(file, node.func)
        if isinstance(value, Instance) and value.is_loss:
            return LESS
        name = getattr(self.program.resolve(file, node.func), "name", "")
        if name.startswith("torch.nn.functional.") and name.endswith(("_loss", "cross_entropy", "_with_logits")):
            return LESS
        return None

    def _returned(self, call: Call, given: Given) -> Iterator[Merit]:
        for function in self.program.effects.targets(call)[:2]:
            handed: dict[str, Merit] = {}
            for name in function.parameters:
                one = call.argument(function.place_of(name), name)
                if one is not None and name != function.self_name:
                    handed[name] = self.of(call.file, one.node, given)
            yield from (self.of(function.file, value, handed) for value in function.returns)

    @cached_property
    def _losses(self) -> set[ast.AST]:
        return {use.call.node for use in self.program.loss_uses}

    # What is minimised

    @cached_property
    def _minimised(self) -> dict[object, Merit]:
        """Functions whose value `backward` begins at, and attributes and keys that hold it."""
        self.__dict__["_minimised"] = {}  # nothing is known while it is gathered
        found: dict[object, list[Merit]] = {}
        for call in self.program.calls_named("backward"):
            func = call.node.func
            root = call.node.args[0] if call.node.args else func.value if isinstance(func, ast.Attribute) else None
            for key, sign in self._roots(call.file, root, 1, 0):
                found.setdefault(key, []).append(frozenset({-sign}))
        return {key: merits[0] for key, merits in found.items() if len(set(merits)) == 1}

    def _roots(self, file: SourceFile, node: ast.expr | None, sign: int, depth: int) -> Iterator[tuple[object, int]]:
        """Functions, attributes and keys that a sum consists of, and the sign of each."""
        if depth > 6 or node is None:
            return
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield from self._roots(file, node.operand, -sign, depth + 1)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            yield from self._roots(file, node.left, sign, depth + 1)
            yield from self._roots(file, node.right, sign if isinstance(node.op, ast.Add) else -sign, depth + 1)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Mult)):
            if self._sign(file, node.right) or isinstance(node.op, ast.Div):
                yield from self._roots(file, node.left, sign * (self._sign(file, node.right) or 1), depth + 1)
        elif isinstance(node, ast.Name):
            found = self.program.names.binding(file, node)
            for binding in [found] if isinstance(found, Binding) else found or ():
                if binding.how == "assign" and not binding.steps:
                    yield from self._roots(file, binding.value, sign, depth + 1)
        elif isinstance(node, ast.Attribute) and node.attr == "loss":
            yield node.attr, sign
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value == "loss":
            yield node.slice.value, sign
        elif isinstance(node, ast.Call) and last_word(node) in SAME | {"scale"}:
            free = not isinstance(node.func, ast.Attribute) or last_word(node) == "scale"
            inner = node.args[0] if free and node.args else getattr(node.func, "value", None)
            yield from self._roots(file, inner, sign, depth + 1)
        elif isinstance(node, ast.Call):
            functions = self.program.effects.targets(Call(self.program, file, node))
            yield from ((function.node, sign) for function in functions)
            if not functions:
                yield f"{file.path}:{file.text_of(node.func)}", sign


def flat(merit: Merit) -> frozenset[int]:
    """All of it together."""
    return merit if isinstance(merit, frozenset) else frozenset().union(*(flat(one) for one in merit))


def turned(merit: Merit) -> Merit:
    """With a minus before it."""
    if isinstance(merit, tuple):
        return tuple(turned(one) for one in merit)
    return frozenset(-one for one in merit)


def united(several: Iterable[Merit]) -> Merit:
    """One or the other; tuples of one length part by part."""
    found = [one for one in several if flat(one)]
    tuples = [one for one in found if isinstance(one, tuple)]
    if tuples and len(tuples) == len(found) and len({len(one) for one in tuples}) == 1:
        return tuple(united(parts) for parts in zip(*tuples, strict=True))
    return frozenset().union(*(flat(one) for one in found))


def _part(merit: Merit, steps: tuple[int, ...]) -> Merit:
    for step in steps:
        if isinstance(merit, tuple):
            merit = merit[step] if -len(merit) <= step < len(merit) else UNKNOWN
        elif len(merit) != 1:
            return UNKNOWN if merit else NEUTRAL
    return merit


def _drawn(target: ast.expr, merit: Merit) -> Iterator[tuple[str, Merit]]:
    if isinstance(target, ast.Name):
        yield target.id, merit
    elif isinstance(target, (ast.Tuple, ast.List)):
        for place, one in enumerate(target.elts):
            yield from _drawn(one, _part(merit, (place,)) if isinstance(merit, tuple) else UNKNOWN)
