"""Where in an autograd graph the first NaN or infinity came from, by what autograd saved for the backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.tensors import is_plain, saved

_NODES = 4000
_RESULTS = ("_saved_result", "_saved_inverse")
_OPERANDS = ("_saved_self", "_saved_other", "_saved_mat1", "_saved_mat2", "_saved_input", "_saved_target", "_saved_x1")
_EDGES = {"_saved_other": 1, "_saved_mat1": 1, "_saved_mat2": 1}  # which of the node's edges; else the first
_MASKED = ("Softmax", "LogSoftmax", "NllLoss", "SafeSoftmax")  # where -inf is a usual way to leave things out
_MAKERS = ("Exp", "Expm1", "Sqrt", "Rsqrt", "Reciprocal", "Tan", "LinalgInv", "Pow", "Std", "Div", "Cumprod", "Prod")
_STEEP = ("Sqrt", "LinalgVectorNorm", "Std", "Acos", "Asin", "Pow", "Cdist", "Norm")  # infinite slope somewhere finite
_TOUCHY = ("Log", "Log2", "Log10", "Log1P", "Div", "Exp", "Reciprocal", "Rsqrt")
_LARGEST = 3.4028234e38


def first_nonfinite(root: Tensor) -> tuple[dict[str, Any], Any, list[Tensor]]:
    """The earliest operation of the graph behind `root` that met finite numbers and gave others.

    Returns what is known of it, its node, and the parameters it stands after. What is known: `cause` is "operation",
    "input" (the data were not finite already), "weights" (parameters were not: then `operation`, if any, is one of the
    graph whose slope can be infinite) or "unknown"; `operand` and its range `min`, `max`; `nonfinite_parameters`.
    """
    nodes = _in_order(root)
    weights = [p for node in nodes for p in _parameters(node)]
    spoilt = [p for p in weights if not _is_finite(p.detach())]
    if spoilt:
        steep = next((node for kind in (_has_steep_slope, _is_touchy) for node in reversed(nodes) if kind(node)), None)
        told = {"cause": "weights", "operation": name_of(steep), "nonfinite_parameters": len({id(p) for p in spoilt})}
        return told, steep, spoilt
    for node in nodes:
        told, guilty = _judge(node)
        if told:
            return {**told, "nonfinite_parameters": 0}, guilty, _nearest_parameters(guilty or node)
    return {"cause": "unknown", "operation": None, "nonfinite_parameters": 0}, None, []


def position(root: Tensor, node: Any) -> int:
    """The node's place among the graph's nodes in order of the forward pass."""
    return next((k for k, other in enumerate(_in_order(root)) if other is node), -1)


def node_at(root: Tensor, place: int, name: str | None) -> Any:
    """The node at this place of another graph, if it is the same operation there."""
    nodes = _in_order(root)
    return nodes[place] if 0 <= place < len(nodes) and name_of(nodes[place]) == name else None


def _in_order(root: Tensor) -> list[Any]:
    """The graph's operations, first executed first."""
    queue, seen = [root.grad_fn], {root.grad_fn}
    for node in queue:
        if node is None or len(queue) > _NODES:
            break
        for parent, _ in node.next_functions:
            if parent is not None and parent not in seen and not hasattr(parent, "variable"):
                seen.add(parent)
                queue.append(parent)
    return sorted((node for node in queue if node is not None), key=lambda node: node._sequence_nr())


def name_of(node: Any) -> str | None:
    """`LogBackward0` is called Log."""
    return node.name().rpartition("Backward")[0] or node.name() if node is not None else None


def _parameters(node: Any) -> Iterator[Tensor]:
    """The leaves that go straight into an operation, or into it transposed."""
    for parent, _ in node.next_functions:
        leaf = getattr(parent, "variable", None)
        if isinstance(leaf, Tensor):
            yield leaf


def _nearest_parameters(node: Any) -> list[Tensor]:
    """The parameters of the layer that an operation comes after, or is part of."""
    level, seen = [node], {node}
    while level and len(seen) < _NODES:
        found = [leaf for one in level for leaf in _parameters(one)]
        if found:
            return found
        parents = [parent for one in level for parent, _ in one.next_functions]
        level = [parent for parent in dict.fromkeys(parents) if parent is not None and parent not in seen]
        seen.update(level)
    return []


def _judge(node: Any) -> tuple[dict[str, Any], Any]:
    """What is wrong at this operation, if anything, and which one is to blame: itself or the one before."""
    name = name_of(node) or ""
    operands = {attribute: saved for attribute in _OPERANDS if (saved := _saved(node, attribute)) is not None}
    for attribute, values in operands.items():
        if not _is_finite(values, name.startswith(_MASKED)):
            parent = _maker(node, attribute)
            if parent is None:
                return {"cause": "input", "operation": name, "operand": attribute.removeprefix("_saved_")}, node
            return {"cause": "operation", "operation": name_of(parent), **_range_before(parent)}, parent
    for attribute, values in operands.items():
        if _breaks(name, attribute, values, node):
            return {"cause": "operation", "operation": name, **_range(attribute, values)}, node
    for attribute in _RESULTS:
        result = _saved(node, attribute)
        if result is not None and not _is_finite(result, name.startswith(_MASKED)):
            guilty = node
            if not name.startswith(_MAKERS):
                guilty = next((p for p, _ in node.next_functions if p is not None), node)
            return {"cause": "operation", "operation": name_of(guilty), **_range_before(guilty)}, guilty
    return {}, None


def _maker(node: Any, attribute: str) -> Any:
    """The operation that an operand is the result of; None for data and parameters, which no operation made."""
    place = _EDGES.get(attribute, 0) + (attribute == "_saved_mat2" and node.name().startswith("Addmm"))
    parent = node.next_functions[place][0] if place < len(node.next_functions) else None
    return None if attribute == "_saved_target" or hasattr(parent, "variable") else parent


def _saved(node: Any, attribute: str) -> Tensor | None:
    """What autograd kept; None also where it was overwritten since, or has been freed."""
    kept = saved(node, attribute)
    return kept.detach() if kept is not None and is_plain(kept) else None


def _is_finite(values: Tensor, masked: bool = False) -> bool:
    if masked:
        return not bool((values.isnan() | (values == math.inf)).any())
    return bool(torch.isfinite(values).all())


def _range(attribute: str, values: Tensor) -> dict[str, Any]:
    low, high = (end.item() for end in torch.aminmax(values))
    return {"operand": attribute.removeprefix("_saved_"), "min": low, "max": high}


def _range_before(node: Any) -> dict[str, Any]:
    """The range of the first operand that was kept."""
    for attribute in _OPERANDS:
        values = _saved(node, attribute)
        if values is not None and _is_finite(values):
            return _range(attribute, values)
    return {}


def _breaks(name: str, attribute: str, values: Tensor, node: Any) -> bool:
    """Does this operation give NaN or infinity for one of these operands?"""
    if name in ("Log", "Log2", "Log10"):
        return bool((values <= 0).any())
    if name == "Log1P":
        return bool((values <= -1).any())
    if name == "Div":
        return attribute == "_saved_other" and bool((values == 0).any())
    if name == "Mul":
        other = _saved(node, "_saved_other")
        return attribute == "_saved_self" and other is not None and _peak(values) * _peak(other) > _LARGEST
    if name == "Pow":
        exponent = getattr(node, "_saved_exponent", None)
        if not isinstance(exponent, int | float) or attribute != "_saved_self":
            return False
        negative_root = exponent != int(exponent) and bool((values < 0).any())
        return negative_root or bool(exponent > 0 and _peak(values) > math.pow(_LARGEST, 1 / exponent))
    if name == "MseLoss" and attribute == "_saved_self":
        return _peak(values) > math.sqrt(_LARGEST / values.numel())
    return False


def _peak(values: Tensor) -> float:
    return float(values.abs().max())


def _has_steep_slope(node: Any) -> bool:
    name = name_of(node) or ""
    if name == "Pow":
        exponent = getattr(node, "_saved_exponent", 1)
        return isinstance(exponent, int | float) and exponent < 1
    return name.startswith(_STEEP)


def _is_touchy(node: Any) -> bool:
    return name_of(node) in _TOUCHY
