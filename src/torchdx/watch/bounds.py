"""Whether the targets of a regression lie where its last activation can reach them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from torchdx.watch.lineage import VIEWS
from torchdx.watch.tensors import saved

BOUNDS = {
    "ReluBackward0": ("relu", 0.0, math.inf),
    "SigmoidBackward0": ("sigmoid", 0.0, 1.0),
    "TanhBackward0": ("tanh", -1.0, 1.0),
    "SoftmaxBackward0": ("softmax", 0.0, 1.0),
    "SoftplusBackward0": ("softplus", 0.0, math.inf),
    "ExpBackward0": ("exp", 0.0, math.inf),
    "GeluBackward0": ("gelu", -0.17, math.inf),
    "SiluBackward0": ("silu", -0.28, math.inf),
}
_WITH_TARGET = ("MseLossBackward0", "SmoothL1LossBackward0", "HuberLossBackward0")
_PASSES = ("Mean", "Sum", "Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "ToCopy", *VIEWS)
_MOST = 64
_LARGEST = 200_000
_SLACK = 0.02
"""Share of the targets' deviation by which one may lie beyond: rounding, and ends that a scaler has fitted."""


def beyond(root: Any) -> Iterator[tuple[Any, str, float, float, float]]:
    """Of each regression in a loss: its last activation's node, its name and bounds, and the share of targets beyond.

    The targets are what a loss function keeps; of a difference that is squared, or taken without its sign, what is
    left when it is taken from the activation's own result.
    """
    for node in _errors(root):
        for pred, goal in _sides(node):
            ending = _ending(pred)
            bounds = BOUNDS.get(ending.name()) if ending is not None else None
            targets = _targets(node, pred, goal, ending) if bounds is not None else None
            if bounds is not None and targets is not None and targets.numel() > 1:
                name, low, high = bounds
                yield ending, name, low, high, _share(targets, low, high)


def _errors(root: Any) -> Iterator[Any]:
    """The nodes at which a loss takes errors, met on the way back from it through sums and means."""
    queue, seen = [root], {root}
    for node in queue:
        if len(queue) > _MOST:
            return
        if node.name() in _WITH_TARGET or difference(node) is not None:
            yield node
        elif node.name().startswith(_PASSES):
            parents = [parent for parent, _ in node.next_functions if parent is not None and parent not in seen]
            seen.update(parents)
            queue += parents


def difference(node: Any) -> Any:
    """The subtraction whose result is squared here, or stripped of its sign."""
    name, below = node.name(), [parent for parent, _ in node.next_functions]
    squares = name == "PowBackward0" and node._saved_exponent == 2
    twice = name == "MulBackward0" and len(below) == 2 and node.next_functions[0] == node.next_functions[1]
    if not (squares or twice or name == "AbsBackward0") or below[0] is None:
        return None
    return below[0] if below[0].name() == "SubBackward0" else None


def _sides(node: Any) -> Iterator[tuple[Any, int]]:
    """What of the two compared has a graph, if only one has, and the place of the other."""
    edges = (node if node.name() in _WITH_TARGET else difference(node)).next_functions
    both = [edge[0] for edge in edges[:2]]
    if len(both) == 2 and sum(one is not None for one in both) == 1:
        yield (both[0], 1) if both[0] is not None else (both[1], 0)


def _ending(node: Any, through: tuple[str, ...] = (*VIEWS, "Select", "Slice", "Transpose", "Permute")) -> Any:
    """What made it, seen through what only reshapes, or takes a part."""
    while node.name().startswith(through) and len(node.next_functions) == 1 and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def _targets(node: Any, pred: Any, goal: int, ending: Any) -> Tensor | None:
    if node.name() in _WITH_TARGET:
        return _usable(saved(node, "_saved_target" if goal == 1 else "_saved_self"))
    error, result = _usable(saved(node, "_saved_self")), _usable(saved(ending, "_saved_result"))
    if error is None or result is None or error.numel() != result.numel() or _ending(pred, VIEWS) is not ending:
        return None
    subtraction = difference(node)
    if subtraction._saved_alpha != 1:
        return None
    return result.reshape(error.shape) - error if goal == 1 else result.reshape(error.shape) + error


def _usable(values: Tensor | None) -> Tensor | None:
    if values is None or values.device.type != "cpu" or not values.is_floating_point() or values.numel() > _LARGEST:
        return None
    return values.detach()


def _share(targets: Tensor, low: float, high: float) -> float:
    """The share of the targets that lie clearly outside."""
    slack = _SLACK * float(targets.std(correction=0)) + 1e-6
    return float(((targets < low - slack) | (targets > high + slack)).float().mean())
