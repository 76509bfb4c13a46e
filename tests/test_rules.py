"""Every rule is held to its contract; a new rule needs no test of its own.

`sick` gives the marked findings at the marked lines and no other rule's, but for what its fault explains. `healthy` and
`looks_like_it` are silent under all rules. Where a cure is offered, the patched case no longer has the fault. What a
rule reads on its thresholds bears their names.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path

import pytest

from patients import examined, told
from torchdx import pages
from torchdx.exam import examine
from torchdx.finding import Diagnosis, Finding
from torchdx.record import Record
from torchdx.rules import (
    FAMILIES,
    AuditRule,
    Rule,
    RunRule,
    SourceRule,
    TreatableRule,
    all_rules,
    audits,
    measures,
    name_of,
    watches,
)
from torchdx.source import Program
from torchdx.source.edits import applied

RULES = all_rules()
TREATABLE = [rule for rule in RULES if isinstance(rule, TreatableRule)]
TEMPTING = [rule for rule in RULES if hasattr(rule, "looks_like_it")]


def each(rules: list[Rule] | tuple[Rule, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rule", rules, ids=name_of)


@pytest.fixture(scope="session")
def sick_cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the diagnoses of sick cases are kept, so that each is run once by whichever worker comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "sick"
    folder.mkdir(exist_ok=True)
    return folder


def diagnose(rule: Rule, kind: pages.Kind, folder: Path, *, run: bool | None = None) -> tuple[Path, Diagnosis]:
    """Write a case down and examine it: run and read, or, where the rule only reads, read alone unless asked for."""
    script = folder / f"{name_of(rule).replace('-', '_')}_{kind}.py"
    script.write_text(pages.case_source(rule, kind), encoding="utf-8")
    if audits(rule) and not watches(rule):
        return script, examined(script, folder / f"record-{kind}", audit=True)
    if watches(rule) if run is None else run:
        return script, examined(script, folder / f"record-{kind}", deep=is_deep(rule))
    return script, examine(Program.around(script), None)


def is_deep(rule: Rule) -> bool:
    """Is the fault seen only by experiments on copies, as with `torchdx run --deep`?"""
    return bool(getattr(rule, "deep", False))


def sick(rule: Rule, cases: Path) -> tuple[Path, Diagnosis]:
    kept = cases / f"{rule.code}.pickle"
    if not kept.exists():
        folder = Path(tempfile.mkdtemp(dir=cases))
        half = folder / "diagnosis"
        half.write_bytes(pickle.dumps(diagnose(rule, "sick", folder)))
        half.replace(kept)
    told: tuple[Path, Diagnosis] = pickle.loads(kept.read_bytes())
    return told


def marked_lines(script: Path, code: str) -> set[int]:
    lines = script.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.rstrip().endswith(f"# {code}")}


def own(diagnosis: Diagnosis, rule: Rule) -> list[Finding]:
    return [finding for finding in diagnosis.all_findings() if finding.code == rule.code]


@each(RULES)
def test_rule_has_its_parts(rule: Rule) -> None:
    page = pages.page(rule)
    assert set(page.parts) == set(pages.PARTS), f"{name_of(rule)} lacks {set(pages.PARTS) - set(page.parts)}"
    assert all(page.parts.values())
    assert page.title.endswith(".")
    assert rule.family in FAMILIES
    assert isinstance(rule, SourceRule | RunRule | AuditRule)
    assert len(rule.code) == 6


def test_codes_and_names_are_unique() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert len({name_of(rule) for rule in RULES}) == len(RULES)


def test_explanations_name_rules_or_symptoms() -> None:
    known = {name_of(rule) for rule in RULES} | {"not-learning", "non-finite", "diverged", "validation-gap", "slow"}
    for rule in RULES:
        assert rule.explains <= known, f"{name_of(rule)} explains unknown {set(rule.explains) - known}"
        assert name_of(rule) not in rule.explains


@each(RULES)
def test_sick_case_is_found_where_it_is_marked(rule: Rule, sick_cases: Path) -> None:
    script, diagnosis = sick(rule, sick_cases)
    assert_only_the_marked_is_found(rule, script, diagnosis)
    if measures(rule):
        assert_reads_its_thresholds(rule, Record.read(script.parent / "record-sick"))


def assert_only_the_marked_is_found(rule: Rule, script: Path, diagnosis: Diagnosis) -> None:
    lines = {finding.site.line for finding in own(diagnosis, rule) if finding.site}
    assert lines == marked_lines(script, rule.code), told(diagnosis)
    strangers = [f for f in diagnosis.findings if f.code != rule.code]
    assert not strangers, told(diagnosis)


def assert_reads_its_thresholds(rule: Rule, record: Record) -> None:
    """What is read bears the names of the module's own numbers, each once."""
    assert measures(rule)
    names = [name for name, value in rule.readings(record) if isinstance(value, int | float)]
    assert names or not all(record.process.all(kind) for kind in rule.needs), f"{name_of(rule)} reads nothing"
    assert len(names) == len(set(names))
    for name in names:
        assert name.isupper()
        assert isinstance(getattr(rule, name, None), int | float), f"{name_of(rule)} has no threshold {name}"


@each(RULES)
def test_healthy_case_is_silent(rule: Rule, tmp_path: Path) -> None:
    _, diagnosis = diagnose(rule, "healthy", tmp_path)
    assert not diagnosis.findings, told(diagnosis)


@each(TEMPTING)
def test_tempting_case_is_silent(rule: Rule, tmp_path: Path) -> None:
    _, diagnosis = diagnose(rule, "looks_like_it", tmp_path)
    assert not diagnosis.findings, told(diagnosis)


@each(TREATABLE)
def test_some_cure_removes_the_finding(rule: Rule, sick_cases: Path, tmp_path: Path) -> None:
    script, diagnosis = sick(rule, sick_cases)
    fixes = [fix for finding in own(diagnosis, rule) for fix in finding.fixes if fix.edits]
    assert fixes, f"{name_of(rule)} offers no cure for its own case"
    left = []
    for number, fix in enumerate(fixes):
        patched = tmp_path / f"patched_{number}.py"
        file = Program.around(script).file(str(script))
        assert file is not None
        patched.write_bytes(applied(file, fix.edits))
        if watches(rule) or audits(rule):
            folder = tmp_path / f"record-patched-{number}"
            after = examined(patched, folder, deep=is_deep(rule), audit=not watches(rule))
        else:
            after = examine(Program.around(patched), None)
        left.append(own(after, rule))
        if not left[-1]:
            return
    pytest.fail(f"no cure of {name_of(rule)} removes the finding: {left}")


@pytest.mark.slow
@each([rule for rule in RULES if not watches(rule) and not audits(rule)])
def test_cases_that_are_only_read_say_the_same_when_run(rule: Rule, tmp_path: Path) -> None:
    assert_only_the_marked_is_found(rule, *diagnose(rule, "sick", tmp_path, run=True))
    kinds: list[pages.Kind] = ["healthy", "looks_like_it"] if rule in TEMPTING else ["healthy"]
    for kind in kinds:
        _, diagnosis = diagnose(rule, kind, tmp_path, run=True)
        assert not diagnosis.findings, told(diagnosis)
