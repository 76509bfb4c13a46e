"""Measures of many samples: one function for each kind of fact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchdx.watch.audit.measures.asked_again import clones, repeat, timing
from torchdx.watch.audit.measures.between import overlap, scaled, shift
from torchdx.watch.audit.measures.closeness import neighbours
from torchdx.watch.audit.measures.scales import mixture
from torchdx.watch.audit.measures.sheet import sheet
from torchdx.watch.audit.measures.tables import columns, nonfinite
from torchdx.watch.audit.measures.targets import labels
from torchdx.watch.audit.measures.texts import tokens
from torchdx.watch.audit.pool import Pool
from torchdx.watch.audit.subjects import Subject

Told = dict[str, Any] | None

OF_ONE: Mapping[str, Callable[[Pool, Subject], Told]] = {
    "labels": labels,
    "columns": columns,
    "nonfinite": nonfinite,
    "mixture": mixture,
    "tokens": tokens,
    "neighbours": neighbours,
    "repeat": repeat,
    "clones": clones,
    "timing": timing,
    "sheet": sheet,
}
"""Measures of one pipeline; None where it cannot be measured there."""

OF_TWO: Mapping[str, Callable[[Pool, Pool], Told]] = {"overlap": overlap, "shift": shift}
"""Measures between what is trained on and what is evaluated on."""

OF_ALL: Mapping[str, Callable[[Pool, Sequence[Pool]], Told]] = {"scaled": scaled}
"""Measures between what is trained on and all that is evaluated on."""
