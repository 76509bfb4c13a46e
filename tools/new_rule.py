"""Start a rule: `make rule NAME=some-fault FAMILY=loss` writes its file, to be filled in.

Copied from a template that has every part a rule needs, under the next free code of its family.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from torchdx.rules import FAMILIES, all_rules, find_rule

RULES = Path(__file__).parent.parent / "src" / "torchdx" / "rules"

TEMPLATE = '''"""<One sentence: the fault, as it is.>

Seen as <what a person notices, and what is measured>.
Hurts because <the mechanism, with the formula>.
Helped by <the cures, best first>.
No fault when <what looks like it and is not>.
Sources: <a paper, a page of the manual>.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program

code, family, severity = "{code}", "{family}", "warning"
needs: frozenset[str] = frozenset()  # the kinds of facts that in_run asks for
explains: frozenset[str] = frozenset()  # the symptoms and rules that it brings about


def in_source(program: Program) -> Iterator[Finding]:
    """<The fault as the source shows it; remove this function where it does not.>"""
    yield from ()


def in_run(record: Record) -> Iterator[Finding]:
    """<The fault as a run shows it; remove this function where it does not.>"""
    yield from ()


def in_audit(record: Record, program: Program | None) -> Iterator[Finding]:
    """<The fault as an audit of the data shows it; remove this function where it does not.>"""
    yield from ()


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    yield from ()


def sick() -> None:
    """A small program that has this fault and no other."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    inputs = torch.randn(256, 4)
    targets = inputs.sum(1, keepdim=True)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        loss = nn.functional.mse_loss(model(inputs), targets)  # {code}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def healthy() -> None:
    """The same program, cured."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    inputs = torch.randn(256, 4)
    targets = inputs.sum(1, keepdim=True)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        loss = nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
'''


def next_code(family: str) -> str:
    """The first code of the family that is higher than every one in use."""
    digit = FAMILIES[family]
    used = [int(rule.code[3:]) for rule in all_rules() if rule.code.startswith(f"TDX{digit}")]
    before = int(digit) * 100 or 9  # TDX001 to TDX009 are what the check says of comments
    return f"TDX{max(used, default=before) + 1:03}"


def main(name: str, family: str) -> None:
    """Write the file, or say in one sentence why not."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        sys.exit("NAME is the fault as a noun phrase with hyphens: make rule NAME=double-scaling FAMILY=data")
    if family not in FAMILIES:
        sys.exit(f"FAMILY is one of {', '.join(FAMILIES)}.")
    if find_rule(name):
        sys.exit(f"There is a rule {name} already.")
    folder = RULES / family
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    file = folder / f"{name.replace('-', '_')}.py"
    file.write_text(TEMPLATE.replace("{code}", next_code(family)).replace("{family}", family))
    print(f"{file.relative_to(Path.cwd())} awaits its words; CONTRIBUTING.md tells how.")


if __name__ == "__main__":
    main(*sys.argv[1:3])
