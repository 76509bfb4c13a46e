"""Logits are multiplied by the temperature of a distillation that should divide them.

Seen as a student that learns less from its teacher than from plain labels, and as steps that are far too large. Read in
the source: the log-softmax of logits times T, in a divergence that is multiplied by T squared, or where a softmax of
the same program divides by the same T.

Hurts because T > 1 is there to soften: softmax(z / T) shows how likely the teacher holds the wrong classes. The
gradient of the divergence with respect to z is (q - p) / T, and q - p shrinks as 1 / T, too, which is why the loss is
multiplied by T^2. With z * T, q is sharper and not softer, its gradient T (q - p), and T^2 makes it T^3 times as large.

Helped by `F.log_softmax(logits / T, dim=1)`.

No fault when what multiplies is an inverse temperature, which nothing else divides by and whose square is no factor.

Sources: G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.values import Result

if TYPE_CHECKING:
    from torchdx.source import Expression, LossUse, Program, SourceFile

code, family, severity = "TDX636", "loss", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        *("learning-rate-too-high", "exploding-gradient", "diverged", "not-learning", "overfitting", "validation-gap"),
        *("dead-relu", "one-class-predictions", "class-never-right", "saturated-activation"),
    }
)

SOFT = ("softmax", "log_softmax")


def in_source(program: Program) -> Iterator[Finding]:
    """Every divergence of logits times what is, by its square or beside another softmax, a temperature."""
    for use, given in _uses(program):
        factor = _factor(use.call.file, given)
        if factor:
            yield Finding(
                message=f"`{given.text}`: the temperature {factor} multiplies the logits, and should divide them",
                site=given.file.site(given.node),
                evidence={"temperature": factor},
                cure=f"divide by {factor}",
                confidence=0.93,
            )


def _uses(program: Program) -> Iterator[tuple[LossUse, Expression]]:
    """Each divergence, and what it takes a softmax of on either side, in the same file."""
    for use in program.losses("kl_div"):
        for side in (use.input, use.target):
            values = list(side.value.alternatives()) if side is not None else []
            for value in values:
                given = _of(value) if isinstance(value, Result) else None
                if len(values) == 1 and given is not None and given.file is use.call.file:
                    yield use, given


def _of(value: Result) -> Expression | None:
    """What it is a softmax of, be it called as a function or as a method."""
    if value.dotted.rpartition(".")[2] not in SOFT or value.module is not None:
        return None
    return value.call.argument(0, "input") if value.given is None else value.call.receiver


def _factor(file: SourceFile, given: Expression) -> str:
    """What multiplies it though it is a temperature; empty if there is no such thing."""
    product = given.node
    if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
        return ""
    for side in (product.right, product.left):
        name = file.text_of(side)
        if isinstance(side, ast.Name | ast.Attribute) and any(
            _softens(file, node, name) for node in ast.walk(file.tree)
        ):
            return name
    return ""


def _softens(file: SourceFile, node: ast.AST, name: str) -> bool:
    """Is this a product of a divergence with the name's square, or a softmax of something over it?"""
    if isinstance(node, ast.Call):
        apart = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.BinOp)
        of = node.func.value if apart and isinstance(node.func, ast.Attribute) else next(iter(node.args), None)
        over = isinstance(of, ast.BinOp) and isinstance(of.op, ast.Div) and file.text_of(of.right) == name
        return over and file.text_of(node.func).rpartition(".")[2] in SOFT
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    squares = (f"{name} ** 2", f"{name}**2", f"({name} ** 2)", f"({name}**2)", f"({name} * {name})")
    sides = (file.text_of(node.left), file.text_of(node.right))
    twice = sides[1] == name and sides[0].endswith(f"* {name}")
    return any(side in squares for side in sides) or twice


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Divide by it."""
    for use, given in _uses(program):
        file, product = use.call.file, given.node
        if file.site(product) != finding.site or not isinstance(product, ast.BinOp):
            continue
        name = _factor(file, given)
        logits = product.left if file.text_of(product.right) == name else product.right
        text = file.text_of(logits)
        text = text if isinstance(logits, ast.Name | ast.Attribute | ast.Call | ast.Subscript) else f"({text})"
        fix = edits.fix(f"divide by {name}", file, [edits.replace(file, product, f"{text} / {name}")])
        if fix is not None:
            yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    likely = 6 * functional.one_hot(labels, 10) + torch.randn(len(labels), 10)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    temperature = 3.0
    for _ in range(4):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            said = functional.log_softmax(model(images[rows]) * temperature, dim=1)  # TDX636
            taught = functional.softmax(likely[rows] / temperature, dim=1)
            loss = functional.kl_div(said, taught, reduction="batchmean") * temperature**2
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    likely = 6 * functional.one_hot(labels, 10) + torch.randn(len(labels), 10)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    temperature = 3.0
    for _ in range(4):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            said = functional.log_softmax(model(images[rows]) / temperature, dim=1)
            taught = functional.softmax(likely[rows] / temperature, dim=1)
            loss = functional.kl_div(said, taught, reduction="batchmean") * temperature**2
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    likely = 6 * functional.one_hot(labels, 10) + torch.randn(len(labels), 10)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    coldness = 0.33
    for _ in range(4):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            said = functional.log_softmax(model(images[rows]) * coldness, dim=1)
            taught = functional.softmax(likely[rows] * coldness, dim=1)
            loss = functional.kl_div(said, taught, reduction="batchmean") / coldness**2
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
