"""What there is to say of a program's data alone: the rules of that family, and a verdict on what was looked at."""

from __future__ import annotations

from dataclasses import replace

from torchdx.exam import examine
from torchdx.finding import Diagnosis, Verdict
from torchdx.record import Record
from torchdx.rules import all_rules
from torchdx.source import Program


def examine_data(program: Program | None, record: Record) -> Diagnosis:
    """Ask the rules about data, and no others, about a record that holds an audit."""
    rules = [rule for rule in all_rules() if rule.family == "data"]
    diagnosis = examine(program, record, rules)
    return replace(diagnosis, verdict=_verdict(record, diagnosis))


def _verdict(record: Record, diagnosis: Diagnosis) -> Verdict:
    pipelines = record.pipelines
    samples = sum(int(pipeline.fact.get("seen") or 0) for pipeline in pipelines)
    looked = f"{_counted(samples, 'sample')} of {_counted(len(pipelines), 'pipeline')} were looked at"
    grave = [finding for finding in diagnosis.findings if finding.severity != "note"]
    if grave:
        return Verdict("faults found", f"{_counted(len(grave), 'fault')} found in the data; {looked}.")
    if not pipelines:
        return Verdict(
            "not enough evidence", "The program made no DataLoader, so no sample could be followed on its way."
        )
    if not samples and not any(pipeline.journey.steps for pipeline in pipelines):
        return Verdict("not enough evidence", "Not one sample could be fetched.")
    return Verdict("no fault found", f"No fault of the data was found; {looked}.")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
