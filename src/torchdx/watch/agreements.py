"""The overlap of answers with what is right, as of masks: what both hold, over what each holds (Dice, Jaccard)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torchdx.watch.lineage import VIEWS
from torchdx.watch.penalties import terms_of
from torchdx.watch.tensors import saved

_NODES = 32
_SUMMED = ("SumBackward", "MeanBackward", "PowBackward0", "Clamp")
"""What the sums over places are made by; some take those of squares below."""


def is_overlap(ratio: Any) -> bool:
    """Is it what answers and targets have in common, over what both have: 1 where they are the same, and else less?

    Told from a weighted mean, which has nothing but the weights below, by the two in front, as in Dice's coefficient,
    by what both hold being taken from what each holds, as in Jaccard's, or being there beside what one holds alone, as
    in Tversky's.
    """
    if ratio.name() != "DivBackward0" or any(node is None for node, _ in ratio.next_functions):
        return False
    (above, _), (below, _) = ratio.next_functions
    parts = list(_summed(below))
    for product, factor in _summed(above):
        answers = _met_by_targets(product)
        if answers is None:
            continue
        whole = any(node is answers and one > 0 for node, one in parts)
        twice = factor == 2 and not any(node is product for node, _ in parts)
        less = factor == 1 and any(node is product and one < 0 for node, one in parts)
        beside = any(node is product and one == factor > 0 for node, one in parts)
        alone = beside and any(node is not product and _met_by_targets(node) is answers for node, _ in parts)
        if alone or (whole and (twice or less)):
            return True
    return False


def _met_by_targets(product: Any) -> Any:
    """The answers, where they are multiplied with as many numbers that are not computed from weights."""
    if product.name() != "MulBackward0":
        return None
    sides = [node for node, _ in product.next_functions]
    if (sides[0] is None) == (sides[1] is None):
        return None
    other = saved(product, "_saved_other" if sides[1] is None else "_saved_self")
    if other is None or other.numel() <= 1:
        return None
    node = next(node for node in sides if node is not None)
    while node.name().startswith(VIEWS) and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def _summed(root: Any) -> Iterator[tuple[Any, float]]:
    """What a sum is of, below the sums over places and changes of shape, and the factor of each."""
    ahead, seen = [(root, 1.0)], 0
    while ahead and seen < _NODES:
        node, factor = ahead.pop()
        seen += 1
        yield node, factor
        inner = terms_of(node, factor)
        if inner is not None:
            ahead += inner
        elif (node.name().startswith((*_SUMMED, *VIEWS)) or _is_square(node)) and node.next_functions[0][0] is not None:
            ahead.append((node.next_functions[0][0], factor))


def _is_square(node: Any) -> bool:
    return bool(node.name() == "MulBackward0" and node.next_functions[0] == node.next_functions[1])
