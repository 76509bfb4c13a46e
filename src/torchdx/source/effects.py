"""What code does to gradients, weights and modes, in order, through whatever functions it calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from torchdx.source.definitions import UserClass, UserFunction
from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile
from torchdx.source.index import last_word
from torchdx.source.leading import Leading
from torchdx.source.names import LIBRARIES
from torchdx.source.values import Instance, Method, Reference, Value
from torchdx.source.values import Literal as LiteralValue

if TYPE_CHECKING:
    from torchdx.source.program import Program

Effect = Literal[
    "zero_grad", "backward", "clip", "unscale", "step", "update", "schedule", "eval", "train", "no_grad", "opaque"
]
GRADIENT_OFF = ("torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad")
BACKWARDS = ("backward", "manual_backward")
CLIPS = ("clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "dispatch_clip_grad", "clip_gradients")
GRAD_SCALERS = ("torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "torch.cuda.amp.grad_scaler.GradScaler")
SUSPICIOUS = re.compile(r"zero|reset|clear|optimi[sz]|grad|update|step|backward|train", re.IGNORECASE)
ROOTS = ("zero_grad", "zero_", "backward", "manual_backward", "unscale_", *CLIPS, "step", "eval", "train")
MOST_EVENTS = 60
DEEPEST = 25


@dataclass(frozen=True, eq=False)
class Event:
    """One effect: the call that has it, the loop right around it, and whether that is certain.

    `opaque` stands for a call that could not be followed and whose name suggests that it might have an effect.
    `through` is the call, in the code that was asked about, that leads there.
    """

    effect: Effect
    call: Call | None
    node: ast.AST
    home: ast.AST | None
    certain: bool = True
    through: Call | None = None


class Effects:
    """Finds the effects of one program's code."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known: dict[ast.AST, tuple[Event, ...]] = {}
        self.entered: dict[ast.AST, int] = {}
        self.lowest = 0
        self.leading = Leading(program, ROOTS)

    def of(self, function: UserFunction) -> tuple[Event, ...]:
        """The effects of a function, in the order of its source; a call back into one being followed adds nothing."""
        node = function.node
        if node in self.known:
            return self.known[node]
        if node in self.entered:
            self.lowest = min(self.lowest, self.entered[node])
            return ()
        depth = len(self.entered)
        self.entered[node] = depth
        outside, self.lowest = self.lowest, depth
        found = tuple(islice(self.within(function.file, node), MOST_EVENTS)) if depth < DEEPEST else ()
        del self.entered[node]
        if self.lowest >= depth:  # nothing was left out for the sake of a function further out
            self.known[node] = found
        self.lowest = min(self.lowest, outside)
        return found

    def within(self, file: SourceFile, scope: ast.AST, region: ast.AST | None = None) -> Iterator[Event]:
        """The effects of a scope's own code, or of one statement in it, in source order."""
        events = [
            event for node in self._calls(file, scope, region) for event in self.of_call(Call(self.program, file, node))
        ]
        events += [
            Event("zero_grad", None, binding.node, next(file.loops_around(binding.node), None))
            for binding in file.index.attributes_in.get(scope, ())
            if binding.name == "grad" and _is_none(binding.value) and _lies_in(binding.node, region)
        ]
        yield from sorted(events, key=lambda event: _position(event.through.node if event.through else event.node))

    def _calls(self, file: SourceFile, scope: ast.AST, region: ast.AST | None) -> list[ast.Call]:
        nodes = [node for node in file.index.calls_in.get(scope, ()) if _lies_in(node, region)]
        return [node for node in nodes if self._may_matter(last_word(node), file)]

    def _may_matter(self, word: str, file: SourceFile) -> bool:
        """Told by the name alone: could a call of something so named have an effect?"""
        return self.leading.has(word, file) or SUSPICIOUS.search(word) is not None

    def of_call(self, call: Call) -> Iterator[Event]:
        """The effects of one call."""
        home = next(call.file.loops_around(call.node), None)
        effect, certain = self.primitive(call)
        if effect == "step" and call.node.args:
            yield from self._closure(call, home)
        if effect is not None:
            yield Event(effect, call, call.node, home, certain)
            return
        for function in self.targets(call):
            for event in self.of(function):
                yield replace(event, home=event.home or home, through=call)

    def _closure(self, call: Call, home: ast.AST | None) -> Iterator[Event]:
        for value in call.argument_value(0, "closure").alternatives():
            if isinstance(value, Reference) and isinstance(value.definition, UserFunction):
                for event in self.of(value.definition):
                    yield replace(event, home=event.home or home, through=call)

    def primitive(self, call: Call) -> tuple[Effect | None, bool]:
        """The effect that a call has by itself, if any, and whether that is certain."""
        word = call.method
        if word == "zero_" and call.receiver is not None and re.search(r"\.grad(\.data)?$", call.receiver.text):
            return "zero_grad", True
        if word in ("no_grad", "inference_mode") and call.name in GRADIENT_OFF:
            return "no_grad", True
        if word in ("zero_grad", *BACKWARDS, "step", "eval", "train") and not self._is_users(call):
            return self._method_effect(call, word)
        if call.name in ("torch.autograd.backward",):
            return "backward", True
        if word in CLIPS and not self._is_users(call):
            return "clip", call.receiver is not None or call.name.startswith("torch.")
        if word in ("unscale_", "update") and call.receiver is not None and is_scaler(call.receiver):
            return ("unscale" if word == "unscale_" else "update"), True
        if SUSPICIOUS.search(word) and not call.name.startswith(("torch.", "numpy.")) and not self.targets(call):
            return ("opaque", False) if self._could_matter(call) else (None, False)
        return None, False

    def _method_effect(self, call: Call, word: str) -> tuple[Effect | None, bool]:
        receivers = call.receiver.value.alternatives() if call.receiver is not None else ()
        instances = [value for value in receivers if isinstance(value, Instance)]
        known = bool(instances) and len(instances) == len(receivers)
        if call.receiver is None:
            return None, False
        if word == "step":
            return self._step(call, call.receiver.text.lower(), instances, known)
        if word in ("eval", "train"):
            if known and not any(value.is_module for value in instances):
                return ("opaque", False) if word == "train" else (None, False)
            mode = call.argument(0, "mode")
            if word == "train" and mode is not None:
                return ("train", True) if mode.literal is True else ("eval", mode.literal is False)
            return word, known  # type: ignore[return-value]
        if word in BACKWARDS:
            return "backward", word == "backward"
        return "zero_grad", known

    def _step(self, call: Call, text: str, instances: list[Instance], known: bool) -> tuple[Effect | None, bool]:
        if known:
            if all(value.is_optimizer for value in instances):
                return "step", True
            if any(value.is_scheduler for value in instances):
                return "schedule", True
            if all(value.is_a(*GRAD_SCALERS) for value in instances):
                return "step", True
            return ("opaque", False)
        if "sched" in text or "plateau" in text:
            return "schedule", False
        return ("step", False) if re.search(r"opt|solver|scaler|trainer", text) else ("opaque", False)

    def _is_users(self, call: Call) -> bool:
        return bool(self.targets(call))

    def _could_matter(self, call: Call) -> bool:
        """Is it neither a known library's nor a method of something known?"""
        name = call.value.name
        return not name or name.startswith("?") or name.partition(".")[0] not in LIBRARIES

    def targets(self, call: Call) -> tuple[UserFunction, ...]:
        """The functions of the project that a call runs, as far as is known."""
        named = self.program.resolve(call.file, call.node.func)
        if isinstance(named, Reference) and named.definition is None:
            return ()
        value = self.program.evaluate(call.file, call.node.func)
        return tuple(function for choice in value.alternatives() for function in _functions(choice))


def _functions(value: Value) -> Iterator[UserFunction]:
    if isinstance(value, Reference) and isinstance(value.definition, UserFunction):
        yield value.definition
    elif isinstance(value, Reference) and isinstance(value.definition, UserClass):
        init = value.definition.method("__init__")
        if init is not None:
            yield init
    elif isinstance(value, Method) and value.definition is not None:
        yield value.definition
    elif isinstance(value, Instance) and value.definition is not None:
        method = value.definition.method("forward" if value.is_module else "__call__")
        if method is not None:
            yield method


def is_scaler(expression: Expression) -> bool:
    """Is it a gradient scaler, by what made it or, where that is not known, by its name?"""
    values = expression.value.alternatives()
    if all(isinstance(value, Instance) for value in values):
        return all(isinstance(value, Instance) and value.is_a(*GRAD_SCALERS) for value in values)
    return "scaler" in expression.text.lower()


def optimizer_of(step: Call) -> Expression:
    """Whose step (or unscaling) it is: a gradient scaler's argument, else what stands before the dot."""
    first = step.argument(0, "optimizer")
    if step.receiver is not None and first is not None and is_scaler(step.receiver):
        return first
    return step.receiver or step.at(step.node.func)


def without_gradient(call: Expression) -> bool:
    """Does it stand, in its own function, where gradients are switched off?"""
    program, file = call.program, call.file
    for above in file.ancestors(call.node):
        if isinstance(above, (ast.With, ast.AsyncWith)):
            for item in above.items:
                if isinstance(item.context_expr, ast.Call) and _switches_off(Call(program, file, item.context_expr)):
                    return True
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return any(name in GRADIENT_OFF for name in program.function(file, above).decorators)
    return False


def _switches_off(call: Call) -> bool:
    if call.name == "torch.set_grad_enabled":
        mode = call.argument_value(0, "mode")
        return isinstance(mode, LiteralValue) and mode.value is False
    return call.name in GRADIENT_OFF


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _position(node: ast.AST) -> tuple[int, int]:
    """Where an expression is finished: inner calls run before the calls around them."""
    return getattr(node, "end_lineno", 0), getattr(node, "end_col_offset", 0)


def _lies_in(node: ast.AST, region: ast.AST | None) -> bool:
    if region is None:
        return True
    start, end = (getattr(region, "lineno", 0), getattr(region, "col_offset", 0)), _position(region)
    return start <= (getattr(node, "lineno", 0), getattr(node, "col_offset", 0)) and _position(node) <= end
