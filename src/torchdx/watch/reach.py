"""Whether calling a model again could be felt outside of it: what its own methods, and what these call, can reach."""

from __future__ import annotations

import argparse
import builtins
import dis
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from torchdx.watch.models import walk
from torchdx.watch.tensors import SIMPLE

_TRUSTED = frozenset(
    {"torch", "math", "cmath", "functools", "itertools", "operator", "collections", "typing", "numbers", "builtins"}
)
"""Packages whose functions change nothing but what they are given."""

_FELT = frozenset(
    {
        *("open", "exec", "eval", "compile", "input", "__import__", "globals", "vars", "setattr", "delattr"),
        *("breakpoint", "save", "__class__", "__dict__", "register_forward_hook", "register_buffer"),
    }
)
"""Names of what is felt outside, or is a way there."""

_CHANGES = frozenset(
    {"append", "extend", "add", "update", "pop", "popitem", "insert", "setdefault", "clear", "remove", "discard"}
)
"""Methods that change a list, a dictionary or a set."""

_FELT_STEPS = ("STORE_GLOBAL", "DELETE_GLOBAL", "IMPORT_NAME")
_CHANGING_STEPS = ("STORE_SUBSCR", "DELETE_SUBSCR")

_VALUES = (*SIMPLE, complex, bytes, torch.Tensor, torch.dtype, torch.device, torch.Size)
_ROOMS = (list, dict, set, argparse.Namespace, types.SimpleNamespace)


_ENTRIES = ("__init__", "__call__", "forward")
_MOST = 300
"""Functions that are read; of more code nothing is claimed."""


def is_contained(model: nn.Module) -> bool:
    """Does calling it run nothing but torch, mathematics, and code that only changes the model itself?

    Its `forward` methods, and all that they name, are read. What is printed is no harm: the streams are closed. Where
    code cannot be read so far, the answer is no.
    """
    modules = [module for _, module in walk(model)]
    kept = (thing for module in modules for thing in vars(module).values() if isinstance(thing, types.FunctionType))
    reading = _Reading(dict.fromkeys(type(module) for module in modules))
    return reading.is_contained("forward", "__call__") and all(map(reading.is_harmless, kept))


def are_contained(kind: type, *names: str) -> bool:
    """Do a class's methods of these names run nothing but torch and mathematics?"""
    return _Reading([kind]).is_contained(*names)


class _Reading:
    """What has been read of some classes and of the functions that they name."""

    def __init__(self, kinds: Iterable[type]) -> None:
        self._seen: set[int] = set()
        self._methods: dict[str, list[types.FunctionType]] = {}
        for kind in kinds:
            self._meet(kind)

    def _meet(self, kind: type) -> None:
        self._seen.add(id(kind))
        for part in (part for one in kind.__mro__ if not _is_trusted(one) for part in vars(one).values()):
            inner = getattr(part, "__func__", None) or getattr(part, "fget", None) or part
            if isinstance(inner, types.FunctionType):
                self._methods.setdefault(inner.__name__, []).append(inner)

    def is_contained(self, *names: str) -> bool:
        """Do the methods of these names reach nothing that is felt?"""
        return all(self._reaches_nothing(method) for name in names for method in self._methods.get(name, ()))

    def _reaches_nothing(self, function: types.FunctionType) -> bool:
        code = function.__code__
        if id(code) in self._seen:
            return True
        self._seen.add(id(code))
        named, asked, changes, sets = set(), set(), False, False
        for step in _steps(code):
            if step.opname in _FELT_STEPS or step.argval in _FELT:
                return False
            changes |= step.opname in _CHANGING_STEPS or step.argval in _CHANGES
            sets |= step.opname == "STORE_ATTR"
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                named.add(step.argval)
            elif "ATTR" in step.opname or "METHOD" in step.opname:
                asked.add(str(step.argval))
        known = {**vars(builtins), **function.__globals__}
        around = [cell.cell_contents for cell in function.__closure__ or ()]
        things = [*(known.get(name) for name in named), *around]
        if sets and any(isinstance(known.get(name), type) and not _is_trusted(known[name]) for name in named):
            return False  # it may be the class that is changed
        inner = all(self.is_harmless(thing, changes or sets) for thing in things)
        return inner and len(self._seen) < _MOST and self.is_contained(*asked)

    def is_harmless(self, thing: Any, changes: bool = False) -> bool:
        """Is this, which a function names, harmless; `changes` says that the function changes things."""
        if isinstance(thing, _VALUES) or id(thing) in self._seen:
            return True
        if isinstance(thing, types.ModuleType):
            return thing.__name__.partition(".")[0] in _TRUSTED
        if callable(thing) and _is_trusted(thing):
            return True
        if isinstance(thing, types.FunctionType):
            return self._reaches_nothing(thing)
        if isinstance(thing, type):
            self._meet(thing)
            return self.is_contained(*_ENTRIES)
        if isinstance(thing, tuple):
            return all(self.is_harmless(part, changes) for part in thing)
        return not changes and (isinstance(thing, _ROOMS) or hasattr(type(thing), "__dataclass_fields__"))


def _is_trusted(thing: Any) -> bool:
    return str(getattr(thing, "__module__", None) or "builtins").partition(".")[0] in _TRUSTED


def _steps(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _steps(constant)
