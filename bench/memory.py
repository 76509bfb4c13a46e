"""What a long run leaves: the size of the record and the memory of the watched process over 100,000 steps."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from subprocess import run

from publish import publish
from torchdx.launch import as_program, launch

ENDLESS = Path(__file__).parent / "patients" / "endless.py"
MEGA = 1 << 20


def train(steps: int, folder: Path, watched: bool) -> tuple[list[int], int]:
    """Run the long loop; give the resident bytes after each tenth of its steps, and the bytes of its record."""
    out, record = folder / "out.json", folder / "record"
    command = [str(ENDLESS), "--steps", str(steps), "--out", str(out)]
    if watched:
        if launch(command, record).status != 0:
            sys.exit("The run was not watched to its end, so nothing was measured.")
    else:
        run(as_program(command), check=True)
    size = sum(file.stat().st_size for file in record.rglob("*") if file.is_file()) if watched else 0
    return json.loads(out.read_text())["resident"], size


def main() -> None:
    """Measure, print, and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    steps = parser.parse_args().steps
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    rows, results = [], {}
    for arm in ("bare", "watched"):
        with tempfile.TemporaryDirectory() as folder:
            held, size = train(steps, Path(folder), arm == "watched")
        results[arm] = {"resident": held, "record": size}
        growth = (held[-1] - held[0]) / MEGA
        told = f"{size / MEGA:.2f} MB" if size else ""
        rows.append([arm, f"{held[0] / MEGA:.0f} MB", f"{held[-1] / MEGA:.0f} MB", f"{growth:+.1f} MB", told])
    header = [f"{steps:,} steps", "held after a tenth", "held at the end", "growth", "record"]
    publish("memory", {"steps": steps, **results}, header, rows)


if __name__ == "__main__":
    main()
