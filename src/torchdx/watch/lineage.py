"""Autograd graphs read from the loss back: what stands between layers, and between the output and the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.tensors import saved

MOST_NODES = 3000
"""Nodes of a graph that are gone through, of a larger one none: a thousand take about a millisecond."""

VIEWS = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Clone", "Alias", "ToCopy", "Contiguous")
_SHIFTS = ("AddBackward0", "SubBackward0", "RsubBackward1")
_SCALES = ("MulBackward0", "DivBackward0")
_LINEAR = {"AddmmBackward0": (1, 2), "MmBackward0": (0, 1), "LinearBackward0": (0, 1)}
"""Of a linear layer's operation, which of its edges leads to the input, and which to the weight."""


class Lineage:
    """A graph's nodes, and who uses the result of each."""

    def __init__(self, root: Any) -> None:
        self.nodes: list[Any] = [root]
        self.users: dict[Any, list[tuple[Any, int]]] = {root: []}
        for node in self.nodes:
            if len(self.nodes) > MOST_NODES:
                self.nodes = []
                break
            for place, (parent, _) in enumerate(node.next_functions):
                if parent is None or hasattr(parent, "variable"):
                    continue
                if parent not in self.users:
                    self.users[parent] = []
                    self.nodes.append(parent)
                self.users[parent].append((node, place))

    def called(self, *names: str) -> Iterator[Any]:
        """The nodes whose names begin with one of these."""
        return (node for node in self.nodes if node.name().startswith(names))

    def chains(self) -> list[list[Tensor]]:
        """Weights of linear layers each of which reads nothing but the one before, through nothing but affine steps.

        Left out are rows of which the first stands behind a product of two computed tensors, or the last before one:
        the projections of an attention.
        """
        before = {node: self._read_by(node) for node in self.called(*_LINEAR)}
        ahead = {first: node for node, first in before.items() if first is not None}
        found = []
        for node, first in before.items():
            if first is None and node in ahead:
                row = [node]
                while (further := ahead.get(row[-1])) is not None and further not in row:
                    row.append(further)
                if not self._is_mixed(row):
                    found.append([weight for one in row if (weight := weight_of(one)) is not None])
        return [row for row in found if len({id(weight) for weight in row}) == len(row) > 1]

    def _read_by(self, node: Any) -> Any:
        """The linear layer whose result, used nowhere else, this one reads."""
        weight = weight_of(node)
        place = _LINEAR[node.name()][0]
        given = node.next_functions[place][0]
        while given is not None and given in self.users and len(self.users[given]) == 1 and weight is not None:
            if given.name() in _LINEAR:
                first = weight_of(given)
                return given if first is not None and first.shape[0] == weight.shape[1] else None
            given = affine_parent(given)
        return None

    def _is_mixed(self, row: Sequence[Any]) -> bool:
        """Is its input a weighted mean of others, or its result read by a product?"""
        node = row[0].next_functions[_LINEAR[row[0].name()][0]][0]
        for _ in range(8):
            parents = [parent for parent, _ in node.next_functions if parent is not None] if node is not None else []
            if node is None or node.name().startswith(("Bmm", "ScaledDot", "Sum")):
                break
            node = parents[0] if len(parents) == 1 else None
        if node is not None and node.name().startswith(("Bmm", "ScaledDot", "Sum")):
            return True
        ahead = [row[-1]]
        for _ in range(8):
            ahead = [user for one in ahead for user, _ in self.users.get(one, ())]
            if any(one.name().startswith(("Bmm", "ScaledDot")) for one in ahead):
                return True
            ahead = [one for one in ahead if one.name().startswith((*VIEWS, "Transpose", "Permute", "Expand", "Split"))]
        return False


def weight_of(node: Any) -> Tensor | None:
    """The parameter that a linear layer's operation multiplies by."""
    holder = node.next_functions[_LINEAR[node.name()][1]][0]
    if holder is not None and holder.name() == "TBackward0":
        holder = holder.next_functions[0][0]
    weight = getattr(holder, "variable", None)
    return weight if isinstance(weight, torch.nn.Parameter) and weight.dim() == 2 else None


def affine_parent(node: Any) -> Any:
    """What a node that reshapes, drops, shifts or scales by a number makes its result of; None of any other."""
    parents = [parent for parent, _ in node.next_functions if parent is not None]
    if len(parents) != 1:
        return None
    name = node.name()
    if name.startswith((*VIEWS, "NativeDropout")) or name in _SHIFTS:
        return parents[0]
    if name in _SCALES:
        own = "_saved_other" if node.next_functions[0][0] is not None else "_saved_self"
        factor = saved(node, own)
        return parents[0] if factor is not None and _is_scale(factor) else None
    return None


def _is_scale(factor: Tensor) -> bool:
    """Is it one number, or what dropout multiplies by: zeros, and one number above 1?"""
    if factor.numel() == 1:
        return True
    if factor.device.type != "cpu" or not factor.is_floating_point():
        return False
    few = factor.detach().flatten()[:4096]
    top = few.max()
    return bool(top > 1) and bool(((few == 0) | (few == top)).all())
