"""How many findings over public repositories are true, by the word of people who did not write the rules.

`judgements.json` holds, for every error and warning over the repositories of `corpus.json`, what a reader of the code
decided and why: *true*, *false*, *pedantic* (so, but without a consequence) or *doubtful*. With folders, the check is
run on them again: what is still told is counted, and what nobody has judged yet is listed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from publish import HERE, publish

JUDGED = HERE / "judgements.json"
SEVERITIES = ("error", "warning")


class Place(NamedTuple):
    """Where a finding stands: repository, path in it, line (of a notebook: all its code counted as one), and code."""

    repository: str
    path: str
    line: int
    code: str


def told(folders: Iterable[Path]) -> Iterator[tuple[Place, str, str]]:
    """Every error and warning of the check over folders named owner+repository, with severity and message."""
    from torchdx.exam.memory import Memory
    from torchdx.exam.whole import examined
    from torchdx.source import Program

    for folder in folders:
        home = folder.absolute()
        for finding in examined(Program.read([home]), Memory(None)).diagnosis.all_findings():
            site, severity = finding.site, finding.severity
            if site is not None and severity in SEVERITIES:
                path = Path(site.path).relative_to(home).as_posix()
                place = Place(home.name.replace("+", "/"), path, site.line, finding.code)
                yield place, str(severity), finding.message


def judged() -> dict[Place, dict[str, Any]]:
    """What was decided, by place."""
    return {Place(**{key: row[key] for key in Place._fields}): row for row in json.loads(JUDGED.read_text())}


def table(decided: Iterable[tuple[str, str]]) -> list[list[str]]:
    """One row a severity: how many were judged how, and the share that is true."""
    counts = Counter(decided)
    rows = []
    for severity in SEVERITIES:
        row = [counts[severity, verdict] for verdict in ("true", "pedantic", "doubtful", "false")]
        share = f"{100 * row[0] / sum(row):.1f} %" if sum(row) else "-"
        rows.append([severity, *map(str, row), share])
    return rows


def main() -> None:
    """Count, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="check these again: folders named owner+repository")
    options = parser.parse_args()
    known = judged()
    header = ["", "true", "pedantic", "doubtful", "false", "share true"]
    if not options.folders:
        publish("judgements", {}, header, table((row["severity"], row["verdict"]) for row in known.values()))
        return
    now = list(told(options.folders))
    new = [(place, severity, message) for place, severity, message in now if place not in known]
    for place, severity, message in new:
        print(f"not judged: {severity} {place.code} {place.repository}/{place.path}:{place.line}: {message}")
    rows = table((severity, known[place]["verdict"]) for place, severity, _ in now if place in known)
    publish("judgements", {"told": len(now), "not judged": len(new)}, header, rows)


if __name__ == "__main__":
    main()
