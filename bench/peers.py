"""`torchdx check` beside `ast.parse`, torchfix and torch-preflight: time, findings, and which findings only one has."""

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
from typing import Any

from publish import publish

PEERS = {"torchfix": "0.7.0", "torch-preflight": "0.5.0"}
OURS = "torchdx check"
NEAR = 3
"""Findings of two tools this many lines apart may mean the same: each has its own idea of where a fault stands."""
LIMIT = 900

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
    """Findings of `torchdx check --format json`, the consequences under them, too."""
    queue = list(json.loads(answer)["findings"])
    for finding in queue:
        queue += finding["consequences"]
        if finding["path"]:
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


def tools(peers: Path) -> dict[str, Tool]:
    """Every tool, one process and one job each; `peers` is the environment that holds the peers."""
    here, there = Path(sys.executable).parent, peers / "bin"
    return {
        "ast.parse": Tool(lambda folder: [sys.executable, "-c", PARSE, str(folder)], no_findings),
        OURS: Tool(lambda folder: [str(here / "torchdx"), "check", "--format", "json", str(folder)], ours),
        "torchfix": Tool(lambda folder: [str(there / "torchfix"), "-j", "1", "--select", "ALL", str(folder)], torchfix),
        "torch-preflight": Tool(
            lambda folder: [str(there / "torch-preflight"), "check", "-j", "1", "-f", "json", str(folder)], preflight
        ),
    }


def install(place: Path) -> None:
    """Put the peers into an environment of their own, unless it is there already."""
    if (place / "bin" / "torchfix").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    wanted = [f"{name}=={version}" for name, version in PEERS.items()]
    subprocess.run([place / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted], check=True)


def asked(tool: Tool, repository: str, folder: Path) -> tuple[float | None, list[Told]]:
    """Processor seconds of the whole process, or None where it was given up, and what it found."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            tool.command(folder),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT,
            cwd=folder,
            env=os.environ | {"TORCHDX_CACHE": ""},
        )
    except subprocess.TimeoutExpired:
        return None, []
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        found = sorted({Told(repository, *place) for place in tool.read(done.stdout, folder)})
    except (ValueError, KeyError):
        print(f"{tool.command(folder)[0]} gave no answer: {done.stderr[-500:]}", file=sys.stderr)
        return None, []
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


def copied(source: Path, target: Path) -> tuple[int, int]:
    """Copy the Python files of a repository, and nothing else, so that all tools read the same; how many, and lines."""
    from torchdx.source.reading import python_files

    files = [file for file in python_files([source]) if file.suffix == ".py" and file.is_file()]
    for file in files:
        place = target / file.relative_to(source)
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


def measured(folders: Sequence[Path], peers: Path) -> dict[str, Any]:
    """Every tool asked about every repository, in turns whose order changes from one to the next."""
    arms = tools(peers)
    seconds: dict[str, float] = dict.fromkeys(arms, 0.0)
    found: dict[str, list[Told]] = {name: [] for name in arms}
    given_up: dict[str, list[str]] = {name: [] for name in arms}
    files = lines = 0
    for turn, source in enumerate(folders):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place).resolve() / "code"
            folder.mkdir()
            counted = copied(source, folder)
            files, lines = files + counted[0], lines + counted[1]
            for name, tool in list(arms.items())[:: -1 if turn % 2 else 1]:
                took, told = asked(tool, source.name, folder)
                seconds[name] += took or 0.0
                found[name] += told
                given_up[name] += [] if took is not None else [source.name]
            print(f"{source.name}: {counted[1]:,} lines", *(f"{n} {s:.1f} s" for n, s in seconds.items()), sep="  ")
    return {"files": files, "lines": lines, "seconds": seconds, "found": found, "given_up": given_up}


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that are published."""
    found: Mapping[str, list[Told]] = result["found"]
    told: dict[str, Any] = {}
    for name, mine in found.items():
        spent = result["seconds"][name]
        others = [each for other, theirs in found.items() if other != name for each in theirs]
        told[name] = {
            "version": PEERS.get(name, ""),
            "cpu_seconds": round(spent, 1),
            "lines_per_second": round(result["lines"] / spent) if spent else None,
            "findings": len(mine),
            "alone": len(alone(mine, others)),
            "by_code": dict(sorted(Counter(each.code for each in mine).items())),
            "alone_by_code": dict(sorted(Counter(each.code for each in alone(mine, others)).items())),
            "given_up": result["given_up"][name],
        }
    return told


def again(folders: Sequence[Path], known: Path) -> None:
    """Ask torchdx alone once more, and print what it finds that peers asked earlier did not."""
    told = [
        Told(each["repository"], each["path"], each["line"], each["code"])
        for name in PEERS
        for each in json.loads(known.read_text())[name]
    ]
    for source in folders:
        _, mine = asked(tools(Path())[OURS], source.name, source)
        for each in alone([one for one in mine if one.path.endswith(".py")], told):
            print(f"{each.repository}/{each.path}:{each.line}: {each.code}")


def main() -> None:
    """Measure, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="one repository each")
    parser.add_argument("--environment", type=Path, help="where the peers are, or are to be, installed")
    parser.add_argument("--findings", type=Path, help="write every finding of every tool here, as JSON")
    parser.add_argument("--known", type=Path, help="findings of an earlier run: ask only torchdx, and publish nothing")
    options = parser.parse_args()
    folders = [folder.resolve() for folder in options.folders if folder.is_dir() and any(folder.rglob("*.py"))]
    if not folders:
        sys.exit("None of these is a folder with Python files in it.")
    if options.known:
        again(folders, options.known)
        return
    with tempfile.TemporaryDirectory() as place:
        peers = options.environment.absolute() if options.environment else Path(place)
        install(peers)
        result = measured(folders, peers)
    if options.findings:
        every = {name: [vars(each) for each in mine] for name, mine in result["found"].items()}
        options.findings.write_text(json.dumps(every, indent=1) + "\n")
    told = summary(result)
    rows = [
        [f"{name} {each['version']}".strip(), f"{each['cpu_seconds']:,.0f}", f"{each['lines_per_second']:,}"]
        + ([f"{each['findings']:,}", f"{each['alone']:,}"] if name != "ast.parse" else ["", ""])
        for name, each in told.items()
    ]
    header = [f"{len(folders)} repositories, {result['files']:,} files, {result['lines']:,} lines"]
    header += ["CPU seconds", "lines a second", "findings", "alone with"]
    publish("peers", {"files": result["files"], "lines": result["lines"], **told}, header, rows)


if __name__ == "__main__":
    main()
