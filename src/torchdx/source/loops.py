"""Loops that train, with what happens in them in order, and calls that measure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Site
from torchdx.source.effects import BACKWARDS, Effect, Event, without_gradient
from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile
from torchdx.source.flow import LEAVES, path_of
from torchdx.source.frameworks import framework_of
from torchdx.source.index import FUNCTIONS, LOOPS, LoopNode, last_word
from torchdx.source.leading import Leading
from torchdx.source.reading import words
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source.program import Program

QUIET = words("no_grad inference_mode set_grad_enabled")
"""Words that switch gradients off, for a block or a function."""
PROGRESS = words("tqdm track notebook_tqdm progress_bar master_bar")
COMMON = words("print len range append item to cpu argmax max sum mean size view format join eval train zip enumerate")


@dataclass(frozen=True, eq=False)
class Round:
    """One round of training: the body of a loop, or a function that somebody else repeats."""

    file: SourceFile
    node: ast.AST
    events: tuple[Event, ...]
    """What happens in one round, in source order."""

    @property
    def site(self) -> Site:
        return self.file.site(self.node)

    @property
    def directly(self) -> tuple[Event, ...]:
        """What happens once a round, not in a loop further in."""
        home = self.node if isinstance(self.node, LOOPS) else None
        return tuple(event for event in self.events if event.home is home)

    def beside(self, event: Event) -> tuple[Event, ...]:
        """What happens once in the same round as an event: those left out that stand in another branch."""
        own = _conditions(self, event)
        return tuple(other for other in self.directly if _agree(own, _conditions(self, other)))

    def is_conditional(self, event: Event) -> bool:
        """Does it happen only in some rounds?"""
        return bool(_conditions(self, event))

    def does(self, *effects: Effect) -> bool:
        """Does any of these happen in a round?"""
        return any(event.effect in effects for event in self.events)

    def all(self, effect: Effect) -> tuple[Event, ...]:
        """Every event with this effect."""
        return tuple(event for event in self.events if event.effect == effect)


@dataclass(frozen=True, eq=False)
class TrainingLoop(Round):
    """A loop each of whose rounds computes gradients and takes a step, itself or in functions that it calls."""

    node: LoopNode


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A call of a model without gradients, outside the rounds that train it: a measurement."""

    call: Call
    model: Instance

    @property
    def site(self) -> Site:
        return self.call.site


@dataclass(frozen=True, eq=False)
class EpochLoop(Round):
    """A loop around loops that train: each of its rounds takes many steps."""

    node: LoopNode


def loops_with_gradients(program: Program) -> Iterator[Round]:
    """Every loop in which a backward pass is run: those that train, those around them, and those that never step."""
    leading = Leading(program, BACKWARDS)
    for file in program.torch_files:
        for node in file.index.loops:
            scope = file.scope_of(node)
            if not any(leading.has(last_word(call), file) for call in _calls_in_loop(file, scope.node, node)):
                continue
            events = tuple(program.effects.within(file, scope.node, node))
            steps = [event for event in events if event.effect == "step"]
            if any(event.effect == "backward" for event in events):
                here = any(event.home is node for event in steps)
                kind = TrainingLoop if here else EpochLoop if steps else Round
                yield kind(file, node, events)


def training_rounds(program: Program) -> Iterator[Round]:
    """Every loop that trains, and every function with a backward pass and a step of which no such loop is known."""
    covered: set[ast.AST] = set()
    for loop in program.training_loops:
        covered.update(event.node for event in loop.events)
        yield loop
    for call in program.calls_named("step"):
        function = call.function
        if call.node in covered or call.in_loop or function is None:
            continue
        events = program.effects.of(function)
        covered.update(event.node for event in events)
        steps_here = any(event.call is not None and event.call.node is call.node for event in events)
        if steps_here and any(event.effect == "backward" for event in events):
            yield Round(function.file, function.node, events)


def epochs_around(program: Program, loop: TrainingLoop) -> Expression | None:
    """How many rounds the loop around this one has: what its `range` ends at, even if it is the caller's loop."""
    around, file = next(loop.file.loops_around(loop.node), None), loop.file
    if around is None:
        function = file.enclosing(loop.node, ast.FunctionDef, ast.AsyncFunctionDef)
        callers = program.callers(program.function(file, function)) if function is not None else []
        if len(callers) != 1:
            return None
        around, file = next(callers[0].file.loops_around(callers[0].node), None), callers[0].file
    counting = around.iter if isinstance(around, ast.For) else None
    while isinstance(counting, ast.Call) and last_word(counting) in PROGRESS and counting.args:
        counting = counting.args[0]
    if not isinstance(counting, ast.Call) or last_word(counting) not in ("range", "trange") or not counting.args:
        return None
    end = counting.args[-1] if len(counting.args) <= 2 else counting.args[1]
    if len(counting.args) > 1 and isinstance(end, ast.BinOp) and isinstance(end.op, ast.Add):
        end = end.left if isinstance(end.right, ast.Constant) else end.right
    return Expression(program, file, end)


def _conditions(round_: Round, event: Event) -> dict[tuple[ast.AST, str], bool]:
    """The tests that an event stands under, in the round's own code and in the function it is in."""
    found: dict[tuple[ast.AST, str], bool] = {}
    for call in (event.through, event.call):
        node = call.node if call is not None else event.node
        file = call.file if call is not None else round_.file
        scope = file.enclosing(node, *FUNCTIONS) or file.tree
        around = {owner for owner, _, _ in path_of(file, round_.node, scope)} if file is round_.file else set()
        for owner, block, place in path_of(file, node, scope):
            if owner in around:
                continue  # that the loop runs at all is no matter of its rounds
            tests = [(owner.test, block == "body")] if isinstance(owner, ast.If) else []
            if owner is not scope or not isinstance(owner, ast.Module):
                passed = getattr(owner, block)[:place]
                tests += [(other.test, False) for other in passed if isinstance(other, ast.If) and _leaves(other)]
            for test, holds in tests:
                while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                    test, holds = test.operand, not holds
                found[scope, file.text_of(test)] = holds
    return found


def _leaves(branch: ast.If) -> bool:
    """Does whatever comes after it run only if its test fails?"""
    return not branch.orelse and isinstance(branch.body[-1], LEAVES)


def _agree(one: dict[tuple[ast.AST, str], bool], other: dict[tuple[ast.AST, str], bool]) -> bool:
    return all(other.get(test, holds) == holds for test, holds in one.items())


def evaluations(program: Program) -> Iterator[Evaluation]:
    """Every call of a model under `no_grad` or `inference_mode` that is no part of a round of training."""
    rounds: dict[ast.AST, TrainingLoop] = {loop.node: loop for loop in program.training_loops}
    for file in program.torch_files:
        spans = tuple(_quiet_spans(file))
        for scope, nodes in file.index.calls_in.items() if spans else ():
            quiet = (node for node in nodes if any(first <= node.lineno <= last for first, last in spans))
            for call in (Call(program, file, node) for node in quiet):
                if last_word(call.node) not in COMMON and without_gradient(call):
                    loop = rounds.get(next(file.loops_around(call.node), scope))
                    model = _model_called(call)
                    if model is not None and (loop is None or _after_step(loop, call)):
                        yield Evaluation(call, model)


def _quiet_spans(file: SourceFile) -> Iterator[tuple[int, int]]:
    """The lines in which gradients might be off: of `with` blocks and functions that name what does so."""
    named: list[ast.AST] = [node for word in QUIET for node in file.index.calls.get(word, ())]
    if b"@torch." in file.bytes:  # without parentheses
        decorated = [d for node in file.index.functions for d in getattr(node, "decorator_list", ())]
        named += [node for node in decorated if isinstance(node, ast.Attribute) and node.attr in QUIET]
    for node in named:
        home = file.enclosing(node, ast.With, ast.AsyncWith, ast.FunctionDef, ast.AsyncFunctionDef)
        if home is not None:
            yield getattr(home, "lineno", 0), getattr(home, "end_lineno", 0)


def _model_called(call: Call) -> Instance | None:
    values = call.program.evaluate(call.file, call.node.func).alternatives()
    found = [v for v in values if isinstance(v, Instance) and v.is_module and not v.is_loss]
    return found[0] if found and len(found) == len(values) and _owner_is_not_it(call) else None


def _owner_is_not_it(call: Call) -> bool:
    """A layer called in a module's own method is a part of its forward, not a measurement of it."""
    owner = call.function.owner if call.function is not None else None
    return owner is None or not owner.is_model or framework_of(owner) is not None


def _after_step(loop: TrainingLoop, call: Call) -> bool:
    """In a round that trains: is the call made when the step is done?"""
    steps = [event.through or event.call for event in loop.all("step") if event.home is loop.node]
    return all(step is not None and step.node.lineno < call.node.lineno for step in steps)


def _calls_in_loop(file: SourceFile, scope: ast.AST, loop: LoopNode) -> Iterator[ast.Call]:
    first, last = loop.lineno, loop.end_lineno or loop.lineno
    for node in file.index.calls_in.get(scope, ()):
        if first <= node.lineno <= last:
            yield node
