"""The examination: every rule asked about everything seen, and the differential drawn from the answers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torchdx.exam.differential import merge, rank
from torchdx.exam.experience import Experience, experience_kept
from torchdx.exam.posterior import Network, network_of
from torchdx.exam.symptoms import Course, course_of
from torchdx.exam.verdict import verdict_of
from torchdx.finding import Diagnosis, Finding, NotEnough, Seen
from torchdx.record import Record
from torchdx.rules import Rule, RunRule, all_rules, audits, explanations, name_of, reads, treats, watches
from torchdx.source import Program

__all__ = ["examine"]

EVERYWHERE = frozenset({"step", "loss", "gradients", "outputs", "input", "optimizer", "phase", "param", "module"})
"""Facts that every training gives. That others are lacking says only that the program has nothing of the kind."""


def examine(
    program: Program | None,
    record: Record | None,
    rules: Sequence[Rule] | None = None,
    experience: Experience | None = None,
) -> Diagnosis:
    """Ask every rule, or the given ones, about a program's source and a run's record, either of which may be None.

    Causes of a run are weighed by the experience that comes with the package, or by another.
    """
    findings: list[Finding] = []
    not_enough: list[NotEnough] = []
    for rule in all_rules() if rules is None else rules:
        for said in _asked(rule, program, record):
            if isinstance(said, NotEnough):
                not_enough.append(said)
            else:
                findings.append(said)
    findings = merge(findings)
    if program is not None:
        findings = [_with_fixes(program, finding) for finding in findings]
    course = course_of(record) if record is not None else Course(0)
    network = _network(findings, course, experience) if record is not None else None
    ranked = rank(findings, explanations(), course.symptoms, network)
    return Diagnosis(
        verdict=verdict_of(record, course, ranked),
        findings=ranked,
        not_enough=tuple(not_enough),
        run=_run(record) if record is not None else {},
    )


def _network(findings: Sequence[Finding], course: Course, experience: Experience | None) -> Network | None:
    """What all that was said of a run makes of the faults found; None where none was, or nothing was ever learnt."""
    told = {finding.rule for finding in findings if finding.severity != "note"}
    if not told:
        return None
    known = experience or experience_kept()
    families = {name_of(rule): rule.family for rule in all_rules()}
    return network_of(told, course.symptoms, families, known) if known.healthy else None


def _asked(rule: Rule, program: Program | None, record: Record | None) -> list[Finding | NotEnough]:
    """What the rule says, with its name on it; a rule that fails says so, and spoils nothing else."""
    said: list[Finding | NotEnough] = []
    reader = watcher = auditor = rule
    try:
        if program is not None and reads(reader):
            said += [_in_tests(_stamped(f, rule, "source"), program) for f in reader.in_source(program)]
        audited: list[Finding] = []
        if record is not None and record.pipelines and audits(auditor):
            audited = [_stamped(finding, rule, "run") for finding in auditor.in_audit(record, program)]
            said += audited
        if record is not None and record.saw_torch and watches(watcher) and not audited:  # whose lines are more exact
            said += _answers(rule, watcher, record)
    except Exception as error:
        if os.environ.get("TORCHDX_DEBUG"):
            raise
        said.append(NotEnough(f"the rule itself failed ({type(error).__name__}: {error})", name_of(rule)))
    return said


def _in_tests(finding: Finding, program: Program) -> Finding:
    """What stands in a test trains nothing that anybody will use, and may be wrong on purpose: that is a note."""
    file = program.file(finding.site.path) if finding.site else None
    return replace(finding, severity="note") if file is not None and file.is_test else finding


def _answers(rule: Rule, asked: RunRule, record: Record) -> Iterator[Finding | NotEnough]:
    if getattr(rule, "deep", False) and not record.experiments.asked:
        return  # nobody asked for experiments, so that their lack is not worth a word
    lacking = sorted(kind for kind in rule.needs if not record.process.all(kind))
    if lacking:
        if EVERYWHERE.issuperset(lacking):
            yield NotEnough(", ".join(lacking), name_of(rule))
        return
    for answer in asked.in_run(record):
        if isinstance(answer, NotEnough):
            yield replace(answer, rule=name_of(rule))
        else:
            yield _stamped(answer, rule, "run")


def _stamped(finding: Finding, rule: Rule, seen: Seen) -> Finding:
    return replace(
        finding,
        message=" ".join(finding.message.split()),  # what it quotes may have stood on several lines
        code=rule.code,
        rule=name_of(rule),
        family=rule.family,
        severity=finding.severity or rule.severity,
        seen_in=(seen,),
    )


def _with_fixes(program: Program, finding: Finding) -> Finding:
    """The cures that the finding's rule can write for this source, each with its diff."""
    if finding.site is None or program.file(finding.site.path) is None:
        return finding
    rules: list[Any] = [rule for rule in all_rules() if rule.code == finding.code and treats(rule)]
    return replace(finding, fixes=tuple(fix for rule in rules for fix in rule.treat(program, finding)))


def _run(record: Record) -> dict[str, Any]:
    """The facts about the run itself that every report states."""
    return {
        "command": record.run.get("command", record.process.first("process").get("argv", [])),
        "status": _status(record),
        "steps": record.steps,
        "looked": record.looks,
        "overhead": round(record.overhead, 4),
        "processes": len(record.processes),
        "ranks": len(record.job.ranks) if record.job else None,
        "seconds": record.ended.get("t"),
    }


def _status(record: Record) -> str:
    signal, status = record.run.get("signal"), record.run.get("status")
    if record.ended.get("stopped"):
        return "stopped after the steps asked for"
    if signal is not None:
        return f"killed by signal {signal}"
    if record.ended.get("exception"):
        return f"ended with {record.ended['exception']['type']}"
    return f"exit status {status}" if status is not None else "unknown"
