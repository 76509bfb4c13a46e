"""Objectives that do nothing but pull vectors together, as an autograd graph tells."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdx.watch.lineage import VIEWS
from torchdx.watch.products import LARGEST, cosine, normalised, operands, product
from torchdx.watch.tensors import saved

_NODES = 200

_PARTS = ("T", "Transpose", "Permute", "MaskedFill", "MaskedSelect", "Index", "Slice", "Select", "Gather", "Expand")
SAME = tuple(f"{name}Backward" for name in (*VIEWS, *_PARTS, "Add", "Sub", "Diagonal", "Split", "Unbind"))
"""What leaves numbers as they are, but for shifts."""

_RISING = tuple(f"{name}Backward" for name in ("Exp", "Log", "LogSigmoid", "Sigmoid", "Softplus", "Sqrt", "Clamp"))
_NORMS = ("NormBackward", "LinalgVectorNormBackward")


def pulled(root: Any) -> list[float] | None:
    """How alike the vectors are of each term, if all that is minimised are products of such vectors, with a minus.

    Both sides are computed with a graph, and no factor is below zero: nothing pushes any two of them apart. Or all are
    squared differences of two such sides.
    """
    ahead, found, budget = [(root, 1)], [], _NODES
    while ahead:
        node, sign = ahead.pop()
        budget -= 1
        name, below = node.name(), [parent for parent, _ in node.next_functions]
        both = len(below) == 2 and None not in below
        if not budget:
            return None
        if (alike := _alike(node)) is not None and sign < 0:
            found.append(alike)
        elif (near := _drawn_near(node)) is not None and sign > 0:
            found.append(near)
        elif name in ("AddBackward0", "SubBackward0") and float(node._saved_alpha) > 0:
            signs = (sign, sign if name[0] == "A" else -sign)
            ahead += [(one, own) for one, own in zip(below, signs, strict=True) if one is not None]
        elif name in ("NegBackward0", "RsubBackward1", "RsubBackward0"):
            ahead += [(one, -sign) for one in below if one is not None]
        elif name in ("MulBackward0", "DivBackward0") and not both and (turn := _turn(node)) is not None:
            ahead += [(one, sign * turn) for one in below if one is not None and turn]
        elif name == "MulBackward0" and both and (scaled := _scaled(node)) is not None:
            ahead.append((scaled, sign))
        elif name.startswith("BinaryCrossEntropyWithLogits") and (turn := _wanted(node)):
            ahead.append((below[0], sign * turn))
        elif name.startswith(_RISING) and below[:1] != [None]:
            ahead.append((below[0], sign))
        elif name == "WhereBackward0" and (chosen := _chosen(node)) is not None:
            ahead += [(one, sign) for one in chosen if one is not None]
        elif name.startswith((*SAME, "Mean", "Sum", "Stack", "Cat")) and below and name[:3] not in ("Add", "Sub"):
            ahead += [(one, sign) for one in below if one is not None]
        else:
            return None
    return found or None


def _drawn_near(node: Any) -> float | None:
    """The same of vectors whose differences are squared, each of them computed with a graph."""
    square, pair = False, node
    for _ in range(3):  # a square, of a length, of what `pairwise_distance` adds a little to
        name, below = pair.name(), [made for made, _ in pair.next_functions]
        added = name == "AddBackward1" or (name == "AddBackward0" and below[1:] == [None])
        if below[:1] == [None] or not (name.startswith(_NORMS) or name == "PowBackward0" or (added and square)):
            break
        if name == "PowBackward0" and pair._saved_exponent != 2:
            return None
        square, pair = True, below[0]
    if pair.name() != ("SubBackward0" if square else "MseLossBackward0"):
        return None
    sides = [made for made, _ in pair.next_functions]
    if None in sides:
        return None
    vectors = [*map(normalised, sides)] if square else [saved(pair, "_saved_self"), saved(pair, "_saved_target")]
    known = [one for one in vectors if one is not None and one.dim() > 1 and one.shape[-1] > 1 < len(one)]
    if len(known) < 2 or any(one.device.type != "cpu" or one.numel() > LARGEST for one in known):
        return None
    return min(_likeness(one, -1) for one in known)


def _likeness(vectors: Tensor, axis: int) -> float:
    """The length of their mean, over their own."""
    rows = vectors.detach().float().movedim(axis, -1).reshape(-1, vectors.shape[axis])
    return float(rows.mean(0).norm() / rows.norm(dim=1).mean())


def _turn(node: Any) -> int | None:
    """The sign of the numbers that are multiplied with, or divided by: 0 if all are zero, None where they have both."""
    first = node.next_functions[0][0] is not None
    numbers = saved(node, "_saved_other" if first else "_saved_self")
    if numbers is None or numbers.device.type != "cpu" or not numbers.numel() or (node.name()[0] == "D" and not first):
        return None
    low, high = (float(end) for end in torch.aminmax(numbers.detach().float()))
    return int(high > 0) - int(low < 0) if low >= 0 or high <= 0 else None


def _scaled(node: Any) -> Any:
    """What is multiplied by one number above zero that is learnt, such as a temperature."""
    for attribute, other in (("_saved_self", 1), ("_saved_other", 0)):
        number = saved(node, attribute)
        if number is not None and number.numel() == 1 and number.device.type == "cpu" and float(number) > 0:
            return node.next_functions[other][0]
    return None


def _wanted(node: Any) -> int:
    """Is all that is classified to be told from nothing: -1 where each answer shall be yes, 1 where no; else 0."""
    target = saved(node, "_saved_target")
    if target is None or target.device.type != "cpu" or not target.numel():
        return 0
    return -1 if bool((target == 1).all()) else int(not bool(target.any()))


def _chosen(node: Any) -> list[Any] | None:
    """The side that is taken at every place; None where both are."""
    condition = saved(node, "_saved_condition")
    if condition is None or condition.device.type != "cpu" or not condition.numel():
        return None
    sides = [made for made, _ in node.next_functions]
    return sides[:1] if bool(condition.all()) else None if bool(condition.any()) else sides[1:]


def _alike(node: Any) -> float | None:
    """The length of the mean of the vectors that are multiplied, over their own, where both sides have a graph."""
    if product(node) is None and (node := cosine(node)) is None:
        return None
    means = []
    for vectors, axis, made in operands(node):
        if vectors is None or made is None:
            return None
        means.append(_likeness(vectors, axis))
    return min(means)
