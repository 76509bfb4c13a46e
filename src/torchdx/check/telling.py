"""What is told of a diagnosis: all but what comments silence and settings leave out."""

from __future__ import annotations

from collections.abc import Iterable

from torchdx.check.settings import Configuration
from torchdx.check.sifting import sifted
from torchdx.check.silence import quieted
from torchdx.finding import Diagnosis
from torchdx.record import Record
from torchdx.source import SourceFile


def told(
    diagnosis: Diagnosis,
    files: Iterable[SourceFile],
    configuration: Configuration,
    record: Record | None = None,
    *,
    audit: bool = False,
) -> Diagnosis:
    """The diagnosis as it is told; with `audit`, together with what is wrong with the comments themselves."""
    return sifted(quieted(diagnosis, files, record, audit=audit), configuration.judged, record)
