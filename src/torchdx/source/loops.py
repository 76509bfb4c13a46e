"""Loops that train, with what happens in them in order, and calls that measure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Site
from torchdx.source.effects import BACKWARDS, Effect, Event, without_gradient
from torchdx.source.expressions import Call
from torchdx.source.file import SourceFile
from torchdx.source.index import LoopNode
from torchdx.source.leading import Leading, last_word
from torchdx.source.reading import words
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source.program import Program

GRADIENT_WORDS = re.compile(rb"no_grad|inference_mode|set_grad_enabled")
COMMON = words("print len range append item to cpu argmax max sum mean size view format join eval train zip enumerate")


@dataclass(frozen=True, eq=False)
class TrainingLoop:
    """A loop each of whose rounds computes gradients and takes a step, itself or in functions that it calls."""

    file: SourceFile
    node: LoopNode
    events: tuple[Event, ...]
    """What happens in one round, in source order."""

    @property
    def site(self) -> Site:
        return self.file.site(self.node)

    def does(self, *effects: Effect) -> bool:
        """Does any of these happen in a round?"""
        return any(event.effect in effects for event in self.events)

    def all(self, effect: Effect) -> tuple[Event, ...]:
        """Every event with this effect."""
        return tuple(event for event in self.events if event.effect == effect)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A call of a model without gradients, outside the rounds that train it: a measurement."""

    call: Call
    model: Instance

    @property
    def site(self) -> Site:
        return self.call.site


def training_loops(program: Program) -> Iterator[TrainingLoop]:
    """Every loop right around a step (of an optimizer) that also runs backward."""
    leading = Leading(program, BACKWARDS)
    for file in program.torch_files:
        for node in file.index.loops:
            scope = file.scope_of(node)
            if not any(leading.has(last_word(call), file) for call in _calls_in_loop(file, scope.node, node)):
                continue
            events = tuple(program.effects.within(file, scope.node, node))
            steps_here = any(event.effect == "step" and event.home is node for event in events)
            if steps_here and any(event.effect == "backward" for event in events):
                yield TrainingLoop(file, node, events)


def evaluations(program: Program) -> Iterator[Evaluation]:
    """Every call of a model under `no_grad` or `inference_mode` that is no part of a round of training."""
    rounds: dict[ast.AST, TrainingLoop] = {loop.node: loop for loop in program.training_loops}
    for file in program.torch_files:
        if not GRADIENT_WORDS.search(file.bytes):
            continue
        for scope, nodes in file.index.calls_in.items():
            for call in (Call(program, file, node) for node in nodes):
                if last_word(call.node) not in COMMON and without_gradient(call):
                    loop = rounds.get(next(file.loops_around(call.node), scope))
                    model = _model_called(call)
                    if model is not None and (loop is None or _after_step(loop, call)):
                        yield Evaluation(call, model)


def _model_called(call: Call) -> Instance | None:
    values = call.program.evaluate(call.file, call.node.func).alternatives()
    found = [v for v in values if isinstance(v, Instance) and v.is_module and not v.is_loss]
    return found[0] if found and len(found) == len(values) and _owner_is_not_it(call) else None


def _owner_is_not_it(call: Call) -> bool:
    """A layer called in a module's own method is a part of its forward, not a measurement of it."""
    owner = call.function.owner if call.function is not None else None
    return owner is None or not owner.is_model or "lightning" in "".join(owner.ancestry)


def _after_step(loop: TrainingLoop, call: Call) -> bool:
    """In a round that trains: is the call made when the step is done?"""
    steps = [event.through or event.call for event in loop.all("step") if event.home is loop.node]
    return all(step is not None and step.node.lineno < call.node.lineno for step in steps)


def _calls_in_loop(file: SourceFile, scope: ast.AST, loop: LoopNode) -> Iterator[ast.Call]:
    first, last = loop.lineno, loop.end_lineno or loop.lineno
    for node in file.index.calls_in.get(scope, ()):
        if first <= node.lineno <= last:
            yield node
