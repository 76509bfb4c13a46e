"""The calibration matrix: many healthy programs and many with one planted fault, and what torchdx says of each.

Every program is run watched, examined together with its source as `torchdx run` does, and put into `readings.json`;
`README.md` tells how many true causes were named, how many false alarms there were, and where the healthy and the sick
lie on every threshold. Each part is weighed by the experience that the others give; all of it is then put into the
package. Thresholds are then set anew by one half of the programs and the other half is judged by them (`halves.py`).
Records are kept: a second run only examines, unless a program or a probe has changed.

`--first PART` runs one unseen part for the first time, by the experience that the package has, and keeps in
`firsts.json` what it showed: that cannot be had twice.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from examining import answer, said
from halves import by_the_other_half
from matrix import PARTS, ROOT, Case, is_worse, part_of, score_of, written
from page import counts, page
from running import Ran, run_all
from torchdx.exam import experience
from torchdx.exam.experience import Case as Known
from torchdx.exam.experience import Experience
from torchdx.rules import all_rules, explanations, name_of

HERE = Path(__file__).parent
FIRSTS = HERE / "firsts.json"


def main() -> None:
    """Run, examine, and write down."""
    options = _options()
    if options.first in first_runs():
        sys.exit(f"Part {options.first} has been judged: a second first run there is not.")
    os.environ["OMP_NUM_THREADS"] = "1"
    began = time.monotonic()
    asked = [case for case in written(options.work / "programs") if options.only in case.name]
    cases = [case for case in asked if not options.first or case.part == options.first]
    print(f"{len(cases)} programs", file=sys.stderr)
    ran = list(_counted(cases, options))
    print(f"run after {time.monotonic() - began:.0f} s", file=sys.stderr)
    with ProcessPoolExecutor(options.at_once) as pool:
        heard = list(pool.map(said, [case.script for case in cases], [one.record for one in ran]))
        known = [remembered(case, words) for case, words in zip(cases, heard, strict=True)]
        others = {part: experience_of(known, besides=part) for part in PARTS if not options.first}
        others |= {part: experience.experience_kept() for part in options.first}
        told = list(pool.map(_examined, cases, ran, heard, [others[case.part] for case in cases]))
    healthy = {one["base"]: one["score"] for one in told if one["kind"] is None}
    for one in told:
        crashed = one["status"] != 0
        one["worse"] = crashed or is_worse(one["base"], one["score"], healthy.get(one["base"])) if one["kind"] else None
    print(f"examined after {time.monotonic() - began:.0f} s", file=sys.stderr)
    if options.first and not options.only:
        kept = {**first_runs(), options.first: counts(told)}
        FIRSTS.write_text(json.dumps(kept, indent=1) + "\n")
    if options.only or options.deep or options.first:
        print(page(told, first_runs()))
        return
    lines = ",\n".join(json.dumps(one) for one in told)
    (HERE / "readings.json").write_text(f'{{"programs": [\n{lines}\n]}}\n')
    places = {case.name: (case.script, one.record) for case, one in zip(cases, ran, strict=True)}
    halved = by_the_other_half(told, places, known, options.at_once)
    (HERE / "README.md").write_text(page(told, first_runs(), halved))
    keep(one for one, program in zip(known, told, strict=True) if one and (program["worse"] is not False))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--at-once", type=int, default=2, help="programs run at a time")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "calibration", help="where records are kept")
    parser.add_argument("--any-probes", action="store_true", help="take kept records though the probes have changed")
    parser.add_argument("--only", default="", metavar="WORDS", help="only programs with these words in their name")
    parser.add_argument("--first", default="", metavar="PART", help="judge an unseen part, once")
    parser.add_argument("--deep", action="store_true", help="watch as with --deep; prints its page and keeps none")
    return parser.parse_args()


def first_runs() -> dict[str, dict[str, int]]:
    """What each unseen part showed when it was run for the first time."""
    told: dict[str, dict[str, int]] = json.loads(FIRSTS.read_text()) if FIRSTS.exists() else {}
    return told


def _counted(cases: Sequence[Case], options: argparse.Namespace) -> Iterator[Ran]:
    records = [options.work / ("deep" if options.deep else "records") / case.key for case in cases]
    scripts = [case.script for case in cases]
    told = run_all(scripts, records, options.at_once, any_probes=options.any_probes, deep=options.deep)
    for number, ran in enumerate(told, 1):
        if number % 20 == 0:
            print(f"{number} of {len(cases)} run", file=sys.stderr)
        yield ran


def remembered(case: Case, words: frozenset[str]) -> Known | None:
    """A program as the differential remembers it; not one with a fault that no rule names."""
    causes = case.fault.causes & {name_of(rule) for rule in all_rules()} if case.fault else frozenset()
    return Known(case.name, causes, words) if causes or case.fault is None else None


def experience_of(known: Sequence[Known | None], besides: str) -> Experience:
    """What the programs of the other parts teach."""
    return Experience.of((one for one in known if one and part_of(one.program) != besides), explanations())


def keep(known: Iterable[Known]) -> None:
    """Put the cases where the package finds them."""
    lines = (json.dumps([one.program, sorted(one.causes), sorted(one.told)]) for one in known)
    place = Path(experience.__file__).with_name(experience.KEPT)
    place.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def _examined(case: Case, ran: Ran, heard: frozenset[str], known: Experience) -> dict[str, Any]:
    fault = case.fault
    causes = fault.causes if fault else frozenset()
    return {
        "program": case.name,
        "base": case.base,
        "script": f"{case.base}/train.py" if case.script.stem == "train" else case.script.name,
        "part": case.part,
        "kind": fault.kind if fault else None,
        "truth": sorted(causes),
        "proven": fault.proven if fault else "",
        "status": ran.status,
        "seconds": round(ran.seconds, 2),
        "score": score_of(ran.printed),
        "said": sorted(heard),
        **answer(case.script, ran.record, causes, known),
    }


if __name__ == "__main__":
    main()
