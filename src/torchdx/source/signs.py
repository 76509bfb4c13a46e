"""What a policy's loss is made of: log-probabilities, rewards, their products, each with the sign it enters with."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

What = Literal["log-probability", "reward", "product"]


class Part(NamedTuple):
    """A log-probability, a reward, or their product, the sign it enters with, and whether it is a mean of many.

    `cut` is a log-probability without a gradient, or its product.
    """

    what: What
    sign: int = 1
    averaged: bool = False
    product: ast.AST | None = None
    cut: bool = False


Held: TypeAlias = "frozenset[Part] | tuple[Held, ...]"
NONE: frozenset[Part] = frozenset()


def flat(held: Held) -> frozenset[Part]:
    """All of it together."""
    return held if isinstance(held, frozenset) else frozenset().union(*(flat(one) for one in held))


def turned(held: Held) -> Held:
    """With a minus before it."""
    if isinstance(held, tuple):
        return tuple(turned(one) for one in held)
    return frozenset(part._replace(sign=-part.sign) for part in held)


def severed(held: Held) -> Held:
    """Without a gradient."""
    if isinstance(held, tuple):
        return tuple(severed(one) for one in held)
    return frozenset(part._replace(cut=part.what != "reward") for part in held)


def union(several: Iterable[Held]) -> Held:
    """One or the other; tuples of one length part by part."""
    found = [one for one in several if flat(one)]
    tuples = [one for one in found if isinstance(one, tuple)]
    if tuples and len(tuples) == len(found) and len({len(one) for one in tuples}) == 1:
        return tuple(union(parts) for parts in zip(*tuples, strict=True))
    return frozenset().union(*(flat(one) for one in found))


def part_of(held: Held, place: int) -> Held:
    """What an unpacked part holds; of what is not known by its parts all, if it is all of one kind."""
    if isinstance(held, tuple):
        return held[place] if place < len(held) else NONE
    return held if len({part.what for part in held}) == 1 else NONE


def unpacked(target: ast.expr, held: Held) -> Iterator[tuple[str, Held]]:
    if isinstance(target, ast.Name):
        yield target.id, held
    elif isinstance(target, (ast.Tuple, ast.List)):
        for place, one in enumerate(target.elts):
            yield from unpacked(one, part_of(held, place))


def joined(operator: ast.operator, left: Held, right: Held, node: ast.AST) -> Held:
    one, other = flat(left), flat(right)
    if isinstance(operator, ast.Add):
        return one | other
    if isinstance(operator, ast.Sub):
        return _difference(one, other)
    if isinstance(operator, ast.Div):
        return left
    if not isinstance(operator, (ast.Mult, ast.MatMult)):
        return NONE
    if not one or not other:
        return left if one else right
    found = {part for part in one | other if part.what == "product"}
    for a in one:
        found |= {Part("product", a.sign * b.sign, False, node, a.cut or b.cut) for b in other if _is_pair(a, b)}
    if found:
        return frozenset(found)
    kinds = {part.what for part in one | other}
    return one if kinds == {"reward"} else NONE


def _is_pair(one: Part, other: Part) -> bool:
    return {one.what, other.what} == {"log-probability", "reward"}


def _difference(one: frozenset[Part], other: frozenset[Part]) -> frozenset[Part]:
    """One minus the other: the part of a sample, where the other is a mean of many; an old log-probability is fixed."""
    gains = [{part for part in side if part.what == "reward"} for side in (one, other)]
    rest = frozenset(part for part in one if part.what != "reward")
    if not any(part.what == "log-probability" for part in one):
        rest |= flat(turned(frozenset(part for part in other if part.what != "reward" and not part.cut)))
    else:
        rest |= flat(turned(frozenset(part for part in other if part.what == "product")))
    averaged = [bool(side) and all(part.averaged for part in side) for side in gains]
    if all(gains) and averaged[0] != averaged[1]:
        return rest | (flat(turned(frozenset(gains[1]))) if averaged[0] else frozenset(gains[0]))
    return rest | frozenset(gains[0]) | flat(turned(frozenset(gains[1])))


def averaged(held: Held) -> Held:
    if isinstance(held, tuple):
        return tuple(averaged(one) for one in held)
    return frozenset(part._replace(averaged=part.what == "reward") for part in held)
