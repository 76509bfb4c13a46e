"""Questions that a value passes on to the values inside it: each is asked once, and neither too many nor too deep.

`x = x + x`, written forty times, is a value with two ways to each value inside it: a million million to the innermost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import local
from typing import Any, Generic, TypeVar

from torchdx.source.values import Value

Answer = TypeVar("Answer")
MOST, DEEPEST = 400, 40
"""Values that one question is passed on to in all, and one inside the other."""


class Walk(local, Generic[Answer]):
    """A recursive question about a value that remembers its answers until the first one is found."""

    def __init__(self, ask: Callable[[Value], Answer], otherwise: Answer) -> None:
        self.ask, self.otherwise = ask, otherwise
        self.known: dict[int, tuple[Value, Answer]] = {}
        self.depth = 0

    def __call__(self, value: Value) -> Answer:
        """The answer; `otherwise` for what is too far away, or asks for its own answer."""
        known = self.known.get(id(value))
        if known is not None:
            return known[1]
        if self.depth >= DEEPEST or len(self.known) >= MOST:
            return self.otherwise
        self.known[id(value)] = value, self.otherwise
        self.depth += 1
        try:
            answer = self.ask(value)
        finally:
            self.depth -= 1
            if not self.depth:
                self.known = {}
        if self.depth:
            self.known[id(value)] = value, answer
        return answer

    def apart(self, value: Value) -> Answer:
        """The answer to whoever asks while another value is looked for, which may be in the midst of the same walk."""
        before, self.known, self.depth = (self.known, self.depth), {}, 0
        try:
            return self(value)
        finally:
            self.known, self.depth = before


def walk(otherwise: Any) -> Callable[[Callable[[Value], Answer]], Walk[Answer]]:
    """Make a question remember its answers; `otherwise` is that of what is too far away."""
    return lambda ask: Walk(ask, otherwise)


def reached(value: Value, inside: Callable[[Value], Iterable[Value]], most: int = MOST) -> Iterator[Value]:
    """A value and all that is inside it, and inside that, the nearest first, each of them once."""
    queue, seen = [value], set[int]()
    for one in queue:
        if id(one) not in seen and len(seen) < most:
            seen.add(id(one))
            yield one
            queue += inside(one)
