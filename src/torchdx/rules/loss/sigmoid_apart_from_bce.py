"""The sigmoid and the logarithm of the binary cross entropy are computed one after the other.

Seen as losses of exactly 100 for single samples, gradients that are 0 where the model is surely wrong, and, in mixed
precision, "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast".

Hurts because a float32 sigmoid is exactly 1 from a logit of 17 on. log(1 - p) is then minus infinity, which `BCELoss`
cuts off at -100; and the sigmoid's own gradient p(1 - p) is 0, so that a sample which is wrong with certainty teaches
nothing. In float16 this happens from 9 on, so CUDA's autocast refuses to do it at all.

Helped by `BCEWithLogitsLoss` on the logits, which computes both in one: max(x, 0) - x y + log(1 + exp(-|x|)), with the
gradient p - y everywhere; predictions are then `logits > 0`.

No fault when logits stay moderate, but a risk; hence this is advice, and a fault only under autocast on a GPU.

Sources: PyTorch documentation, `torch.nn.BCEWithLogitsLoss`, and "Automatic Mixed Precision", "Prefer
binary_cross_entropy_with_logits over binary_cross_entropy".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, Severity
from torchdx.rules.loss.softmax_before_cross_entropy import without
from torchdx.source import edits
from torchdx.source.losses import exchanged

if TYPE_CHECKING:
    from torchdx.source import Call, LossUse, Program

code, family, severity = "TDX608", "loss", "note"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()


def in_source(program: Program) -> Iterator[Finding]:
    """Every sigmoid whose output goes into a binary cross entropy, told at the first of them."""
    told = set()
    for use in sorted(program.losses("binary_cross_entropy"), key=lambda use: _under_autocast(use.call) is None):
        ending = use.ending
        homes = tuple(str(result.home.site) for result in ending.by)
        if ending.operation != "sigmoid" or homes in told:
            continue
        told.add(homes)
        refused = _under_autocast(use.call)
        place = ending.by[0].home.site
        where = place.seen_from(use.site.path)
        yield Finding(
            message=f"`{use.call.text[:50]}` is refused under CUDA's autocast: after a sigmoid ({where}) in float16 no "
            "digits are left for the logarithm"
            if refused
            else f"the sigmoid ({where}) is apart from `binary_cross_entropy`: its gradient vanishes where the "
            "model is surely wrong",
            site=use.site,
            evidence={"operation": "sigmoid", "operation_at": str(place)},
            cure="leave the sigmoid out, and use binary_cross_entropy_with_logits (BCEWithLogitsLoss)",
            confidence=0.95 if refused else 0.9,
            severity=refused,
        )


def _under_autocast(call: Call) -> Severity | None:
    """Does it stand, in its own function, under CUDA's autocast: certainly, or when that is switched on?"""
    for above in call.file.ancestors(call.node):
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return None
        for item in above.items if isinstance(above, (ast.With, ast.AsyncWith)) else ():
            found = call.program.expression(call.file, item.context_expr)
            if found.value.name.endswith("autocast") and found.value.name.startswith("torch."):
                return _switched_on(call, item.context_expr)
    return None


def _switched_on(call: Call, context: ast.expr) -> Severity | None:
    if not isinstance(context, ast.Call) or "cuda" not in call.file.text_of(context):
        return None
    on = next((keyword.value for keyword in context.keywords if keyword.arg == "enabled"), None)
    value = call.program.expression(call.file, on).literal if on is not None else True
    return "error" if value is True else None if value is False else "warning"


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the sigmoid out where it stands, and let the loss apply it, where both are in one file."""
    for use in program.losses("binary_cross_entropy"):
        if use.site == finding.site:
            found = _together(program, use)
            if found is not None:
                yield found


def _together(program: Program, use: LossUse) -> Fix | None:
    title = "let the loss apply the sigmoid"
    loss = exchanged(use, "BCEWithLogitsLoss", "binary_cross_entropy_with_logits", title)
    if loss is None or len(use.ending.by) != 1:
        return None
    file = program.file(loss.edits[0].path)
    out = list(without(program, file, use.ending.by[0])) if file is not None else []
    return edits.fix(title, file, [*out, *loss.edits]) if file is not None and out else None


def sick() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid(), nn.Flatten(0))
    loss_of = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])  # TDX608
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    loss_of = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            logits = model(inputs[rows])
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{((torch.sigmoid(model(inputs)) > 0.5) == labels).float().mean().item():.3f}")
