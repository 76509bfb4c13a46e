"""`torchdx check` beside `ast.parse`, torchfix and torch-preflight: time, findings, and which findings only one has.

Processor time is that of whole processes, the start of Python too. Ours is started with an empty cache ("cold") and
again with nothing changed ("again").
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from publish import publish

PEERS = {"torchfix": "0.7.0", "torch-preflight": "0.5.0"}
OURS, AGAIN = "torchdx check", "torchdx check, again"
ROUNDS = 3
AS_INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Installed packages are compiled already: no tool is to do that again each time."""
NEAR = 3
"""Findings of two tools this many lines apart may mean the same: each has its own idea of where a fault stands."""
LIMIT = 3600

PARSE = """
import ast, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
for file in sorted(Path(sys.argv[1]).rglob("*.py")):
    try:
        ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        pass
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TORCHFIX = re.compile(r"^(.+?):(\d+):\d+: (TOR\d+) ", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Told:
    """One finding of one tool."""

    repository: str
    path: str
    line: int
    code: str


Place = tuple[str, int, str]
"""A finding's path inside its repository, line, and code."""


@dataclass(frozen=True)
class Tool:
    """A program that is started on a folder, and how its answer is read."""

    command: Callable[[Path], list[str]]
    read: Callable[[str, Path], Iterator[Place]]


def no_findings(answer: str, folder: Path) -> Iterator[Place]:
    """What a parser has to say."""
    return iter(())


def ours(answer: str, folder: Path) -> Iterator[Place]:
    """Findings of `torchdx check --format json`, the consequences under them, too; but no notes."""
    queue = list(json.loads(answer)["findings"])
    for finding in queue:
        queue += finding["consequences"]
        if finding["path"] and finding["severity"] != "note":
            yield inside(finding["path"], folder), finding["line"], finding["code"]


def torchfix(answer: str, folder: Path) -> Iterator[Place]:
    """Findings in torchfix's text, between its diffs."""
    for path, line, code in TORCHFIX.findall(COLOUR.sub("", answer)):
        yield inside(path, folder), int(line), code


def preflight(answer: str, folder: Path) -> Iterator[Place]:
    """Findings of `torch-preflight check --format json`."""
    for finding in json.loads(answer)["diagnostics"]:
        yield inside(finding["path"], folder), finding["line"], finding["code"]


def inside(path: str, folder: Path) -> str:
    """The path as seen from the folder."""
    return os.path.relpath(Path(folder, path), folder)


def tools(peers: Path | None) -> dict[str, Tool]:
    """Every tool, one process each; `peers` is the environment that holds the peers."""
    here = Path(sys.executable).parent
    check = Tool(lambda folder: [str(here / "torchdx"), "check", "--format", "json", str(folder)], ours)
    found = {
        "ast.parse": Tool(lambda folder: [sys.executable, "-c", PARSE, str(folder)], no_findings),
        OURS: check,
        AGAIN: check,
    }
    if peers is not None:
        there = peers / "bin"
        found["torchfix"] = Tool(
            lambda folder: [str(there / "torchfix"), "-j", "1", "--select", "ALL", str(folder)], torchfix
        )
        found["torch-preflight"] = Tool(
            lambda folder: [str(there / "torch-preflight"), "check", "-j", "1", "-f", "json", str(folder)], preflight
        )
    return found


def install(place: Path) -> None:
    """Put the peers into an environment of their own, unless it is there already."""
    if (place / "bin" / "torchfix").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    wanted = [f"{name}=={version}" for name, version in PEERS.items()]
    subprocess.run([place / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted], check=True)


def asked(tool: Tool, folder: Path, cache: str) -> tuple[float, list[Told]]:
    """Processor seconds of the whole process, and what it found."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+", errors="replace") as answer:
        process = subprocess.Popen(
            tool.command(folder),
            stdout=answer,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=AS_INSTALLED | {"TORCHDX_CACHE": cache},
        )
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            sys.exit(f"{tool.command(folder)[0]} took more than {LIMIT} s, so it was given up; name fewer folders.")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer.seek(0)
        found = sorted({told(place) for place in tool.read(answer.read(), folder)})
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


def told(place: Place) -> Told:
    """A finding, with the repository, the first folder of its path, by itself."""
    repository, _, path = place[0].partition("/")
    return Told(repository.replace("+", "/"), path, *place[1:])


def copied(source: Path, target: Path) -> tuple[int, int]:
    """Copy the Python files of a repository, and nothing else, so that all tools read the same; how many, and lines."""
    from torchdx.source.reading import python_files

    files = [file for file in python_files([source]) if file.suffix == ".py" and file.is_file()]
    for file in files:
        place = target / source.name / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return len(files), sum(file.read_bytes().count(b"\n") + 1 for file in files)


def alone(mine: Iterable[Told], others: Iterable[Told]) -> list[Told]:
    """My findings that the others have nothing near to, whatever they would call it."""
    taken: dict[tuple[str, str], list[int]] = {}
    for told in others:
        taken.setdefault((told.repository, told.path), []).append(told.line)
    return [
        told
        for told in mine
        if not any(abs(line - told.line) <= NEAR for line in taken.get((told.repository, told.path), ()))
    ]


def measured(folders: Sequence[Path], arms: Mapping[str, Tool]) -> dict[str, Any]:
    """Every tool asked about all repositories: ours several times, in turns with `ast.parse`; then each peer once."""
    taken: dict[str, list[float]] = {name: [] for name in arms}
    found: dict[str, list[Told]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve() / "code"
        folder.mkdir()
        counts = [copied(source, folder) for source in folders]
        order = [["ast.parse", OURS, AGAIN], [OURS, AGAIN, "ast.parse"]]
        turns = [(turn, name) for turn in range(ROUNDS) for name in order[turn % 2]]
        for turn, name in [*turns, *((0, name) for name in arms if name in PEERS)]:
            spent, found[name] = asked(arms[name], folder, str(Path(place) / f"cache{turn}"))
            taken[name].append(spent)
            print(f"{name}: {spent:.2f} s", flush=True)
    files, lines = (sum(column) for column in zip(*counts, strict=True))
    return {"files": files, "lines": lines, "seconds": taken, "found": found}


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that are published."""
    found: Mapping[str, list[Told]] = result["found"]
    middle = {name: median(seconds) for name, seconds in result["seconds"].items()}
    all_told: dict[str, Any] = {}
    for name, mine in found.items():
        others = [each for other, theirs in found.items() if other not in (name, OURS, AGAIN) for each in theirs]
        if name in PEERS:
            others += found[OURS]
        all_told[name] = {
            "version": PEERS.get(name, ""),
            "cpu_seconds": [round(each, 2) for each in result["seconds"][name]],
            "times_ast_parse": round(middle[name] / middle["ast.parse"], 2),
            "lines_per_second": round(result["lines"] / middle[name]),
            "findings": len(mine),
            "alone": len(alone(mine, others)),
            "by_code": dict(sorted(Counter(each.code for each in mine).items())),
            "alone_by_code": dict(sorted(Counter(each.code for each in alone(mine, others)).items())),
        }
    for what in ("findings", "alone", "by_code", "alone_by_code"):
        all_told[AGAIN].pop(what)
    return {name: all_told[name] for name in result["seconds"]}


def main() -> None:
    """Measure, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="one repository each")
    parser.add_argument("--no-peers", action="store_true", help="time torchdx and ast.parse alone; publish nothing")
    parser.add_argument("--environment", type=Path, help="where the peers are, or are to be, installed")
    parser.add_argument("--findings", type=Path, help="write every finding of every tool here, as JSON")
    options = parser.parse_args()
    folders = [folder.resolve() for folder in options.folders if folder.is_dir() and any(folder.rglob("*.py"))]
    if not folders:
        sys.exit("None of these is a folder with Python files in it.")
    if options.no_peers:
        result = measured(folders, tools(None))
        print(json.dumps(summary(result), indent=1))
        return
    with tempfile.TemporaryDirectory() as place:
        peers = options.environment.absolute() if options.environment else Path(place)
        install(peers)
        result = measured(folders, tools(peers))
    if options.findings:
        every = {name: [vars(each) for each in mine] for name, mine in result["found"].items()}
        options.findings.write_text(json.dumps(every, indent=1) + "\n")
    report(len(folders), result)


def report(repositories: int, result: Mapping[str, Any]) -> None:
    """Publish one row a tool."""
    all_told = summary(result)
    rows = [
        [f"{name} {each['version']}".strip(), f"{median(each['cpu_seconds']):,.1f}", f"{each['times_ast_parse']:,.2f}"]
        + [f"{each['lines_per_second']:,}"]
        + ([f"{each['findings']:,}", f"{each['alone']:,}"] if name not in ("ast.parse", AGAIN) else ["", ""])
        for name, each in all_told.items()
    ]
    header = [f"{repositories} repositories, {result['files']:,} files, {result['lines']:,} lines", "CPU seconds"]
    header += ["/ ast.parse", "lines a second", "findings", "alone with"]
    publish("check", {"files": result["files"], "lines": result["lines"], **all_told}, header, rows)


if __name__ == "__main__":
    main()
