"""Whether the targets of a regression lie where its last activation can reach them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from torchdx.watch.lineage import VIEWS
from torchdx.watch.tensors import saved

BOUNDS = {
    "ReluBackward0": ("relu", 0.0, math.inf),
    "SigmoidBackward0": ("sigmoid", 0.0, 1.0),
    "TanhBackward0": ("tanh", -1.0, 1.0),
    "SoftmaxBackward0": ("softmax", 0.0, 1.0),
    "LogSoftmaxBackward0": ("log_softmax", -math.inf, 0.0),
    "LogSigmoidBackward0": ("logsigmoid", -math.inf, 0.0),
    "SoftplusBackward0": ("softplus", 0.0, math.inf),
    "ExpBackward0": ("exp", 0.0, math.inf),
    "SqrtBackward0": ("sqrt", 0.0, math.inf),
    "GeluBackward0": ("gelu", -0.17, math.inf),
    "SiluBackward0": ("silu", -0.28, math.inf),
    "HardsigmoidBackward0": ("hardsigmoid", 0.0, 1.0),
    "HardtanhBackward0": ("hardtanh", -1.0, 1.0),
    "ClampBackward1": ("clamp", -math.inf, math.inf),
    "ClampMinBackward0": ("clamp", -math.inf, math.inf),
    "ClampMaxBackward0": ("clamp", -math.inf, math.inf),
}
"""Operations of autograd, and between what their results lie; of the last four, if they say nothing else."""
_AGAIN: Mapping[str, Callable[[Tensor], Tensor]] = {
    "SoftplusBackward0": functional.softplus,
    "LogSigmoidBackward0": functional.logsigmoid,
    "GeluBackward0": functional.gelu,
    "SiluBackward0": functional.silu,
    "HardsigmoidBackward0": functional.hardsigmoid,
}
"""Those that keep not their result, but what it is made of."""
_WITH_TARGET = ("MseLossBackward0", "SmoothL1LossBackward0", "HuberLossBackward0")
_PASSES = ("Mean", "Sum", "Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "ToCopy", *VIEWS)
_TAKES = ("Select", "Slice", "Transpose", "Permute", "Gather", "Index", "Split", "Unbind")
"""Operations that only choose among values, or lay them out otherwise."""
_BETWEEN = ("AvgPool", "MaxPool", "AdaptiveAvgPool", "MkldnnMaxPool", "UpsampleNearest", "UpsampleBilinear")
"""Those whose results lie between the least and the greatest of what they read."""
_SHIFTS_AND_SCALES = (*VIEWS, "Select", "Slice", "Add", "Sub", "Rsub", "Neg", "MulBackward0", "DivBackward0")
_MOST = 64
_LARGEST = 200_000
_SLACK = 0.02
"""Share of the targets' deviation by which one may lie beyond: rounding, and ends that a scaler has fitted."""


def beyond(root: Any) -> Iterator[tuple[Any, str, float, float, float]]:
    """Of each regression in a loss: its last activation's node, its name and bounds, and the share of targets beyond.

    The targets are what a loss function keeps. Where an activation's result is shifted or scaled before it is compared,
    as in a residual that is added to what is known, or where only errors are kept, they are what the activation would
    have to give: its result, less the error on its scale.
    """
    for node in errors(root):
        for pred, goal in sides(node):
            ending = _ending(pred, (*VIEWS, *_TAKES, *_BETWEEN))
            wanted = _targets(node, goal) if ending.name() in BOUNDS else None
            if wanted is None:
                ending, factors, shifted = _unscaled(pred)
                fits = ending.name() in BOUNDS and not (shifted and _may_be_a_step(node, ending))
                wanted = _wanted(node, goal, ending, factors) if fits else None
            if wanted is not None and wanted.numel() > 1:
                low, high = _bounds(ending)
                if math.isfinite(low) or math.isfinite(high):
                    yield ending, BOUNDS[ending.name()][0], low, high, share_beyond(wanted, low, high)


def silenced(node: Any) -> float | None:
    """The share of results on an activation's lower bound, the only one it has, where it hands no gradient on.

    None where the results are not at hand.
    """
    low, high = _bounds(node)
    result = _result(node) if node.name().startswith(("Relu", "Clamp")) and math.isinf(high) else None
    return float((result <= low).float().mean()) if result is not None and result.numel() else None


def _bounds(node: Any) -> tuple[float, float]:
    """Between what the results of this operation lie."""
    _, low, high = BOUNDS[node.name()]
    told = [getattr(node, name, None) for name in ("_saved_min", "_saved_min_val", "_saved_max", "_saved_max_val")]
    least, most = next((n for n in told[:2] if n is not None), low), next((n for n in told[2:] if n is not None), high)
    return float(least), float(most)


def errors(root: Any) -> Iterator[Any]:
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


def sides(node: Any) -> Iterator[tuple[Any, int]]:
    """What of the two compared has a graph, if only one has, and the place of the other."""
    edges = (node if node.name() in _WITH_TARGET else difference(node)).next_functions
    both = [edge[0] for edge in edges[:2]]
    if len(both) == 2 and sum(one is not None for one in both) == 1:
        yield (both[0], 1) if both[0] is not None else (both[1], 0)


def _ending(node: Any, through: tuple[str, ...]) -> Any:
    """What made it, seen through operations of these names."""
    while node.name().startswith(through) and len(node.next_functions) >= 1 and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def ends_in(node: Any) -> Any:
    """What made it, seen through what only lays it out otherwise."""
    return _ending(node, (*VIEWS, "Transpose", "Permute"))


def _unscaled(node: Any) -> tuple[Any, list[Tensor | float], bool]:
    """What constants scale and shift to make it, seen through what reshapes; the factors; and was it shifted?"""
    factors: list[Tensor | float] = []
    shifted = False
    for _ in range(_MOST):
        name, edges = node.name(), [parent for parent, _ in node.next_functions]
        above = [parent for parent in edges if parent is not None]
        if name in BOUNDS or len(above) != 1 or not name.startswith(_SHIFTS_AND_SCALES):
            break
        second, shifted = edges[0] is None, shifted or name.startswith(("Add", "Sub", "Rsub"))
        if name.startswith(("Sub", "Add")) and second:
            factors.append(float(node._saved_alpha) * (-1 if name.startswith("Sub") else 1))
        elif name.startswith(("Neg", "Rsub")):
            factors.append(-1.0)
        elif name.startswith(("Mul", "Div")):
            factor = _factor(saved(node, "_saved_self" if second else "_saved_other"))
            if factor is None or (name.startswith("Div") and (second or (isinstance(factor, float) and not factor))):
                break
            factors.append(1 / factor if name.startswith("Div") else factor)
        node = above[0]
    return node, factors, shifted


def _factor(by: Tensor | None) -> Tensor | float | None:
    return float(by) if by is not None and by.dim() == 0 and by.device.type == "cpu" else _usable(by)


def _may_be_a_step(node: Any, ending: Any) -> bool:
    """Is what is added perhaps made of the result, as in a straight-through estimate, or its size limited on purpose?

    What is added is not kept. A straight-through estimate is told by the few values that it has.
    """
    pred = _usable(saved(node, "_saved_self")) if node.name() in _WITH_TARGET else None
    if pred is None or ending.name().startswith(("Tanh", "Hardtanh", "Clamp")):
        return True
    return 2 * len(pred.unique()) <= pred.numel()


def _targets(node: Any, goal: int) -> Tensor | None:
    """The targets that a loss function keeps."""
    if node.name() not in _WITH_TARGET:
        return None
    return _usable(saved(node, "_saved_target" if goal == 1 else "_saved_self"))


def _wanted(node: Any, goal: int, ending: Any, factors: Sequence[Tensor | float]) -> Tensor | None:
    """What an activation would have to give for errors of zero."""
    if node.name() in _WITH_TARGET:
        pred, target = (_usable(saved(node, name)) for name in ("_saved_self", "_saved_target"))
        error = pred - target if pred is not None and target is not None and pred.shape == target.shape else None
    else:
        error = _usable(saved(node, "_saved_self")) if difference(node)._saved_alpha == 1 else None
    result = _result(ending)
    if error is None or result is None or error.numel() != result.numel():
        return None
    error = error if goal == 1 else -error
    for factor in factors:
        if isinstance(factor, Tensor) and factor.numel() > 1 and factor.shape != error.shape:
            return None
        error = error / factor
    wanted = result.reshape(error.shape) - error
    return wanted[wanted.isfinite()]


def _result(node: Any) -> Tensor | None:
    """What this operation gave."""
    result = _usable(saved(node, "_saved_result"))
    given = _usable(saved(node, "_saved_self")) if result is None else None
    if given is None:
        return result
    if node.name() in _AGAIN:
        return _AGAIN[node.name()](given)
    return given.clamp(*_bounds(node)) if node.name().startswith(("Clamp", "Hardtanh")) else None


def _usable(values: Tensor | None) -> Tensor | None:
    if values is None or values.device.type != "cpu" or not values.is_floating_point() or values.numel() > _LARGEST:
        return None
    return values.detach()


def share_beyond(targets: Tensor, low: float, high: float) -> float:
    """The share of the targets that lie clearly outside."""
    slack = _SLACK * float(targets.std(correction=0)) + 1e-6
    return float(((targets < low - slack) | (targets > high + slack)).float().mean())
