"""Lines a second of `torchdx check` over any folder, beside `ast.parse` of the same files."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from publish import publish

LIMIT = 300

BEGIN = """
import json, resource, sys, time
from pathlib import Path
files = [Path(line) for line in sys.stdin.read().splitlines()]
"""

PARSE = """
import ast, warnings
warnings.simplefilter("ignore")
begun = time.process_time()
for file in files:
    try:
        ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        pass
found = 0
"""

CHECK = """
from torchdx.exam import examine
from torchdx.rules import all_rules
from torchdx.source import Program
all_rules()
begun = time.process_time()
found = sum(1 for _ in examine(Program.read(files), None).all_findings())
"""

END = """
seconds = time.process_time() - begun
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, found]))
"""


def measure(what: str, files: Sequence[Path]) -> tuple[float, float, int]:
    """Processor seconds, peak memory in MB, and the number of findings, in a fresh process."""
    command, names = [sys.executable, "-c", BEGIN + what + END], "\n".join(map(str, files))
    try:
        done = subprocess.run(command, input=names, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        sys.exit(f"One round took more than {LIMIT} s, so it was given up; name a smaller folder.")
    seconds, peak, found = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak, found


def count_lines(file: Path) -> int:
    """How many lines the file has."""
    return file.read_bytes().count(b"\n") + 1


def main() -> None:
    """Measure, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    from torchdx.source.reading import python_files

    files = [file.absolute() for file in python_files(options.folders) if file.suffix == ".py"]
    lines = sum(map(count_lines, files))
    if not lines:
        sys.exit(f"There is no Python file in {', '.join(map(str, options.folders))}.")
    taken: dict[str, list[tuple[float, float, int]]] = {"ast.parse": [], "torchdx check": []}
    for turn in range(options.rounds):
        arms = [("ast.parse", PARSE), ("torchdx check", CHECK)]
        for name, what in reversed(arms) if turn % 2 else arms:
            taken[name].append(measure(what, files))
    parse = median(seconds for seconds, _, _ in taken["ast.parse"])
    results = {
        name: {
            "seconds": [round(seconds, 3) for seconds, _, _ in all_of],
            "lines_per_second": round(lines / median(seconds for seconds, _, _ in all_of)),
            "times_ast_parse": round(median(seconds for seconds, _, _ in all_of) / parse, 2),
            "peak_mb": round(max(peak for _, peak, _ in all_of)),
            "findings": all_of[-1][2],
        }
        for name, all_of in taken.items()
    }
    print(f"{len(files):,} files, {lines:,} lines, median of {options.rounds} rounds\n")
    rows = [
        [name, f"{told['lines_per_second']:,}", f"{told['times_ast_parse']:.2f}", f"{told['peak_mb']:,}"]
        for name, told in results.items()
    ]
    header = [f"{len(files):,} files, {lines:,} lines", "lines a second", "time / ast.parse", "peak MB"]
    publish("check", {"files": len(files), "lines": lines, **results}, header, rows)


if __name__ == "__main__":
    main()
