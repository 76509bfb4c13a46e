"""How many findings over public repositories are true, by the word of readers who did not write the rules.

`verdicts.json` holds, for every error and warning that was ever judged, what a reader of the code decided and why:
*true*, *false*, *pedantic* (it is so, but without a consequence) or *doubtful*; with the severity it then had. Rules
were mended after that, so the check is run again on the folders given, and what is still told is counted beside.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from check import PEERS, Told, alone
from publish import HERE, publish

JUDGED = HERE / "verdicts.json"
SEVERITIES = ("error", "warning")
VERDICTS = ("true", "pedantic", "doubtful", "false")


class Place(NamedTuple):
    """Where a finding stands: repository, path in it, line (of a notebook: all its code counted as one), and code."""

    repository: str
    path: str
    line: int
    column: int
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
                place = Place(home.name.replace("+", "/"), path, site.line, site.column, finding.code)
                yield place, str(severity), finding.message


def judged() -> dict[Place, dict[str, Any]]:
    """What was decided, by place."""
    return {Place(**{key: row[key] for key in Place._fields}): row for row in json.loads(JUDGED.read_text())}


def table(title: str, decided: Iterable[tuple[str, str]]) -> list[list[str]]:
    """One row a severity: how many were judged how, and the share that is true."""
    counts = Counter(decided)
    rows = []
    for severity in SEVERITIES:
        row = [counts[severity, verdict] for verdict in VERDICTS]
        share = f"{100 * row[0] / sum(row):.1f} %" if sum(row) else "-"
        rows.append([f"{title}: {severity}s", *map(str, row), share])
    return rows


def defects(known: Mapping[Place, Mapping[str, Any]], now: Iterable[Place], peers: Path) -> None:
    """Write down the true ones of the corpus that are told now and that no peer has anything near to."""
    others = [Told(**each) for name in PEERS for each in json.loads(peers.read_text())[name]]
    true = {
        Told(place.repository, place.path, place.line, place.code): known[place]
        for place in now
        if place in known and known[place]["verdict"] == "true" and known[place]["set"] == "corpus"
    }
    keys = ("repository", "place", "code", "severity", "message", "reason")
    rows = [{key: true[told][key] for key in keys} for told in sorted(alone(true, others))]
    text = ",\n".join(" " + json.dumps(row, ensure_ascii=False) for row in rows)
    (HERE / "defects.json").write_text(f"[\n{text}\n]\n")
    print(f"{len(rows)} of {len(true)} true ones are known to no peer")


def main() -> None:
    """Count, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="repositories, in folders named owner+repository")
    parser.add_argument("--peers", type=Path, help="what bench/check.py --findings wrote: write defects.json, too")
    options = parser.parse_args()
    known = judged()
    rows, counts = [], {}
    sets = {row["repository"]: row["set"] for row in known.values()}
    now = list(told(folder for folder in options.folders if folder.is_dir()))
    new = [(place, severity, message) for place, severity, message in now if place not in known]
    for place, severity, message in new:
        print(f"not judged: {severity} {place.code} {place.repository}/{place.path}:{place.line}: {message}")
    for name in sorted(set(sets.values())):
        mine = [row for row in known.values() if row["set"] == name]
        rows += table(f"{name}, as first told", ((row["severity"], row["verdict"]) for row in mine))
        still = [(s, known[place]["verdict"]) for place, s, _ in now if place in known and known[place]["set"] == name]
        rows += table(f"{name}, now", still)
        counts[name] = {"judged": len(mine), "told now": len(still)}
    if options.peers:
        defects(known, [place for place, _, _ in now], options.peers)
    publish("judgements", {**counts, "not judged": len(new)}, ["", *VERDICTS, "share true"], rows)


if __name__ == "__main__":
    main()
