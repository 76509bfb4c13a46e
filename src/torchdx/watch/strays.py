"""Tensors that a module keeps and that gradients reach, though they are none of its parameters, nor any optimizer's."""

from __future__ import annotations

import linecache
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from torchdx.watch.models import Models, walk
from torchdx.watch.optimizers import Optimizers
from torchdx.watch.places import Place, is_user_code
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain, sample

MOST = 16
"""Strays that are followed."""

_SLOWER = 1.5
"""It is looked again once there are this many times the steps."""

_WIDEST, _LONGEST, _DEEPEST, _LINES = 512, 64, 4, 400
_FEW = 64


@dataclass
class Stray:
    """One such tensor, what it held when it was first seen, and at how many looks it was there."""

    tensor: weakref.ref[Tensor]
    start: Tensor
    looks: int = 0
    moved: bool = False
    site: Place | None = None


class Strays:
    """Looks through what modules keep besides parameters, buffers and modules, at ever fewer looks."""

    def __init__(self, session: Session, models: Models, optimizers: Optimizers) -> None:
        self.session = session
        self.models = models
        self.optimizers = optimizers
        self._due = 1
        self._found: dict[tuple[int, str], Stray] = {}
        session.at_look_end.append(self._looks)
        session.at_end.append(self._ends)

    def _looks(self) -> None:
        step = self.session.step
        if step < self._due:
            return
        self._due = max(step + 1, int(step * _SLOWER))
        modules = [inner for root in self.models.roots()[:_WIDEST] for _, inner in walk(root)][:_WIDEST]
        kept = [
            (m, name, own) for m in modules for name, tensor in _kept(m) if (own := _pulled_leaf(tensor)) is not None
        ]
        if not kept:
            return
        held = self._held() | {id(p) for m in modules for p in m._parameters.values() if p is not None}
        for module, name, tensor in kept:
            number = self.models.known_number(module)
            if number is not None and id(tensor) not in held and is_plain(tensor) and tensor.device.type == "cpu":
                self._see(number, module, name, tensor)

    def _held(self) -> set[int]:
        stepped = [optimizer for ref in self.optimizers.stepped.values() if (optimizer := ref()) is not None]
        return {id(p) for optimizer in stepped for group in optimizer.param_groups for p in group["params"]}

    def _see(self, number: int, module: nn.Module, name: str, tensor: Tensor) -> None:
        stray = self._found.get((number, name))
        if stray is None or stray.tensor() is not tensor:
            if stray is None and len(self._found) >= MOST:
                return
            stray = self._found[number, name] = Stray(weakref.ref(tensor), sample(tensor, _FEW))
        stray.looks += 1
        stray.site = stray.site or _assigned(module, name.partition("[")[0])
        self._tell(number, name, stray, tensor)

    def _tell(self, number: int, name: str, stray: Stray, tensor: Tensor) -> None:
        stray.moved = stray.moved or bool((sample(tensor, _FEW) != stray.start).any())
        told = {"module": number, "name": name, "shape": list(tensor.shape), "looks": stray.looks}
        self.session.write("stray", step=self.session.step, **told, moved=stray.moved, site=stray.site)

    def _ends(self) -> None:
        held = self._held()
        for (number, name), stray in self._found.items():
            tensor = stray.tensor()
            if tensor is not None and id(tensor) in held:
                stray.moved = True
            if tensor is not None:
                self._tell(number, name, stray, tensor)


def _kept(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors among a module's own attributes, and in its lists and dicts."""
    for name, value in list(vars(module).items()):
        if name in ("_parameters", "_buffers", "_modules"):
            continue
        inner: list[tuple[str, Any]] = []
        if isinstance(value, Tensor):
            inner = [(name, value)]
        elif isinstance(value, list | tuple) and len(value) <= _LONGEST:
            inner = [(f"{name}[{k}]", one) for k, one in enumerate(value)]
        elif isinstance(value, dict) and len(value) <= _LONGEST:
            inner = [(f"{name}[{key!r}]", one) for key, one in value.items()]
        yield from ((own, one) for own, one in inner if isinstance(one, Tensor) and one.requires_grad)


def _pulled_leaf(tensor: Tensor) -> Tensor | None:
    """The leaf with a gradient that this is, or that it was computed from alone, by one row of operations."""
    if tensor.is_leaf:
        return tensor if tensor.grad is not None else None
    node: Any = tensor.grad_fn
    for _ in range(_DEEPEST):
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1:
            return None
        node = parents[0]
        if hasattr(node, "variable"):
            leaf: Tensor = node.variable
            return leaf if leaf.grad is not None else None
    return None


def _assigned(module: nn.Module, name: str) -> Place | None:
    """Where the constructor assigns this attribute."""
    for cls in type(module).__mro__:
        code = getattr(cls.__dict__.get("__init__"), "__code__", None)
        if code is None or not is_user_code(code):
            continue
        lines = sorted({line for _, _, line in code.co_lines() if line is not None})
        for line in lines[:_LINES]:
            text = linecache.getline(code.co_filename, line)
            found = re.search(rf"\b\w+\.{re.escape(name)}\s*(?::[^=]*)?=(?!=)", text)
            if found:
                return [code.co_filename, line, found.start(), line, len(text.rstrip())]
    return None
