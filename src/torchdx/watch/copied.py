"""Which columns of a table of inputs are, but for scale and offset, columns of the targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EXACT = 1e-8
"""One minus the squared correlation, up to which two columns are the same: float32 leaves 1e-11 and less."""

FEWEST = 4
"""Rows in which both columns must differ from their commonest value, so that flags are not alike by chance."""

MOST = 256
"""Columns of a table that is looked at."""


def copied(inputs: Sequence[Tensor], targets: Tensor) -> set[tuple[int, int]] | None:
    """Pairs of an input's column and a target's that rise and fall together; None if there is no table of numbers."""
    tables = [one for one in inputs if one.dim() == 2 and one.is_floating_point() and 3 <= one.shape[1] <= MOST]
    if len(tables) != 1 or len(targets) < 2 * FEWEST:
        return None
    one, other = (_standard(rows.detach().double()) for rows in (tables[0], targets))
    alike = (one.T @ other).square() > 1 - EXACT
    return {(int(column), int(target)) for column, target in alike.nonzero().tolist()}


def _standard(rows: Tensor) -> Tensor:
    """Columns of mean zero and length one; of zeros where a column says too little."""
    rows = rows - rows.mean(0)
    common = (rows == rows.mode(0).values).sum(0)
    lengths = rows.norm(dim=0)
    told = (len(rows) - common >= FEWEST) & (lengths > 0) & lengths.isfinite()
    return torch.where(told, rows / lengths.clamp(min=1e-30), torch.zeros_like(rows))
