"""Whether a number that a program takes out of a tensor is the better the smaller it is, by the place alone."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from torchdx.source.merits import Merits
from torchdx.source.program import Program

if TYPE_CHECKING:
    from torchdx.finding import Site


@lru_cache(maxsize=64)
def sense(site: Site) -> int:
    """1 if what is taken out here is better the smaller it is, -1 if the greater, 0 if the source does not tell."""
    if not Path(site.path).is_file():
        return 0
    program = Program.around(site.path)
    file = program.file(site.path)
    node = file.node_at(site, ast.Call) if file is not None else None
    return -Merits(program).better(file, node) if file is not None and isinstance(node, ast.Call) else 0
