"""A method is named and not called: the parentheses are missing, so the line does nothing.

Seen as training that changes nothing (`optimizer.step`), gradients that grow from round to round
(`optimizer.zero_grad`), or a test that is taken with dropout switched on (`model.eval`), while every line runs.

Hurts because `optimizer.step` without parentheses is an expression: Python looks the method up, throws the result
away, and goes on. No error is raised, and no weight, gradient or mode is touched.

Helped by the parentheses.

No fault when the name is a property or a value of the object's own, or when the method is kept for later.

Sources: Python language reference, "Expression statements"; pylint, `pointless-statement`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Edit, Finding, Fix
from torchdx.source import edits
from torchdx.source.values import Instance, Method, Reference

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile
    from torchdx.source.values import Value

code, family, severity = "TDX907", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "gradients-not-cleared", "validation-gap"})

MENTION = re.compile(rb"\.(?:step|zero_grad|eval|train|backward|update|unscale_)[ \t]*(?:;|#[^\n]*)?\r?$", re.MULTILINE)
CONSEQUENCES = {
    "step": "nothing is stepped",
    "zero_grad": "the gradients stay",
    "eval": "the mode stays what it was",
    "train": "the mode stays what it was",
    "backward": "no gradient is computed",
    "update": "nothing is updated",
    "unscale_": "the gradients stay scaled",
}


def in_source(program: Program) -> Iterator[Finding]:
    """Every statement that is nothing but the name of such a method."""
    for file in program.torch_files:
        if not MENTION.search(file.bytes):
            continue
        for node in _mentions(file):
            values = program.evaluate(file, node).alternatives()
            known = all(_is_method(value) for value in values)
            if known or all(_could_be(value) for value in values):
                text = file.text_of(node)
                yield Finding(
                    message=f"`{text}` only names the method and does not call it: {CONSEQUENCES[node.attr]}",
                    site=file.site(node),
                    cure=f"write `{text}()`",
                    confidence=0.99 if known else 0.9,
                    severity=None if known else "warning",
                )


def _mentions(file: SourceFile) -> Iterator[ast.Attribute]:
    lines = {file.bytes.count(b"\n", 0, found.start()) + 1 for found in MENTION.finditer(file.bytes)}
    for node, above in file.index.parents.items():
        if not isinstance(above, ast.Expr) or not isinstance(node, ast.Attribute):
            continue
        if node.end_lineno in lines and node.attr in CONSEQUENCES:
            yield node


def _is_method(value: Value) -> bool:
    """Is it certainly a method of a torch object, or a function of the project's?"""
    if isinstance(value, Reference):
        return value.definition is not None
    if not isinstance(value, Method):
        return False
    if value.definition is not None:
        return True
    owner = value.receiver
    if isinstance(owner, Instance):
        return owner.is_module or owner.is_optimizer or owner.is_scheduler or owner.dotted.startswith("torch.")
    return owner.name.startswith("torch.") and value.method == "backward"


def _could_be(value: Value) -> bool:
    """Does the name belong to something that reading knows nothing about?"""
    return isinstance(value, Method) and not isinstance(value.receiver, Instance)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Call it."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Attribute) if file is not None and finding.site else None
    if file is not None and isinstance(node, ast.Attribute):
        end = file.span(node)[1]
        found = edits.fix("call the method", file, [Edit(file.path, end, end, b"()")], safe=True)
        if found is not None:
            yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        scheduler.step  # noqa: B018  # TDX907
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        scheduler.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Counter:
        """One whose `step` is a property, and is asked for its effect."""

        def __init__(self) -> None:
            self.count = 0

        @property
        def step(self) -> int:
            self.count += 1
            return self.count

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of, counter = nn.CrossEntropyLoss(), Counter()
    advance = optimizer.step
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            advance()
            counter.step  # noqa: B018
    print(f"{loss.item():.3f}", counter.count)
