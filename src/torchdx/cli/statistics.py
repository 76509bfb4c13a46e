"""`torchdx check --statistics`: how much of what, rather than each finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torchdx.finding import SEVERITIES, Diagnosis


def statistics(diagnosis: Diagnosis, files: int, seconds: float) -> str:
    """How many findings of each rule and severity, in how many files, and how long it took."""
    return "".join(f"{line}\n" for line in _lines(diagnosis, files, seconds))


def _lines(diagnosis: Diagnosis, files: int, seconds: float) -> Iterator[str]:
    found = list(diagnosis.all_findings())
    rules = Counter((finding.code, finding.rule, finding.severity or "warning") for finding in found)
    width = max((len(str(count)) for count in rules.values()), default=1)
    ordered = sorted(rules.items(), key=lambda pair: (SEVERITIES.index(pair[0][2]), -pair[1], pair[0]))
    for (code, rule, severity), count in ordered:
        yield f"{count:>{width}}  {severity:<7}  {code}  {rule}"
    if rules:
        yield ""
    severities = Counter(finding.severity or "warning" for finding in found)
    told = ", ".join(_counted(severities[level], level) for level in SEVERITIES if severities[level])
    at = len({finding.site.path for finding in found if finding.site})
    yield f"{_counted(len(found), 'finding')}{told and f': {told}'}"
    yield f"{_counted(files, 'file')} read, {at} with findings, {seconds:.2f} s"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
