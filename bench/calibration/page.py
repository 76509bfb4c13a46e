"""The matrix as a page: what was detected, how early, what was told for nothing, and where thresholds lie."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from scipy.stats import beta

from halves import half_of
from matrix import PARTS
from publish import markdown
from torchdx.rules import find_rule

Told = dict[str, Any]
BANDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.01)

INTRO = """\
# The calibration matrix

{healthy} healthy programs and {sick} with one planted fault each, of {kinds} kinds, are run under the watcher and
examined together with their source, as `torchdx run` does. `make bench-calibration` writes this page and
`readings.json` anew.

Healthy are the programs in `programs/` and `unseen/` and those of `tests/healthy/`. `faults/` plants the faults, by
exact edits of text, in the programs of the first two. A planted fault counts only if the program then scores clearly
worse on data that it was not trained on, or if it is provably wrong for a reason that `faults/` gives.

Rules were made and thresholds set on the parts **A** and **B**, parted by the name of the healthy base. Every further
part, a folder of `unseen/`, was written with its faults by people who had seen no rule, and judged the rules once, when
it was run for the first time: that is what *As first judged* tells. Afterwards its misses were looked at and mended as
well, so what the table under *Detection* says of it is a check that nothing was lost, and no longer a judgement.
A base and all that is planted in it lie in one part.
"""

NAMED = "{part}, of kinds that a rule names"


def page(told: Sequence[Told], firsts: Mapping[str, Mapping[str, int]], halved: Sequence[Told] = ()) -> str:
    """The whole page, in Markdown.

    `firsts` holds the counts of each unseen part's first run, `halved` the programs as the other half's thresholds
    judge them.
    """
    healthy = _healthy(told)
    sick = counted(told)
    intro = INTRO.format(healthy=len(healthy), sick=len(sick), kinds=len({one["kind"] for one in sick}))
    sections = {
        "": intro,
        "As first judged": _first_judged(firsts),
        "By thresholds of the other half": f"{HALVES}\n\n{_halves(halved)}" if halved else "Not asked.",
        "Detection": f"{_summary(told)}\n\n{SUMMARY}",
        "By kind of fault": _by_kind(sick),
        "How sure": f"{SURE}\n\n{_reliability([*healthy, *sick])}",
        "How soon": _how_soon(sick),
        "False alarms": _list(_alarms_told(healthy)),
        "Faults whose true cause did not come first": _list(_misses(sick)),
        "Thresholds": f"{THRESHOLDS}\n\n{_thresholds(healthy, sick)}",
        "Not counted": _list(_left_out(told)),
        "Rules and probes that failed": _list(_failures(told)),
    }
    return "\n\n".join(f"## {title}\n\n{text}" if title else text.rstrip() for title, text in sections.items()) + "\n"


def counted(told: Sequence[Told]) -> list[Told]:
    """The sick programs that are really sick."""
    return [one for one in told if one["kind"] is not None and (one["worse"] or one["proven"])]


def place(one: Told) -> int | None:
    """Which of the findings, counted from 1, names a true cause."""
    truth = set(one["truth"])
    return next((number for number, found in enumerate(one["findings"], 1) if found["rule"] in truth), None)


def alarms(one: Told) -> list[str]:
    """The rules behind warnings and errors."""
    return [found["rule"] for found in one["findings"] if found["severity"] != "note"]


SUMMARY = """\
*First* and *among three* count the places of the true cause among the findings as the report ranks them.
*Consequence* is a true cause that was found and hung under another finding. A false alarm is a healthy program with a
warning or an error."""


SUMMARY_HEADER = ["part", "sick", "first", "among three", "consequence", "healthy", "false alarms"]


def _summary(told: Sequence[Told]) -> str:
    parts = {part: [part] for part in sorted({one["part"] for one in told})}
    rows = [
        _row(name, counts([one for one in told if one["part"] in of]))
        for name, of in (parts | {"all": [*parts]}).items()
    ]
    return markdown([SUMMARY_HEADER, *rows])


HALVES = """\
Thresholds set anew by one half of the programs, by nothing but what that half reads and what it has, and the other half
judged by them (`halves.py` tells how they are set). A base and all that is planted in it lie in one half. What rules
ask is the same in both, and was made with all parts in sight: this tells how far the numbers are fitted, and *As first
judged* how far the rules are."""


def _halves(halved: Sequence[Told]) -> str:
    rows = [
        _row(name, counts([one for one in halved if half_of(one["base"]) in halves]))
        for name, halves in (("first", {0}), ("second", {1}), ("both", {0, 1}))
    ]
    return markdown([["half", *SUMMARY_HEADER[1:]], *rows])


def _first_judged(firsts: Mapping[str, Mapping[str, int]]) -> str:
    rows = []
    for part, first in firsts.items():
        rows.append(_row(part, first))
        named = {what: first[f"{what} of kinds named"] for what in ("sick", "first", "three", "under")}
        rows.append(_row(NAMED.format(part=part), named))
    return markdown([SUMMARY_HEADER, *rows])


def counts(told: Sequence[Told]) -> dict[str, int]:
    """Of these programs: how many are sick, of how many the true cause was told and where; and the false alarms.

    The same once more for faults of kinds that a rule names.
    """
    sick, well = counted(told), _healthy(told)
    named = {f"{what} of kinds named": n for what, n in _found([one for one in sick if one["truth"]]).items()}
    return {**_found(sick), "healthy": len(well), "alarms": sum(bool(alarms(one)) for one in well), **named}


def _found(sick: Sequence[Told]) -> dict[str, int]:
    return {
        "sick": len(sick),
        "first": sum(place(one) == 1 for one in sick),
        "three": sum((place(one) or 99) <= 3 for one in sick),
        "under": sum(place(one) is None and one["known_at"] is not None for one in sick),
    }


def _row(name: str, count: Mapping[str, int]) -> list[str]:
    sick, healthy = count["sick"], count.get("healthy")
    well = ["", ""] if healthy is None else [str(healthy), _share(count["alarms"], healthy)]
    return [name, str(sick), _share(count["first"], sick), _share(count["three"], sick), str(count["under"]), *well]


def _healthy(told: Sequence[Told]) -> list[Told]:
    """The healthy programs that ran to their end."""
    return [one for one in told if one["kind"] is None and one["status"] == 0]


def _share(count: int, whole: int) -> str:
    return f"{count} ({100 * count / whole:.1f} %)" if whole else "-"


def _by_kind(sick: Sequence[Told]) -> str:
    kinds: dict[str, list[Told]] = defaultdict(list)
    for one in sick:
        kinds[one["kind"]].append(one)
    rows = []
    for kind, ones in sorted(kinds.items()):
        row = [kind]
        for part in PARTS:
            ill = [one for one in ones if one["part"] == part]
            first, three = sum(place(o) == 1 for o in ill), sum((place(o) or 99) <= 3 for o in ill)
            row += [str(len(ill)), str(first), str(three)] if ill else ["", "", ""]
        known = [one["known_at"] for one in ones if one["known_at"] is not None]
        rows.append([*row, f"{median(known):g}" if known else "-"])
    header = ["kind of fault", *(f for part in PARTS for f in (part, "first", "of three")), "known after (median)"]
    return markdown([header, *rows])


SURE = """\
What torchdx says of a cause, "90 % sure", against how often it is right. Causes are warnings and errors told by
themselves, not under another; right is one that names the planted fault. Each part was weighed by what the programs of
the others teach, so that no program is judged by itself."""


def _reliability(told: Sequence[Told]) -> str:
    causes = [
        (found["confidence"], found["rule"] in one["truth"])
        for one in told
        for found in one["findings"]
        if found["severity"] != "note"
    ]
    rows = [["sure", "causes told", "sure on average", "right", "right, 90 % interval"]]
    for low, high in pairwise(BANDS):
        inside = [(sure, right) for sure, right in causes if low <= sure < high]
        if inside:
            right = sum(right for _, right in inside)
            mean = sum(sure for sure, _ in inside) / len(inside)
            ends = "{:.0%} .. {:.0%}".format(*_interval(right, len(inside)))
            rows.append(
                [
                    f"{low:.0%} .. {min(high, 1):.0%}",
                    str(len(inside)),
                    f"{mean:.1%}",
                    f"{right / len(inside):.1%}",
                    ends,
                ]
            )
    squares = sum((sure - right) ** 2 for sure, right in causes) / max(1, len(causes))
    return f"{markdown(rows)}\n\nBrier score {squares:.3f} over {len(causes)} causes."


def _interval(right: int, of: int) -> tuple[float, float]:
    """The middle 90 % of the Beta posterior of a share, under Jeffreys's prior."""
    low, high = beta(right + 0.5, of - right + 0.5).ppf([0.05, 0.95])
    return float(low), float(high)


def _how_soon(sick: Sequence[Told]) -> str:
    known = [one["known_at"] for one in sick if one["known_at"] is not None]
    if not known:
        return "Nothing was found."
    run = [steps for steps in known if steps > 0]
    words = (
        f"Of {len(known)} faults whose cause was named, {len(known) - len(run)} are told by the source alone, before "
        f"the first step. Over all of them the median is {median(known):g} optimizer steps"
    )
    words += f", over those that only a run shows {median(run):g}" if run else ""
    marks = [0, 1, 5, 10, 20, 50, 100, 200, 500]
    row = [f"{100 * sum(steps <= mark for steps in known) / len(known):.0f} %" for mark in marks]
    return f"{words}.\n\n{markdown([['named by step', *map(str, marks)], ['share of those named', *row]])}"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines) or "None."


def _alarms_told(healthy: Sequence[Told]) -> Iterator[str]:
    for one in healthy:
        for found in one["findings"]:
            if found["severity"] != "note":
                yield f"{one['part']} `{one['base']}`: {found['severity']} {found['rule']}, {found['message']}"


def _misses(sick: Sequence[Told]) -> Iterator[str]:
    for one in sick:
        if place(one) != 1:
            truth = " or ".join(one["truth"]) or "of no rule's kind yet"
            said = ", ".join(f"{found['rule']} ({found['severity']})" for found in one["findings"]) or "nothing"
            yield f"{one['part']} `{one['base']}`, {one['kind']}; it is {truth}; told: {said}"


def _left_out(told: Sequence[Told]) -> Iterator[str]:
    for one in told:
        if one["kind"] is None and one["status"] != 0:
            yield f"`{one['base']}` ended with status {one['status']}"
        elif one["kind"] is not None and not (one["worse"] or one["proven"]):
            yield f"`{one['base']}`, {one['kind']}: no worse for it"


def _failures(told: Sequence[Told]) -> Iterator[str]:
    for one in told:
        for name in (*one["failed"], *(f"probe {probe}" for probe in one["disarmed"])):
            yield f"`{one['program']}`: {name}"


THRESHOLDS = """\
For each number that a rule holds against a run: its value, where the healthy programs lie, and where those lie that
have just this fault. *Beyond* is the side of the threshold on which most of the sick lie, and how many of each are
there; a rule asks several such questions, so a healthy program beyond one of them raises no alarm. *Apart* says whether
no healthy program reads what a sick one reads."""


def _thresholds(healthy: Sequence[Told], sick: Sequence[Told]) -> str:
    names = sorted({name for one in (*healthy, *sick) for name in one["readings"]})
    header = ["threshold", "value", "healthy: 0, 5, 50, 95, 100 %", "n", "sick: least, median, most", "n"]
    rows = [[*header, "beyond: healthy, sick", "apart"]]
    for name in names:
        rule = name.partition(".")[0]
        well = _values(healthy, name)
        ill = _values([one for one in sick if rule in one["truth"]], name)
        rows.append(_threshold(name, _value(name), well, ill))
    return markdown(rows)


def _threshold(name: str, value: float, well: Sequence[float], ill: Sequence[float]) -> list[str]:
    row = [name, f"{value:g}", _numbers(_quantiles(well)), str(len(well))]
    if not ill:
        return [*row, "", "0", "", ""]
    row += [_numbers([ill[0], median(ill), ill[-1]]), str(len(ill))]
    if not well:
        return [*row, "", ""]
    above = median(ill) > value
    beyond = [sum((number > value) == above for number in numbers) for numbers in (well, ill)]
    apart = well[-1] < ill[0] or ill[-1] < well[0]
    return [*row, f"{'above' if above else 'below'}: {beyond[0]}, {beyond[1]}", "yes" if apart else "no"]


def _values(told: Sequence[Told], name: str) -> list[float]:
    return sorted(one["readings"][name] for one in told if one["readings"].get(name) is not None)


def _value(name: str) -> float:
    rule, _, constant = name.partition(".")
    found = find_rule(rule)
    return float(getattr(importlib.import_module(found.__name__), constant)) if found else float("nan")


def _quantiles(values: Sequence[float]) -> list[float]:
    return [values[round(share * (len(values) - 1))] for share in (0, 0.05, 0.5, 0.95, 1)] if values else []


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
