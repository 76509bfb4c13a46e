"""Reports for other programs: JSON, SARIF and GitHub's workflow commands."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from believable import diagnosis, program
from torchdx.finding import Diagnosis, Edit, Finding, Fix, Site, Verdict
from torchdx.report import FORMATS
from torchdx.report.as_json import as_data, as_json, strict
from torchdx.report.github import github
from torchdx.report.sarif import sarif

HERE = Path(__file__).parent
EMPTY = Diagnosis(Verdict("healthy", "All is well."))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    monkeypatch.chdir(tmp_path)
    return diagnosis(program(tmp_path))


def no_constants(word: str) -> None:
    raise AssertionError(f"{word} is not strict JSON")


def parsed(text: str) -> Any:
    return json.loads(text, parse_constant=no_constants)


# --- JSON


def test_json_is_as_promised(told: Diagnosis) -> None:
    schema = json.loads((HERE.parent / "docs" / "diagnosis.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for each in (told, EMPTY, replace(told, findings=(Finding("bare"),), run={"status": "SIGKILL"})):
        jsonschema.validate(parsed(as_json(each)), schema)


def test_the_documented_example_is_as_promised() -> None:
    schema = json.loads((HERE.parent / "docs" / "diagnosis.schema.json").read_text())
    page = (HERE.parent / "docs" / "json.md").read_text()
    example = json.loads(page.partition("```json\n")[2].partition("```")[0])
    complete = {**example["findings"][0]}
    jsonschema.validate(example, schema)
    assert set(complete) == set(schema["$defs"]["finding"]["properties"])


def test_json_loses_nothing(told: Diagnosis) -> None:
    data = parsed(as_json(told))
    first = data["findings"][0]
    assert (first["path"], first["line"], first["column"], first["end_column"]) == ("train.py", 6, 6, 24)
    assert first["fixes"][0]["patch"].startswith("--- train.py")
    assert [item["rule"] for item in first["consequences"]] == ["saturated-activation", "vanishing-gradient"]
    assert data["findings"][2]["evidence"]["update"] == [0.0, 0.0, "NaN"]
    assert data["not_enough_evidence"][0] == {"rule": "overfitting", "needs": "at least 5 evaluations"}
    assert data["run"]["command"] == ["python", "train.py"]
    assert data["verdict"]["evidence"] == {"training_loss": 1.52, "uniform": 2.303}


def test_json_says_what_is_not_known() -> None:
    assert as_data(EMPTY)["run"] == dict.fromkeys(("steps", "looked", "overhead", "processes", "status"))


def test_strict_values() -> None:
    assert strict({1: (math.nan, -math.inf), "s": {3, 1}, "p": Path("a")}) == {
        "1": ["NaN", "-Infinity"],
        "s": [1, 3],
        "p": "a",
    }
    assert float(strict(math.inf)) == math.inf


# --- SARIF


def test_sarif_fits_its_schema(told: Diagnosis) -> None:
    schema = json.loads((HERE / "data" / "sarif-2.1.0-subset.schema.json").read_text())
    for each in (told, EMPTY, replace(told, run={"status": "unknown"}, findings=(Finding("bare"), Finding("bare")))):
        jsonschema.validate(parsed(sarif(each)), schema)


@pytest.mark.skipif("SARIF_SCHEMA" not in os.environ, reason="SARIF_SCHEMA names no file with the standard's schema")
def test_sarif_fits_the_standards_own_schema(told: Diagnosis) -> None:
    schema = json.loads(Path(os.environ["SARIF_SCHEMA"]).read_text())
    for each in (told, EMPTY):
        jsonschema.validate(parsed(sarif(each)), schema)


def test_sarif_rules_and_results(told: Diagnosis) -> None:
    run = parsed(sarif(told, {"TDX502": "# Pictures are scaled twice.\n\nWhy."}))["runs"][0]
    rules, results = run["tool"]["driver"]["rules"], run["results"]
    assert [rules[result["ruleIndex"]]["id"] for result in results] == [result["ruleId"] for result in results]
    scaled = next(rule for rule in rules if rule["id"] == "TDX502")
    assert scaled["shortDescription"]["text"] == "Pictures are scaled twice."
    assert scaled["help"]["markdown"].endswith("Why.")
    assert [result["level"] for result in results] == ["error", "error", "error", "note", "warning"]
    place = results[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "train.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 6, "startColumn": 6, "endLine": 6, "endColumn": 24}
    related = results[0]["relatedLocations"]
    assert [location["id"] for location in related] == [1, 2]
    assert related[1]["physicalLocation"] == place
    told_of_run = {"exitCodeDescription": "exit status 0", "exitCode": 0, "commandLine": "python train.py"}
    assert run["invocations"] == [{"executionSuccessful": True, **told_of_run}]


def test_sarif_fixes_are_given_by_line_and_column(told: Diagnosis) -> None:
    fix = parsed(sarif(told))["runs"][0]["results"][0]["fixes"][0]
    region = {"startLine": 6, "startColumn": 18, "endLine": 6, "endColumn": 24}
    assert fix["artifactChanges"][0]["replacements"] == [{"deletedRegion": region}]


def test_sarif_columns_count_characters(tmp_path: Path) -> None:
    path = tmp_path / "a b.py"
    path.write_bytes("# é\r\nü = 'ß'; x = 1\r\n".encode())
    start = path.read_bytes().index(b"x = 1")
    fix = Fix("f", (Edit(str(path), start, start + 1, b"y"), Edit("gone.py", 5, 7, b"z")))
    told = Diagnosis(Verdict("v", "w"), (Finding("m", Site(str(path), 2), fixes=(fix,)),))
    result = parsed(sarif(told))["runs"][0]["results"][0]
    changes = result["fixes"][0]["artifactChanges"]
    region = {"startLine": 2, "startColumn": 10, "endLine": 2, "endColumn": 11}
    assert changes[0]["replacements"][0] == {"deletedRegion": region, "insertedContent": {"text": "y"}}
    assert changes[1]["replacements"][0]["deletedRegion"] == {"byteOffset": 5, "byteLength": 2}
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": path.as_uri()}


def test_sarif_fingerprints_survive_a_move_and_are_unique(tmp_path: Path) -> None:
    def prints(text: str, line: int, name: str) -> list[str]:
        path = tmp_path / name / "train.py"
        path.parent.mkdir()
        path.write_text(text)
        os.chdir(path.parent)
        finding = Finding("m", Site(str(path), line), code="TDX999")
        results = parsed(sarif(Diagnosis(Verdict("v", "w"), (finding, finding))))["runs"][0]["results"]
        return [result["partialFingerprints"]["torchdxFinding/v1"] for result in results]

    here = Path.cwd()
    try:
        before, after = prints("x = 1\n", 1, "a"), prints("\n\nif 1:\n    x = 1\n", 4, "b")
    finally:
        os.chdir(here)
    assert before == after
    assert before[0] != before[1]


# --- GitHub


def test_github_commands(told: Diagnosis) -> None:
    lines = github(told).splitlines()
    assert len(lines) == 7
    assert lines[0] == (
        "::error file=train.py,line=6,col=6,title=TDX502 double-scaling,endLine=6,endColumn=23"
        "::The pictures are divided by 255 twice.%0ACure: Divide once."
    )
    assert lines[1].startswith("::warning ") and "93 %25 of" in lines[1]
    assert lines[5].startswith("::notice ")
    assert github(EMPTY) == ""


def test_github_escapes_what_would_break_a_command() -> None:
    finding = Finding("50 %\r\n::error::x, y", Site("a,b:c%.py", 3), code="TDX999", rule="r:s,t")
    told = github(Diagnosis(Verdict("v", "w"), (finding,)))
    assert told == "::warning file=a%2Cb%3Ac%25.py,line=3,col=1,title=TDX999 r%3As%2Ct::50 %25%0D%0A::error::x, y\n"


def test_every_format_speaks_of_every_leading_finding(told: Diagnosis) -> None:
    for render in FORMATS.values():
        shown = render(told, {})
        assert all(finding.code in shown for finding in told.findings)
