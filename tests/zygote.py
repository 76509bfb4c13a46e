"""A process that has imported torch and scikit-learn once, and forks a watched child for each program it is sent.

A line of JSON on stdin names a script, its arguments and the record's folder (null for a bare run), and perhaps the
watcher's share of time and a file for the digest of what it leaves; a line on stdout answers with the child's exit
status. Importing is most of what a small program costs, so tests that watch dozens of them go through here; what the
launcher itself does is tested by starting real processes.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy  # noqa: F401
import sklearn.datasets
import sklearn.model_selection
import sklearn.preprocessing  # noqa: F401
import torch
import torch._dynamo
import torch.utils.data

from remains import Remains
from torchdx.launch import environment


def live(
    script: str,
    arguments: list[str],
    folder: str | None,
    overhead: float = 0.02,
    digest: str = "",
    deep: bool = False,
    audit: bool = False,
    max_steps: int | None = None,
) -> None:
    """Become the program: what follows is what plain python would do with it, under observation or bare."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    if digest:
        Remains(Path(digest))
    if folder is not None:
        os.environ |= environment({}, Path(folder), overhead, max_steps, deep, audit)
        from torchdx.watch import _begin

        _begin()
    runpy.run_path(script, run_name="__main__")


def status_of(asked: dict[str, Any]) -> int:
    """Live, and give the status to end with."""
    try:
        live(**asked)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        traceback.print_exc()
        sys.last_value = error
        return 1
    return 0


def end(status: int) -> NoReturn:
    """End as the interpreter does, but leave the modules where they are: to clear torch away takes a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            end(status_of(asked))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
