"""Which way log-probabilities and rewards enter what is minimised: signs, followed from the loss back to both."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from torchdx.source.definitions import UserFunction
from torchdx.source.earning_words import LOGS, LOSSES, MEANS, SAME, SEVERING, TIMES
from torchdx.source.effects import without_gradient
from torchdx.source.expressions import Call
from torchdx.source.flow import reaching
from torchdx.source.index import FUNCTIONS, Binding, last_word, word_of
from torchdx.source.signs import NONE, Held, Part, averaged, flat, joined, part_of, severed, turned, union, unpacked
from torchdx.source.stores import JOINS, Store, stores_by_word
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile
    from torchdx.source.program import Program

REWARD = re.compile(r"(^|_)(rewards?|rews?|payoffs?)(_|$|\d)", re.IGNORECASE)
GAIN = re.compile(r"(^|_)(returns?|rets|advantages?|advs?|rtgs?|gaes?|rewards_to_go)(_|$)", re.IGNORECASE)
CHANCE = re.compile(r"(^|_)(log_?probs?|log_?ps?|log_?pis?|log_?prob_actions?)(_|$)", re.IGNORECASE)
AVERAGE = re.compile(r"mean|avg|average|baseline|running_|(^|_)ema(_|$)|greedy|moving|smoothed|expected", re.IGNORECASE)
OTHER = re.compile(
    r"cost|loss|penal|regret|error|dist(ance)?(_|$)|length|neg|minus|model|net|func|fn|scale|weight|coef|std|head|pred|"
    r"threshold|size|count|optim|space|range|dim|shape|max|min|num|clip|norm",
    re.IGNORECASE,
)
"""What is named so is no plain reward: it may be least where things go best, or be no amount at all."""

_NO_REWARD = re.compile(rf"{OTHER.pattern}|done|alive|term|trunc|over|^_|info|obs|state", re.IGNORECASE)

MOST, DEEPEST = 20000, 60

Given: TypeAlias = Mapping[str, Held]


class TooMuchError(Exception):
    """The program is too large to be followed."""


class Rewards:
    """Follows both through names, lists, attributes and calls of one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._active: dict[tuple[ast.AST, frozenset[tuple[str, Held]]], int] = {}
        self._memo: dict[tuple[ast.AST, frozenset[tuple[str, Held]]], Held] = {}
        self._visits = self._reached = 0

    def minimised(self) -> Iterator[tuple[SourceFile, ast.Call, frozenset[Part]]]:
        """What every `backward()` begins at, as far as it is made of these."""
        for call in self.program.calls_named("backward"):
            node, func = call.node, call.node.func
            root = node.args[0] if node.args else func.value if isinstance(func, ast.Attribute) else None
            with suppress(TooMuchError):
                if root is not None and not any(keyword.arg == "gradient" for keyword in node.keywords):
                    yield call.file, node, flat(self.held(call.file, root))

    def is_reward(self, file: SourceFile, node: ast.expr) -> bool:
        """Is it made of rewards, with no minus, and of nothing else that is followed?"""
        try:
            parts = flat(self.held(file, node))
        except TooMuchError:
            return False
        return bool(parts) and all(part.what == "reward" and part.sign > 0 for part in parts)

    def is_product(self, file: SourceFile, node: ast.expr) -> bool:
        """Is a log-probability times rewards in it?"""
        try:
            return any(part.what == "product" for part in flat(self.held(file, node)))
        except TooMuchError:
            return False

    def is_followed(self, file: SourceFile, node: ast.expr) -> bool:
        """Are rewards or log-probabilities in it?"""
        try:
            return bool(flat(self.held(file, node)))
        except TooMuchError:
            return True

    def held(self, file: SourceFile, node: ast.AST | None, given: Given | None = None) -> Held:
        """What an expression is made of; `given` holds parameters and what comprehensions draw."""
        if node is None:
            return NONE
        key = node, frozenset(given.items()) if given is not None else frozenset()
        if key in self._memo:
            return self._memo[key]
        depth = len(self._active)
        if key in self._active or depth > DEEPEST:
            self._reached = min(self._reached, self._active.get(key, -1))
            return NONE
        self._visits += 1
        if self._visits > MOST:
            raise TooMuchError
        around, self._reached = self._reached, depth
        self._active[key] = depth
        try:
            found = self._of(file, node, given)
        finally:
            del self._active[key]
        if self._reached >= depth:  # no question further out was left open on the way
            self._memo[key] = found
            self._reached = around
        self._reached = min(self._reached, around)
        return found

    def _of(self, file: SourceFile, node: ast.AST, given: Given | None) -> Held:
        match node:
            case ast.Name():
                return self._named(node.id) or self._name(file, node, given) or _likely(node.id)
            case ast.Attribute():
                return self._named(node.attr) or self._stored(file, node, given) or _likely(node.attr)
            case ast.Subscript(slice=ast.Constant(value=str(key))):
                return self._named(key) or self._kept(key) or _likely(key)
            case ast.Subscript(slice=ast.Constant(value=int(place))):
                whole = self.held(file, node.value, given)
                return whole[place] if isinstance(whole, tuple) and -len(whole) <= place < len(whole) else whole
            case ast.Call():
                return self._call(file, node, given)
            case ast.BinOp():
                return self._binary(file, node, given)
            case ast.UnaryOp(op=ast.USub()):
                return turned(self.held(file, node.operand, given))
            case ast.Tuple():
                return tuple(self.held(file, part, given) for part in node.elts)
            case ast.List():
                return union(self.held(file, part, given) for part in node.elts)
            case ast.IfExp():
                return union((self.held(file, node.body, given), self.held(file, node.orelse, given)))
            case ast.ListComp() | ast.GeneratorExp():
                return self._comprehension(file, node, given)
            case ast.Subscript() | ast.Starred() | ast.NamedExpr() | ast.Await():
                return self.held(file, node.value, given)
        return NONE

    # Names

    def _named(self, name: str) -> Held:
        """A reward, where it is called one."""
        if not REWARD.search(name) or OTHER.search(name):
            return NONE
        return frozenset({Part("reward", averaged=bool(AVERAGE.search(name)))})

    def _name(self, file: SourceFile, node: ast.Name, given: Given | None) -> Held:
        if given is not None and node.id in given:
            return given[node.id]
        scope = file.scope_of(node)
        home, bindings = self.program.names.visible(scope, node.id)
        if home is None:
            return NONE
        here = given if home is scope else None
        seen = reaching(file, bindings, node, scope.node) if home is scope else bindings
        found = [self._bound(file, binding, here) for binding in seen]
        for one in self._grown(file, node.id):
            if self.program.names.visible(file.scope_of(one), node.id)[0] is home:
                found.append(self.held(file, one, here))
        return _marked(union(found), node.id)

    def _grown(self, file: SourceFile, name: str) -> Iterator[ast.expr]:
        """What is put into the list, or the tensor, of this name."""
        for word in JOINS:
            for call in file.index.calls.get(word, ()):
                func = call.func
                if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == name:
                    yield from call.args[-1:]
        for items in file.index.items_in.values():
            for item in items:
                target = item.node.value if isinstance(item.node, ast.Subscript) else None
                if isinstance(target, ast.Name) and target.id == name and item.value is not None:
                    yield item.value

    def _bound(self, file: SourceFile, binding: Binding, given: Given | None) -> Held:
        if binding.how == "parameter":
            return self._handed(file, binding)
        if binding.value is None or binding.how not in ("assign", "element", "augment"):
            return NONE
        if _is_reward_of_step(file, binding):
            return frozenset({Part("reward")})
        node = binding.node
        if binding.how == "augment" and isinstance(node, ast.AugAssign):
            before, more = self.held(file, node.target, given), self.held(file, node.value, given)
            return joined(node.op, before, more, node) if not isinstance(node.op, ast.Div) else before
        held = self.held(file, binding.value, given)
        for step in binding.steps:
            held = part_of(held, step)
        return held

    def _handed(self, file: SourceFile, binding: Binding) -> Held:
        """What all callers hand over."""
        node = file.enclosing(binding.node, *FUNCTIONS)
        if node is None:
            return NONE
        function = self.program.function(file, node)
        place = function.place_of(binding.name)
        arguments = [call.argument(place, binding.name) for call in self.program.callers(function)]
        return union(self.held(one.file, one.node) for one in arguments if one is not None)

    def _stored(self, file: SourceFile, node: ast.Attribute, given: Given | None) -> Held:
        if node.attr in ("T", "mT", "data", "values"):
            held = self.held(file, node.value, given)
            return severed(held) if node.attr == "data" else held
        return _marked(self._kept(node.attr), node.attr)

    def _kept(self, word: str) -> Held:
        """What is ever kept under an attribute, a field or a key of this name."""
        return union(self._part(file, value, steps) for file, value, steps in self._stores.get(word, ()))

    def _part(self, file: SourceFile, value: ast.expr, steps: tuple[int, ...]) -> Held:
        held = self.held(file, value)
        for step in steps:
            held = part_of(held, step)
        return held

    @cached_property
    def _stores(self) -> dict[str, list[Store]]:
        return stores_by_word(self.program.torch_files)

    # What is computed

    def _comprehension(self, file: SourceFile, node: ast.ListComp | ast.GeneratorExp, given: Given | None) -> Held:
        inner = dict(given or {})
        for generator in node.generators:
            drawn = self.held(file, generator.iter, dict(inner))
            listed = isinstance(generator.iter, ast.Tuple) or (
                isinstance(generator.iter, ast.Call) and any(isinstance(a, ast.Starred) for a in generator.iter.args)
            )
            if isinstance(generator.target, ast.Name) and isinstance(drawn, tuple) and listed:
                name = generator.target.id
                return tuple(self.held(file, node.elt, {**inner, name: one}) for one in drawn)
            inner.update(unpacked(generator.target, drawn))
        return self.held(file, node.elt, inner)

    def _binary(self, file: SourceFile, node: ast.BinOp, given: Given | None) -> Held:
        left, right = self.held(file, node.left, given), self.held(file, node.right, given)
        if isinstance(node.op, (ast.Mult, ast.MatMult, ast.Div)):
            for side, other in ((left, node.right), (right, node.left)):
                if flat(side) and not flat(right if side is left else left) and self._sign(file, other) < 0:
                    left, right = turned(left), turned(right)
                    break
            if _is_share(node.left) or _is_share(node.right):
                left, right = averaged(left), averaged(right)
        return joined(node.op, left, right, node)

    def _sign(self, file: SourceFile, node: ast.expr) -> int:
        """The sign of a factor that is none of these: a number's, and else taken to be positive."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._sign(file, node.operand)
        known = literal(self.program.evaluate(file, node)) if isinstance(node, (ast.Name, ast.Constant)) else None
        return -1 if isinstance(known, (int, float)) and known < 0 else 1

    def _call(self, file: SourceFile, node: ast.Call, given: Given | None) -> Held:
        word = last_word(node)
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if word in ("log_prob", "log_probs") or word in LOGS:
            return frozenset({Part("log-probability", cut=without_gradient(Call(self.program, file, node)))})
        if word in LOSSES:
            return frozenset({Part("log-probability", -1)})
        inside = [self.held(file, arg, given) for arg in node.args]
        if word == "zip":
            starred = len(node.args) == 1 and isinstance(node.args[0], ast.Starred)
            return inside[0] if starred else tuple(inside)
        if word == "enumerate":
            return (NONE, *inside[:1])
        if word == "map":
            return inside[-1] if inside else NONE
        before = self.held(file, owner, given) if owner is not None else NONE
        if word in TIMES:
            both = [one for one in (before, *inside) if flat(one)]
            return joined(ast.Mult(), both[0], both[1], node) if len(both) == 2 else union(both)
        if word in ("neg", "negative"):
            return turned(union((before, *inside)))
        if word in ("sub", "subtract", "add") and (before or inside):
            sides = [before, *inside][-2:] if owner is None or not before else [before, *inside][:2]
            return joined(ast.Sub() if word != "add" else ast.Add(), sides[0], sides[-1], node)
        if word in MEANS:
            return averaged(union((before, *inside)))
        if word in ("div", "true_divide", "div_"):
            return before or (inside[0] if inside else NONE)
        if word == "log":
            return NONE if any(flat(one) for one in (before, *inside)) else self._logarithm(node, owner)
        own = self._own(file, node, given)
        if own is not None:
            return own
        if word in SAME:
            parts = [one for one in (before, *inside) if flat(one)]
            held = parts[0] if len(parts) == 1 else union(parts)
            return severed(held) if word in SEVERING or (word == "float" and owner is None) else held
        return tuple(inside) if word[:1].isupper() and len(inside) > 1 else NONE

    def _logarithm(self, node: ast.Call, owner: ast.expr | None) -> Held:
        """Of a probability that is picked; not of one minus it."""
        of = node.args[0] if node.args else owner
        within = ast.walk(of) if of is not None else ()
        turned_round = any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) for one in within)
        return NONE if turned_round or of is None else frozenset({Part("log-probability")})

    def _own(self, file: SourceFile, node: ast.Call, given: Given | None) -> Held | None:
        """What a function of the project's returns for these arguments; None of any other."""
        call = Call(self.program, file, node)
        functions = self.program.effects.targets(call)
        if not functions:
            return None
        found = []
        for function in functions[:2]:
            handed = self._arguments(call, function, given)
            found += [self.held(function.file, value, handed) for value in function.returns]
        return union(found)

    def _arguments(self, call: Call, function: UserFunction, given: Given | None) -> Given:
        handed: dict[str, Held] = {}
        for name in function.parameters:
            one = call.argument(function.place_of(name), name)
            if one is not None and name != function.self_name:
                handed[name] = self._named(name) or self.held(call.file, one.node, given)
        return handed


def _marked(held: Held, name: str) -> Held:
    return averaged(held) if AVERAGE.search(name) and not GAIN.search(name) else held


def _is_share(node: ast.expr) -> bool:
    """A number up to a half, as new values have in a running mean."""
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value <= 0.5


def _likely(name: str) -> Held:
    """What a name says where nothing else is known."""
    if OTHER.search(name) or re.search(r"old|ref|prev", name):
        return NONE
    if GAIN.search(name):
        return frozenset({Part("reward", averaged=bool(AVERAGE.search(name)))})
    return frozenset({Part("log-probability")}) if CHANCE.search(name) else NONE


def _is_reward_of_step(file: SourceFile, binding: Binding) -> bool:
    """Is it the second of three and more that an environment's `step` gives for an action, and called nothing else?"""
    value, statement = binding.value, file.statement(binding.node)
    if binding.steps != (1,) or not isinstance(value, ast.Call) or last_word(value) != "step" or not value.args:
        return False
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    names = [word_of(part) for part in target.elts] if isinstance(target, ast.Tuple) else []
    others = [name for name in names if name != binding.name]
    return len(names) >= 3 and not any(REWARD.search(one) for one in others) and not _NO_REWARD.search(binding.name)
