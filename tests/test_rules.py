"""Every rule is held to its contract; a new rule needs no test of its own.

`sick` gives the marked findings at the marked lines and no other rule's, but for what its fault explains. `healthy` and
`looks_like_it` are silent under all rules. Where a cure is offered, the patched case no longer has the fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from patients import examined, told
from torchdx import pages
from torchdx.finding import Diagnosis, Finding
from torchdx.rules import FAMILIES, Rule, RunRule, SourceRule, TreatableRule, all_rules, name_of
from torchdx.source import Program
from torchdx.source.edits import applied

RULES = all_rules()
TREATABLE = [rule for rule in RULES if isinstance(rule, TreatableRule)]
TEMPTING = [rule for rule in RULES if hasattr(rule, "looks_like_it")]


def each(rules: list[Rule] | tuple[Rule, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rule", rules, ids=name_of)


@pytest.fixture(scope="module")
def sick_cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, Diagnosis]]]:
    """The diagnoses of sick cases, each run once."""
    yield {}


def diagnose(rule: Rule, kind: pages.Kind, folder: Path) -> tuple[Path, Diagnosis]:
    script = folder / f"{name_of(rule).replace('-', '_')}_{kind}.py"
    script.write_text(pages.case_source(rule, kind), encoding="utf-8")
    return script, examined(script, folder / f"record-{kind}")


def sick(rule: Rule, cases: dict[str, tuple[Path, Diagnosis]], folder: Path) -> tuple[Path, Diagnosis]:
    if rule.code not in cases:
        cases[rule.code] = diagnose(rule, "sick", folder)
    return cases[rule.code]


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
    assert isinstance(rule, SourceRule | RunRule)
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
def test_sick_case_is_found_where_it_is_marked(
    rule: Rule, sick_cases: dict[str, tuple[Path, Diagnosis]], tmp_path: Path
) -> None:
    script, diagnosis = sick(rule, sick_cases, tmp_path)
    lines = {finding.site.line for finding in own(diagnosis, rule) if finding.site}
    assert lines == marked_lines(script, rule.code), told(diagnosis)
    strangers = [f for f in diagnosis.findings if f.code != rule.code]
    assert not strangers, told(diagnosis)


@each(RULES)
def test_healthy_case_is_silent(rule: Rule, tmp_path: Path) -> None:
    _, diagnosis = diagnose(rule, "healthy", tmp_path)
    assert not diagnosis.findings, told(diagnosis)


@each(TEMPTING)
def test_tempting_case_is_silent(rule: Rule, tmp_path: Path) -> None:
    _, diagnosis = diagnose(rule, "looks_like_it", tmp_path)
    assert not diagnosis.findings, told(diagnosis)


@each(TREATABLE)
def test_some_cure_removes_the_finding(
    rule: Rule, sick_cases: dict[str, tuple[Path, Diagnosis]], tmp_path: Path
) -> None:
    script, diagnosis = sick(rule, sick_cases, tmp_path)
    fixes = [fix for finding in own(diagnosis, rule) for fix in finding.fixes if fix.edits]
    assert fixes, f"{name_of(rule)} offers no cure for its own case"
    left = []
    for number, fix in enumerate(fixes):
        patched = tmp_path / f"patched_{number}.py"
        file = Program.around(script).file(str(script))
        assert file is not None
        patched.write_bytes(applied(file, fix.edits))
        after = examined(patched, tmp_path / f"record-patched-{number}")
        left.append(own(after, rule))
        if not left[-1]:
            return
    pytest.fail(f"no cure of {name_of(rule)} removes the finding: {left}")
