"""Where a program makes its optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.values import SCHEDULERS

if TYPE_CHECKING:
    from torchdx.source.expressions import Call
    from torchdx.source.program import Program


def optimizers(program: Program) -> Iterator[Call]:
    """Every call that makes an optimizer of torch's."""
    for call in program.calls_named(*{word for word in program.called_words if word[:1].isupper()}):
        if call.name.startswith("torch.optim.") and not call.name.startswith(SCHEDULERS):
            yield call
