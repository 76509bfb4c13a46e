"""Clipped gradients, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchdx.record import Record


@dataclass(frozen=True)
class Clip:
    """The severest clipping before one step of an optimizer.

    `before` and `backwards` count the backward passes that came before the clipping and before the step. `scale` is
    what a gradient scaler had multiplied the gradients by and had not yet taken off; 1 if nothing. `left` is the
    gradients' norm as the optimizer got them, where that was looked at. `norm` is NaN where values were clipped.
    """

    step: int
    optimizer: int
    norm: float
    bound: float
    before: int
    backwards: int
    scale: float
    cleared: bool | None
    left: float | None

    @property
    def times(self) -> float:
        """By what the gradients were divided; below 1 where the bound did not bite, infinite where nothing was left."""
        if self.bound == 0 and self.norm > 0:
            return float("inf")
        return self.norm / self.bound if self.bound > 0 else float("nan")


def clips_of(record: Record) -> Sequence[Clip]:
    """Every clipping told of, in a program whose steps an optimizer takes."""
    if all(optimizer.is_by_hand for optimizer in record.optimizers):
        return ()
    left = {fact["step"]: fact["norm"] for fact in record.process.all("gradients")}
    return [
        Clip(
            step=fact["n"],
            optimizer=fact.get("optimizer", 0),
            norm=fact["clip"][0],
            bound=fact["clip"][1],
            before=fact["clip"][2],
            backwards=fact.get("backwards", 0),
            scale=fact["clip"][3],
            cleared=fact.get("cleared"),
            left=left.get(fact["n"]),
        )
        for fact in record.process.all("step")
        if fact.get("clip") and len(fact["clip"]) == 4
    ]
