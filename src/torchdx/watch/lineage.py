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
_MOST_PARTS, _JOINTS = 16, 2
_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "Hardtanh", "Softmax")
_SHIFTS = ("AddBackward0", "SubBackward0", "RsubBackward1")
_SCALES = ("MulBackward0", "DivBackward0")
_LINEAR = {"AddmmBackward0": (1, 2), "MmBackward0": (0, 1), "LinearBackward0": (0, 1)}
"""Of a linear layer's operation, which of its edges leads to the input, and which to the weight."""
_CONVOLVES = ("ConvolutionBackward", "MkldnnConvolution", "CudnnConvolution")
_LINEAR_OF_ONE = (
    *(
        *VIEWS,
        "TBackward",
        "Transpose",
        "Permute",
        "Slice",
        "Select",
        "Expand",
        "NativeDropout",
        "Neg",
        "AvgPool",
        "Adaptive",
    ),
    *(
        "ConstantPad",
        "Upsample",
        "MeanBackward",
        "MaxPool",
        "MkldnnMaxPool",
        "NativeBatchNorm",
        "CudnnBatchNorm",
        "Rsub",
    ),
)
_LINEAR_OF_MORE = ("AddBackward", "SubBackward", "CatBackward", "StackBackward")
"""Operations that make nothing of what they read that a linear layer could not, but for a maximum and for a scale."""


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

    def feeding(self, held: set[int]) -> list[Tensor]:
        """The parameters that an input of one of these (by id) is computed from, through layers of its own."""
        leaves = {node: own for node in self.nodes for own, _ in node.next_functions if hasattr(own, "variable")}
        readers = [self._reader(node) for node in leaves if id(leaves[node].variable) in held]
        ahead = [node for node in readers if node is not None]
        seen = set(ahead)
        found: dict[int, Tensor] = {}
        for node in ahead:
            for parent, _ in node.next_functions:
                if parent is None or parent in seen:
                    continue
                if hasattr(parent, "variable"):
                    found.setdefault(id(parent.variable), parent.variable)
                else:
                    seen.add(parent)
                    ahead.append(parent)
        return list(found.values())

    def _reader(self, node: Any) -> Any:
        """The operation of a layer that takes a weight as this node turns it: one with an input, too, or None."""
        while len(node.next_functions) == 1:
            users = self.users.get(node, [])
            if len(users) != 1 or not node.name().startswith((*VIEWS, "T", "Permute")):
                return None
            node = users[0][0]
        return node

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

    def unbent(self) -> list[list[Tensor]]:
        """The longest rows of weights, from the data on, with sums on the way, and nothing to bend it.

        A row is dropped in which a weight stands twice, as in a recurrence.
        """
        rows: dict[Any, list[Any] | None] = {}
        inner: set[Any] = set()
        for node in sorted(self.nodes, key=lambda one: one._sequence_nr()):
            above = [p for p, _ in node.next_functions if p is not None and not hasattr(p, "variable")]
            known = [rows.get(parent) for parent in above]
            weight, given = _layer_of(node)
            if weight is not None:
                before = rows.get(given) if given is not None and not hasattr(given, "variable") else []
                rows[node] = None if before is None else [*before, node]
                inner.update(before or ())
            elif not above or any(row is None for row in known) or not _is_linear(node, len(above)):
                rows[node] = [] if not above and node.name().startswith("Embedding") else None
            else:
                rows[node] = max((row for row in known if row is not None), key=len)
        ends = [row for node, row in rows.items() if row and row[-1] is node and node not in inner]
        weights = [[weight for node in row if (weight := _layer_of(node)[0]) is not None] for row in ends]
        return [row for row in weights if len({id(weight) for weight in row}) == len(row) > 2]

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


def maker_of(node: Any) -> str | None:
    """The operation that made it; or the activation, of each part of a joint, whose result it lays out otherwise."""
    if node is None:
        return None
    found = _laid_out(node, _JOINTS)
    return found if found.startswith(_ACTIVATIONS) else str(node.name())


def _laid_out(node: Any, joints: int) -> str:
    """Of what, made by which one operation, this is a view or a joint; "" if of several, or of too many joints."""
    for _ in range(_MOST_PARTS):
        name, above = str(node.name()), [one for one, _ in node.next_functions]
        if name.startswith(("Cat", "Stack")):
            if not joints or len(above) > _MOST_PARTS or None in above:
                return ""
            makers = {_laid_out(one, joints - 1) for one in above}
            return makers.pop() if len(makers) == 1 else ""
        if not name.startswith((*VIEWS, "Transpose", "Permute")) or above[0] is None:
            return name
        node = above[0]
    return ""


def _layer_of(node: Any) -> tuple[Tensor | None, Any]:
    """The weight of a linear layer or a convolution, masked or not, and the operation that made what it reads."""
    if node.name() in _LINEAR:
        return weight_of(node), node.next_functions[_LINEAR[node.name()][0]][0]
    if not node.name().startswith(_CONVOLVES) or node.next_functions[1][0] is None:
        return None, None
    if getattr(node, "_saved_transposed", False) or getattr(node, "_saved_groups", 1) > 1:
        return None, None
    holder = node.next_functions[1][0]
    if holder is not None and holder.name() == "MulBackward0":
        holder = next((p for p, _ in holder.next_functions if hasattr(p, "variable")), None)
    weight = getattr(holder, "variable", None)
    return weight if isinstance(weight, torch.nn.Parameter) else None, node.next_functions[0][0]


def _is_linear(node: Any, read: int) -> bool:
    """Does this operation on so many computed tensors keep to sums of them and to scales?"""
    name = node.name()
    if name.startswith(_LINEAR_OF_MORE):
        return True
    if name.startswith(_CONVOLVES):  # in groups, as one half of a separable convolution
        return hasattr(node.next_functions[1][0], "variable")
    if name == "MmBackward0":  # of a graph's own matrix
        return read == 1 and node.next_functions[0][0] is None
    return read == 1 and (name.startswith(_LINEAR_OF_ONE) or (name in _SCALES and affine_parent(node) is not None))


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
