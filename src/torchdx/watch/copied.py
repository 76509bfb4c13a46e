"""Which columns of a table of inputs are, but for their scale, columns of the targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EXACT = 1e-8
"""One minus the squared correlation, up to which two columns are the same: float32 leaves 1e-11 and less."""

FEWEST = 4
"""Rows in which both columns must differ from their commonest value, so that flags are not alike by chance."""

VARIED = 24
"""Different values of a column from which it can be told that it rises, or falls, wherever another one rises."""

MOST = 256
"""Columns of a table that is looked at."""


def copied(inputs: Sequence[Tensor], targets: Tensor) -> set[tuple[int, int]] | None:
    """Pairs of an input's column and a target's that rise and fall together; None if there is no table of numbers."""
    tables = [one for one in inputs if one.dim() == 2 and one.is_floating_point() and 3 <= one.shape[1] <= MOST]
    if len(tables) != 1 or len(targets) < 2 * FEWEST:
        return None
    one, other = (_standard(rows.detach().double()) for rows in (tables[0], targets))
    alike = (one.T @ other).square() > 1 - EXACT
    alike |= _rising(tables[0].detach().double(), targets.detach().double())
    return {(int(column), int(target)) for column, target in alike.nonzero().tolist()}


def _rising(inputs: Tensor, targets: Tensor) -> Tensor:
    """Which columns never fall, or never rise, where a target rises: it was put on another scale, as by a logarithm."""
    found = torch.zeros(inputs.shape[1], targets.shape[1], dtype=torch.bool)
    varied = torch.tensor([len(column.unique()) >= VARIED for column in inputs.T])
    for place, target in enumerate(targets.T):
        if len(target.unique()) >= VARIED and bool(varied.any()):
            steps = inputs[target.argsort(stable=True)].diff(dim=0)
            steps = steps[target.sort(stable=True).values.diff() > 0]
            found[:, place] = varied & ((steps >= 0).all(0) | (steps <= 0).all(0))
    return found


def _standard(rows: Tensor) -> Tensor:
    """Columns of mean zero and length one; of zeros where a column says too little."""
    rows = rows - rows.mean(0)
    common = (rows == rows.mode(0).values).sum(0)
    lengths = rows.norm(dim=0)
    told = (len(rows) - common >= FEWEST) & (lengths > 0) & lengths.isfinite()
    return torch.where(told, rows / lengths.clamp(min=1e-30), torch.zeros_like(rows))
