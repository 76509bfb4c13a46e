"""The differential: which cause explains the other findings and the symptoms, and what comes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

from torchdx.exam.posterior import Network, log_odds
from torchdx.finding import SEVERITIES, Finding, Fix

SUREST = 0.99
"""No finding is surer than this: a rule may be wrong in a way that both of its sides share."""

Explains = Mapping[str, Set[str]]
"""For each rule's name, the rules and symptoms that its fault brings about."""


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """One finding where source and run show the same fault: same rule, and same line or the only one measured."""
    by_rule: dict[str, list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    return [merged for same in by_rule.values() for merged in _merge_rule(same)]


def _merge_rule(findings: Sequence[Finding]) -> list[Finding]:
    read = [f for f in findings if f.seen_in == ("source",)]
    measured = [f for f in findings if f.seen_in != ("source",)]
    merged = []
    for finding in measured:
        twin = next((f for f in read if _same_place(f, finding)), None)
        if twin is None and read and len(measured) == 1:  # what runs is often another line than what is at fault
            twin = read[0]
        if twin is not None:
            read.remove(twin)
            finding = _both(twin, finding)
        merged.append(finding)
    return _distinct(merged + read)


def _same_place(one: Finding, other: Finding) -> bool:
    return bool(one.site and other.site and (one.site.path, one.site.line) == (other.site.path, other.site.line))


def _both(read: Finding, measured: Finding) -> Finding:
    """What was measured tells more; where it was read is more exact; seen twice is surer."""
    ranks = [SEVERITIES.index(f.severity or "warning") for f in (read, measured)]
    return replace(
        measured,
        site=read.site or measured.site,
        evidence={**read.evidence, **measured.evidence},
        cure=measured.cure or read.cure,
        confidence=min(SUREST, 1 - (1 - read.confidence) * (1 - measured.confidence)),
        severity=SEVERITIES[min(ranks)],
        seen_in=("source", "run"),
        fixes=_fixes(read, measured),
    )


def _fixes(*findings: Finding) -> tuple[Fix, ...]:
    return tuple({fix.title: fix for finding in findings for fix in finding.fixes}.values())


def _distinct(findings: Iterable[Finding]) -> list[Finding]:
    return list({(f.site, f.layer, f.message): f for f in findings}.values())


def rank(
    findings: Sequence[Finding], explains: Explains, symptoms: Set[str], network: Network | None = None
) -> tuple[Finding, ...]:
    """Hang every explained finding under its best cause, and order the causes by what they explain.

    With a network, causes come in the order of how well each, as the only fault, would account for all that was said
    and for what its rule measured; each is as sure as its rule is of that, times the probability of the fault.
    """
    present = {finding.rule for finding in findings if finding.severity != "note"}
    brought = {rule: _reach(rule, explains, present) for rule in {finding.rule for finding in findings}}
    alone = {rule: network.weight([rule]) for rule in present} if network else {}

    def weight(finding: Finding) -> tuple[object, ...]:
        return _weight(finding, brought, symptoms, alone.get(finding.rule, 0.0))

    ordered = sorted(findings, key=lambda f: (_causes(f.rule, brought, present), *weight(f)))
    roots: list[Finding] = []
    under: dict[int, list[Finding]] = {}
    for finding in ordered:
        cause = next((k for k, root in enumerate(roots) if _explains(root, finding, brought)), None)
        if cause is None:
            roots.append(finding)
        else:
            under.setdefault(cause, []).append(finding)
    there = network.probabilities() if network else {}
    found = [
        replace(root, consequences=tuple(under.get(k, ())), confidence=root.confidence * there.get(root.rule, 1.0))
        for k, root in enumerate(roots)
    ]
    return tuple(sorted(found, key=weight))


def _reach(rule: str, explains: Explains, present: Set[str]) -> frozenset[str]:
    """What the rule's fault brings about, directly or through other faults that were found."""
    reached: set[str] = set()
    ahead = [rule]
    while ahead:
        new = explains.get(ahead.pop(), frozenset()) - reached - {rule}
        reached |= new
        ahead += sorted(new & present)
    return frozenset(reached)


def _causes(rule: str, brought: Explains, present: Set[str]) -> int:
    """How many of the other faults found bring this one about and not the other way round."""
    return sum(rule in brought[other] and other not in brought[rule] for other in present if other != rule)


def _explains(cause: Finding, finding: Finding, brought: Explains) -> bool:
    return cause.severity != "note" and finding.rule in brought[cause.rule]


def _weight(finding: Finding, brought: Explains, symptoms: Set[str], alone: float) -> tuple[object, ...]:
    """Causes before their effects, what accounts for more before what accounts for less, the graver and surer first.

    A finding that others can explain sorts behind those that can explain it, as it explains fewer of the rest.
    """
    effects = brought[finding.rule]
    return (
        finding.severity == "note",
        -round(alone + log_odds(finding.confidence), 6),
        -len(effects & symptoms),
        SEVERITIES.index(finding.severity or "warning"),
        -len(finding.consequences),
        -len(effects),
        -round(finding.confidence, 3),
        str(finding.site),
    )
