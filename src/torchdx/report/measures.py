"""What was measured over many samples of a program's data, in a sentence each: shared by terminal and page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torchdx.record import Pipeline, Record
from torchdx.record.anatomy import site_of
from torchdx.report.values import one_line, spot
from torchdx.report.words import counted, number, percent

Fact = Mapping[str, Any]

LABELS, SUSPECTS = 12, 3
"""So many labels are told with their counts, and so many samples as examples."""

ROLES = {"train": "training", "eval": "validation"}
STOPPED = {"time": "until the time for it was up", "broken": "until one could not be had"}
PARTS = {"open": "opening", "transform": "transforms", "item": "the rest of the sample", "collate": "making batches"}
NAMES = {"neighbours": "nearest", "nonfinite": "not finite", "mixture": "scales"}
KINDS = {"one-hot": "one-hot", "many": "several labels at once", "map": "maps of labels", "number": "numbers"}


def role_of(pipeline: Pipeline) -> str:
    """What the pipeline is for, or else what it is."""
    return ROLES.get(pipeline.role) or one_line(pipeline.fact.get("what") or "data")


def about(pipeline: Pipeline) -> Iterator[str]:
    """The pipeline in brief: dataset, samples, batches."""
    fact = pipeline.fact
    if fact.get("dataset") and fact["dataset"] != pipeline.name:
        yield one_line(fact["dataset"])
    yield from _samples(fact)
    if fact.get("batch_size"):
        order = {"sequential": "in order", "random": "shuffled"}.get(fact.get("order") or "")
        order = order or (f"drawn by {one_line(fact['order'])}" if fact.get("order") else "")
        yield ", ".join(filter(None, (f"batches of {number(fact['batch_size'])}", order)))
        if fact.get("drop_last"):
            yield "the last short batch dropped"
    if fact.get("workers"):
        yield counted(fact["workers"], "worker")


def _samples(fact: Fact) -> Iterator[str]:
    samples, seen = fact.get("samples"), fact.get("seen")
    if samples is not None:
        yield counted(samples, "sample")
    if seen is not None:
        looked = "all looked at" if seen and seen == samples else f"{number(seen)} looked at"
        yield " ".join(filter(None, (looked, STOPPED.get(fact.get("stopped") or ""))))


def measures(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """A name and a sentence for each measure of many samples that was taken."""
    for kind, say in SAYS.items():
        for fact in pipeline.all(kind):
            words = say(fact)
            if words:
                yield NAMES.get(kind, kind), words


def between(record: Record) -> Iterator[tuple[str, str]]:
    """A name and a sentence for each measure that holds two pipelines together."""
    names = {pipeline.fact.get("id"): one_line(pipeline.name) for pipeline in record.pipelines}
    for fact in record.process.all("overlap"):
        yield "overlap", _overlap(fact, names)
    for fact in record.process.all("shift"):
        yield "shift", _shift(fact, names)
    for fact in record.process.all("scaled"):
        if words := _scaled(fact, names):
            yield "scaled", words


def _labels(fact: Fact) -> str:
    many = counted(fact["samples"], "label") if fact.get("samples") is not None else "labels"
    kind = one_line(", ".join(filter(None, (KINDS.get(fact.get("what") or "", ""), fact.get("dtype") or ""))))
    told = ""
    if fact.get("counts"):
        told = counts(fact["counts"])
    elif fact.get("min") is not None and fact.get("max") is not None:
        told = f"{number(fact['min'])}..{number(fact['max'])}"
        if fact.get("mean") is not None and fact.get("std") is not None:
            told += f", {number(fact['mean'])} ± {number(fact['std'])}"
    sentence = ", ".join(filter(None, (many, kind, told)))
    return " ".join(filter(None, (f"{sentence}.", _order(fact.get("order") or {}))))


def counts(labels: Mapping[str, int]) -> str:
    """How often each label occurs; of many, the most common and the rarest."""
    pairs = [(one_line(label)[:24], count) for label, count in labels.items()]
    if len(pairs) <= LABELS:
        return f"{counted(len(pairs), 'kind')}: {_each(pairs)}"
    ranked = sorted(pairs, key=lambda pair: -pair[1])
    half = LABELS // 2
    return f"{counted(len(pairs), 'kind')}, most often {_each(ranked[:half])}; least often {_each(ranked[-half:])}"


def _each(pairs: Iterable[tuple[str, int]]) -> str:
    return " · ".join(f"{label} ({number(count)})".replace(" ", "\u00a0") for label, count in pairs)


def _order(order: Fact) -> str:
    inside, expected = order.get("entropy"), order.get("expected")
    if inside is None or expected is None:
        return ""
    return f"A batch holds {number(inside)} nats of labels; of shuffled samples it would hold {number(expected)}."


def _tokens(fact: Fact) -> str:
    parts = []
    lengths: Sequence[float] = fact.get("lengths") or ()
    if len(lengths) == 5:
        parts.append(f"{number(lengths[0])} to {number(lengths[4])} long, half of them up to {number(lengths[2])}")
    if fact.get("padding") is not None:
        value = f" (id {number(fact['value'])})" if fact.get("value") is not None else ""
        parts.append(f"{percent(fact['padding'])} of all that is read is padding{value}")
    if fact.get("kept"):
        longest = f" at {number(fact['longest'])}" if fact.get("longest") is not None else ""
        parts.append(f"{percent(fact['kept'])} of the samples end{longest} together, as if cut off there")
    return _sentence("; ".join(parts))


def _timing(fact: Fact) -> str:
    told = fact.get("seconds")
    parts = {name: seconds for name, seconds in told.items() if seconds} if isinstance(told, Mapping) else {}
    ranked = sorted(parts.items(), key=lambda part: -part[1])
    sentence = ""
    if ranked:
        each = ", ".join(f"{PARTS.get(name, one_line(name))} {moment(seconds)}" for name, seconds in ranked)
        sentence = f"A sample takes {moment(sum(parts.values()))}: {each}."
    if fact.get("step"):
        sentence += f" A step of training takes {moment(fact['step'])}."
    return sentence.strip()


def moment(seconds: float) -> str:
    """340 µs, 12 ms, 1.2 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds * 1e6)} µs"


def _neighbours(fact: Fact) -> str:
    if fact.get("agree") is None:
        return ""
    chance = ""
    if fact.get("chance") is not None:
        spread = f" ± {percent(fact['deviation'])}" if fact.get("deviation") else ""
        chance = f"; by chance, for {percent(fact['chance'])}{spread}"
    told = f"The nearest other sample has the same label for {percent(fact['agree'])} of {_of(fact)}{chance}."
    suspects = [each for each in fact.get("suspects") or () if len(each) >= 4]
    if suspects:
        named = "; ".join(
            f"{number(each[1])} is {one_line(each[2])} among {one_line(each[3])}" for each in suspects[:SUSPECTS]
        )
        more = f", and {number(len(suspects) - SUSPECTS)} more" if len(suspects) > SUSPECTS else ""
        told += f" Out of place: sample {named}{more}."
    return told


def _of(fact: Fact) -> str:
    return counted(fact["samples"], "sample") if fact.get("samples") is not None else "the samples"


def _repeat(fact: Fact) -> str:
    if fact.get("differ") is None:
        return ""
    if not fact["differ"]:
        return f"None of {_of(fact)} differed when it was asked for again."
    change = f", by {number(fact['change'])} of the spread" if fact.get("change") is not None else ""
    return f"{number(fact['differ'])} of {_of(fact)} differed when asked for again{change}."


def _clones(fact: Fact) -> str:
    if fact.get("same") is None:
        return ""
    random = f", {number(fact['random'])} of them random," if fact.get("random") is not None else ""
    return f"Of {_of(fact)}{random} two workers draw {number(fact['same'])} alike."


def _broken(fact: Fact) -> str:
    what = {
        "sample": "cannot be had",
        "length": "has no length that holds",
        "collate": "cannot be put into a batch",
        "iterate": "cannot be iterated to",
        "target": "has no target",
    }.get(fact.get("what") or "", "fails")
    which = f"Sample {number(fact['sample'])}" if isinstance(fact.get("sample"), int) else "A sample"
    at = f" at {spot(site)}" if (site := site_of(fact.get("site"))) else ""
    more = f", {counted(fact['count'], 'sample')} in all" if (fact.get("count") or 0) > 1 else ""
    error = f": {one_line(fact['error'])}" if fact.get("error") else ""
    return f"{which} {what}{at}{more}{error}"


def _overlap(fact: Fact, names: Mapping[Any, str]) -> str:
    train, test = _pair(fact, names)
    checked = fact.get("checked") or [None, None]
    exact, near = fact.get("exact") or 0, fact.get("near") or 0
    many = f"{number(checked[1])} samples" if checked[1] is not None else "the samples"
    if not exact and not near:
        return f"None of {many} of {test} looked at stands in {train}."
    also = f", and {number(near)} more nearly so" if near else ""
    examples = [each for each in fact.get("examples") or () if len(each) == 2][:SUSPECTS]
    told = ", ".join(f"{number(j)} ({number(i)} there)" for i, j in examples)
    return f"{number(exact)} of {many} of {test} stand in {train}, too{also}{f': sample {told}' if told else ''}."


def _shift(fact: Fact, names: Mapping[Any, str]) -> str:
    train, test = _pair(fact, names)
    told = []
    apart = [each for each in fact.get("channels") or () if each.get("train") is not None]
    if apart:
        worst = max(apart, key=lambda each: abs(each.get("z") or 0))
        means = f"{number(worst['train'])} in {train}, {number(worst['eval'])} in {test}" if "eval" in worst else ""
        place = f" of channel {apart.index(worst)}" if len(apart) > 1 else ""
        told.append(f"The mean{place} is {means}")
    if fact.get("divergence") is not None:
        null: Sequence[float] = fact.get("null") or ()
        chance = f"; by chance, {percent(null[0])} ± {percent(null[1])}" if len(null) == 2 else ""
        told.append(f"of a sample's nearest others {percent(fact['divergence'])} are of its own side{chance}")
    return _sentence("; ".join(told))


def _scaled(fact: Fact, names: Mapping[Any, str]) -> str:
    alone, together = fact.get("alone"), fact.get("together")
    if alone is None or together is None:
        return ""
    train, test = _pair(fact, names)
    both = f"in {train} alone {number(alone)} standard errors, in {train} and {test} together {number(together)}"
    return f"The columns' means lie off 0 by, in the middle, {both}."


def _nonfinite(fact: Fact) -> str:
    if not fact.get("count"):
        return ""
    told = []
    for part in ("inputs", "targets"):
        if places := fact.get(part) or []:
            more = ", …" if len(places) > LABELS else ""
            told.append(f"{part} of {', '.join(number(place) for place in places[:LABELS])}{more}")
    which = f": {'; '.join(told)}" if told else ""
    return f"{number(fact['count'])} of {_of(fact)} hold what is not finite{which}."


def _mixture(fact: Fact) -> str:
    gain, gap, share = fact.get("gain"), fact.get("gap"), fact.get("share")
    if gain is None or gap is None or share is None:
        return ""
    sizes: Sequence[float] = fact.get("sizes") or ()
    around = f", around {number(sizes[0])} and {number(sizes[1])}" if len(sizes) == 2 else ""
    if gain <= 0:
        return f"The greatest number of a sample has one scale: two explain {_of(fact)} no better."
    better = f"two scales are the better account by {number(gain)} nats"
    above = f"{percent(share)} are {number(gap)} times above the rest"
    return f"Of the greatest numbers of {_of(fact)} {better}{around}: {above}."


def _pair(fact: Fact, names: Mapping[Any, str]) -> tuple[str, str]:
    return names.get(fact.get("train")) or "training", names.get(fact.get("eval")) or "validation"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""


SAYS = {
    "broken": _broken,
    "nonfinite": _nonfinite,
    "labels": _labels,
    "mixture": _mixture,
    "tokens": _tokens,
    "neighbours": _neighbours,
    "repeat": _repeat,
    "clones": _clones,
    "timing": _timing,
}
"""How each kind of fact is said, in the order they are shown."""
