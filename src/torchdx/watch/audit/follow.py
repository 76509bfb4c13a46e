"""A value is followed through Python code: every call and every line of the program's own that made another of it.

`sys.settrace` tells of calls and lines. In the user's functions each line is a step where it leaves a new value behind.
In libraries a call is a step where the user's code, or a container such as `Compose`, makes it; what goes on inside is
theirs. Only while one sample is followed is anything traced.
"""

from __future__ import annotations

import ast
import linecache
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from torchdx.watch.audit.numbers import holds_numbers
from torchdx.watch.audit.sources import (
    called,
    construction,
    constructions,
    names_read,
    place_of,
    shortened,
    statement_at,
    text_of,
)
from torchdx.watch.audit.values import Shot
from torchdx.watch.places import Place, absolute, is_user_code
from torchdx.watch.places import _place as place_in

MOST_STEPS = 200
"""Steps after which a sample is followed no further."""

LONGEST = 5.0
"""Seconds for which a loop is followed from a batch to the model."""

MOST_PARTS, MOST_TEXT = 16, 100_000
"""Parts of a list or a mapping that are told apart, and letters of a text that is looked at."""

_GLUE = ("torch/nn/modules/module.py", "torch/utils/_contextlib.py", "functools.py")
_COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")


_HIDDEN = ("__torch_function__", "__array_interface__", "__array__", "__init__", "__new__", "__getattr__")
"""What Python and torch call on the way, and nobody wrote."""


@dataclass
class Taken:
    """One step that was taken: what was done, where, to what, and what came of it."""

    kind: str
    name: str
    text: str
    site: Place | None
    before: Shot | None
    after: Shot
    sources: list[int]
    seconds: float = 0.0


@dataclass
class _Line:
    """A frame of the user's, and what its variables held when its present line began."""

    line: int = 0
    began: float = 0.0
    variables: dict[str, Any] = field(default_factory=dict)
    held: dict[int, str] = field(default_factory=dict)
    given: list[int] = field(default_factory=list)


class Follower:
    """Follows what is done to values while a call is made; `taken` holds the steps."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self._made: dict[int, tuple[Any, int, Shot]] = {}
        self._lines: dict[FrameType, _Line] = {}
        self._inside: dict[FrameType, list[Any]] = {}
        self._until: Callable[[FrameType], bool] | None = None
        self._deadline = 0.0

    def follow(self, call: Callable[[], Any]) -> Any:
        """Make the call and give what it gives; whatever it raises is raised."""
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            return call()
        finally:
            sys.settrace(before)
            self._lines.clear()
            self._inside.clear()

    def begin(self, frame: FrameType, until: Callable[[FrameType], bool]) -> None:
        """Follow what goes on in this frame of the user's from here on, until a call that fits, or for a while."""
        self._until, self._deadline = until, time.monotonic() + LONGEST
        self._lines[frame] = _Line(frame.f_lineno, time.perf_counter(), dict(_variables(frame)), self._held(frame))
        frame.f_trace = self._goes
        sys.settrace(self._called)

    def stop(self) -> None:
        """Follow nothing more."""
        sys.settrace(None)
        for frame in self._lines:
            frame.f_trace = None
        self._lines.clear()
        self._inside.clear()
        self._until = None

    def step_of(self, value: Any) -> int | None:
        """The step that made this very object; None if no step did."""
        known = self._made.get(id(value))
        return known[1] if known is not None else None

    def shot_of(self, value: Any) -> Shot:
        """The value as it was last seen, or as it is."""
        known = self._made.get(id(value))
        return known[2] if known is not None else Shot.of(value)

    def add(self, taken: Taken) -> int:
        """Add a step, and remember what it made."""
        number = len(self.taken)
        self.taken.append(taken)
        self._made[id(taken.after.value)] = (taken.after.value, number, taken.after)
        return number

    # --- what Python tells of

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        if event != "call" or len(self.taken) >= MOST_STEPS:
            return None
        if self._until is not None and (self._until(frame) or time.monotonic() > self._deadline):
            self.stop()
            return None
        code = frame.f_code
        if code.co_name in _COMPREHENSIONS or code.co_name in _HIDDEN or _is_ours(code):
            return None
        if is_user_code(code):
            return self._enters(frame)
        caller = self._caller(frame)
        if caller is None:
            return None
        parts = _children(frame)
        if parts is not None:
            self._inside[frame] = parts
        frame.f_trace_lines = False
        return self._within(frame, caller)

    def _caller(self, frame: FrameType) -> FrameType | None:
        """The frame of the user's, or of a container, that calls this one, as far as only glue lies between."""
        own = _self_of(frame)
        back = frame.f_back
        for _ in range(12):
            if back is None:
                return None
            if back in self._lines:
                return back
            if back in self._inside:
                return back if own is not _self_of(back) or own is None else None
            if not (_is_glue(back.f_code) or self._is_containers_own(back, own)):
                return None
            back = back.f_back
        return None

    def _is_containers_own(self, frame: FrameType, own: Any) -> bool:
        """Is this another method of a container that we are inside of, and not one of the part's that is called?"""
        holder = _self_of(frame)
        return holder is not None and holder is not own and any(_self_of(one) is holder for one in self._inside)

    def _enters(self, frame: FrameType) -> Any:
        self._lines[frame] = _Line(held=self._held(frame))
        return self._goes

    def _goes(self, frame: FrameType, event: str, given: Any) -> Any:
        """An event in a function of the user's."""
        state = self._lines.get(frame)
        if state is None:
            return None
        if event == "line":
            self._settle(frame, state, None)
            state.line, state.began, state.given = frame.f_lineno, time.perf_counter(), []
            state.variables = dict(_variables(frame))
        elif event == "return":
            self._settle(frame, state, given)
            self._lines.pop(frame, None)
        return self._goes

    def _within(self, frame: FrameType, caller: FrameType) -> Any:
        """A tracer for a call of a library's, which waits for its end."""
        values = [value for _, value in _variables(frame)]
        shots = [self.shot_of(part) for value in values for part in parts_of(value)]
        began = time.perf_counter()

        def ends(_: FrameType, event: str, given: Any) -> Any:
            if event == "return":
                seconds = time.perf_counter() - began
                self._inside.pop(frame, None)
                self._library_step(frame, caller, shots, given, seconds)
            return ends

        return ends

    # --- steps

    def _library_step(self, frame: FrameType, caller: FrameType, shots: list[Shot], given: Any, seconds: float) -> None:
        if len(self.taken) >= MOST_STEPS or given is None:
            return
        for part in parts_of(given):
            known = self._made.get(id(part))
            shot = Shot.of(part)
            if shot.numbers is None and not _is_called_there(frame, caller):
                continue
            if known is not None and known[2].digest == shot.digest:
                continue
            came_from = _nearest(shots, shot)
            if came_from is not None and came_from.value is part and came_from.digest == shot.digest:
                continue
            sources = [made for one in shots if (made := self.step_of(one.value)) is not None]
            name, text = _names(frame, caller)
            line = self._lines.get(caller)
            number = self.add(
                Taken("call", name, text, self._site(frame, caller), came_from, shot, _unique(sources), seconds)
            )
            if line is not None:
                line.given.append(number)

    def _site(self, frame: FrameType, caller: FrameType) -> Place | None:
        """Where a transform is constructed, or where the call stands in the user's code."""
        if caller in self._lines:
            return place_in(caller.f_code, caller.f_lasti, caller.f_lineno)
        own, children = _self_of(frame), self._inside.get(caller, [])
        for child, place in zip(children, constructions(_self_of(caller), children), strict=False):
            if child is own:
                return place
        return construction(own) if own is not None and type(own).__module__ != "builtins" else None

    def _settle(self, frame: FrameType, state: _Line, returned: Any) -> None:
        """The line is over: what it left in variables, or gave back, and is new, are its steps."""
        if not state.line or len(self.taken) >= MOST_STEPS:
            return
        seconds = time.perf_counter() - state.began
        node = statement_at(frame.f_code.co_filename, state.line)
        left = {id(part): part for value in _locals(frame) for part in parts_of(value)}
        left |= {id(part): part for part in parts_of(returned)}
        for key, part in left.items():
            known = self._made.get(key)
            shot = Shot.of(part)
            if (known is not None and known[2].digest == shot.digest) or state.held.get(key) == shot.digest:
                continue
            self._line_step(frame, state, node, shot, seconds)
        state.held = self._held(frame)

    def _line_step(self, frame: FrameType, state: _Line, node: ast.stmt | None, shot: Shot, seconds: float) -> None:
        filename = frame.f_code.co_filename
        read = names_read(node) if node is not None else set()
        values = [value for name, value in state.variables.items() if name in read]
        olds = [self.shot_of(part) for value in values for part in parts_of(value) if part is not shot.value]
        known = self._made.get(id(shot.value))
        if known is not None:  # changed in place
            olds.insert(0, known[2])
        fresh = [self.taken[number].after for number in state.given]
        sources = [*state.given, *(made for old in olds if (made := self.step_of(old.value)) is not None)]
        text = text_of(filename, node) if node is not None else ""
        site = place_of(filename, node) if node is not None else [absolute(filename), state.line, 1, None, None]
        before = _nearest(fresh, shot) or _nearest(olds, shot)
        self.add(Taken("line", "", text, site, before, shot, _unique(sources), seconds))

    def _held(self, frame: FrameType) -> dict[int, str]:
        """What the variables hold that no step has made, by object."""
        parts = (part for value in _locals(frame) for part in parts_of(value))
        return {id(part): self.shot_of(part).digest for part in parts}


def parts_of(value: Any, depth: int = 3) -> Iterator[Any]:
    """What of a value is followed: pictures, arrays, tensors, texts and lists of numbers, also inside of containers."""
    if holds_numbers(value):
        yield value
    elif isinstance(value, str):
        if 0 < len(value) <= MOST_TEXT:
            yield value
    elif isinstance(value, Mapping) and depth:
        for inner in [*value.values()][:MOST_PARTS]:
            yield from parts_of(inner, depth - 1)
    elif isinstance(value, list | tuple) and value and depth:
        if all(isinstance(inner, int | float) for inner in value[:64]):
            yield value
            return
        for inner in value[:MOST_PARTS]:
            yield from parts_of(inner, depth - 1)


def _locals(frame: FrameType) -> list[Any]:
    return [value for _, value in _variables(frame)]


def _variables(frame: FrameType) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in frame.f_locals.items() if not isinstance(value, nn.Module)]


def _self_of(frame: FrameType) -> Any:
    code = frame.f_code
    if not code.co_argcount or code.co_varnames[0] not in ("self", "_self"):
        return None
    return frame.f_locals.get(code.co_varnames[0])


def _children(frame: FrameType) -> list[Any] | None:
    """The parts of a container that this is a call of; none for a dataset's; None if it is no container."""
    own, name = _self_of(frame), frame.f_code.co_name
    if own is None:
        return None
    if isinstance(own, Dataset) or name in ("__getitem__", "__getitems__"):
        return []
    if name not in ("__call__", "forward"):
        return None
    children = [*own] if isinstance(own, nn.Sequential) else getattr(own, "transforms", None)
    return [*children] if isinstance(children, list | tuple | nn.ModuleList) else None


def _is_glue(code: CodeType) -> bool:
    return code.co_name in _COMPREHENSIONS or code.co_filename.replace("\\", "/").endswith(_GLUE)


def _is_ours(code: CodeType) -> bool:
    return "torchdx" in code.co_filename and not is_user_code(code)


def _names(frame: FrameType, caller: FrameType) -> tuple[str, str]:
    """What is called, in full and as it is written."""
    own, code = _self_of(frame), frame.f_code
    module = str(frame.f_globals.get("__name__", ""))
    if own is not None and code.co_name in ("__call__", "forward"):
        kind = type(own)
        return f"{kind.__module__}.{kind.__qualname__}", shortened(_repr(own))
    name = f"{module}.{getattr(code, 'co_qualname', code.co_name)}"
    return name, _written(caller) if is_user_code(caller.f_code) else code.co_name


def _written(caller: FrameType) -> str:
    """The call that a frame of the user's is at, as it is written."""
    filename, line, column, end, end_column = place_in(caller.f_code, caller.f_lasti, caller.f_lineno)
    if line == end and isinstance(line, int) and isinstance(column, int) and isinstance(end_column, int):
        return shortened(linecache.getline(str(filename), line)[column - 1 : end_column - 1])
    node = statement_at(caller.f_code.co_filename, caller.f_lineno)
    return text_of(caller.f_code.co_filename, node) if node is not None else caller.f_code.co_name


def _is_called_there(frame: FrameType, caller: FrameType) -> bool:
    """Is it called by name in the line of the user's, rather than as a property or by other code?"""
    node = statement_at(caller.f_code.co_filename, caller.f_lineno) if is_user_code(caller.f_code) else None
    name = frame.f_code.co_name
    return node is not None and (name == "__call__" or name in {called(inner) for inner in ast.walk(node)})


def _repr(thing: Any) -> str:
    try:
        return repr(thing)
    except Exception:  # of the program's own
        return f"{type(thing).__name__}()"


def _nearest(shots: list[Shot], after: Shot) -> Shot | None:
    """What a value most likely came from: of its own kind and most like it in size, the latest of several.

    Of texts, such as a path and a mode, it is the longest.
    """
    fit = [one for one in shots if (one.numbers is None) == (after.numbers is None)] or shots

    def unlike(one: Shot) -> float:
        if one.numbers is None or after.numbers is None:
            return -float(len(one.value)) if isinstance(one.value, str) else 0.0
        return abs(one.numbers.numel() - after.numbers.numel())

    return min(reversed(fit), key=unlike, default=None)


def _unique(numbers: list[int]) -> list[int]:
    return sorted(set(numbers))
