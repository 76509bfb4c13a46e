"""Predictions and targets of different shapes are broadcast against each other in the loss.

Seen as a loss that stays near the variance of the targets, a model whose outputs all come close to one number, and
PyTorch's warning "Using a target size that is different to the input size".

Hurts because (N, 1) against (N) becomes (N, N): the loss is the mean of (p_i - y_j)² over all i and j, so every
prediction is compared with every target. It is least where every p_i is the mean of the targets, whatever the inputs
say; its value there is their variance.

Helped by giving both one shape: `prediction.squeeze(-1)`, or `target.unsqueeze(-1)`.

No fault when one side is broadcast to the other's own shape, as weights or a constant may be, when both have the same
number of dimensions or `reduction="none"` keeps all pairs, as for a table of distances, or in a batch of one.

Sources: PyTorch documentation, "Broadcasting semantics" and `torch.nn.functional.mse_loss`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from statistics import fmean
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding, Fix
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Fact, LossUse, Record
    from torchdx.source import Program

code, family, severity = "TDX606", "loss", "error"
needs = frozenset({"loss"})
explains = frozenset({"not-learning", "cannot-fit-one-batch", "labels-unrelated"})

ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss")
"""Losses that broadcast; the binary cross entropies refuse shapes that differ."""

Shape = tuple[int, ...]


def in_run(record: Record) -> Iterator[Finding]:
    """Every elementwise loss whose input and target were of one size, and spread over all pairs each time."""
    for use in record.losses_called(*ELEMENTWISE):
        trains = list(use.calls("train"))
        looks = [look for look in trains or use.calls("eval") if any(shape[:1] != (1,) for shape in _shapes(look))]
        if not looks or use.option("reduction") == "none" or not all(_spreads(*_shapes(look)) for look in looks):
            continue
        given, target = _shapes(looks[0])
        yield Finding(
            message=f"`{use.function}` is given predictions of shape {given} and targets of shape {target}, which are "
            f"broadcast to {_broadcast(given, target)}: every prediction is compared with every target, "
            + ("and the best it can learn is one number for all inputs" if trains else "so the value means nothing"),
            site=use.site,
            evidence=_evidence(use, looks),
            cure=f"give both one shape: `.squeeze({_axis(given, target)})` on the "
            f"{'predictions' if len(given) > len(target) else 'targets'}",
            confidence=0.99 if trains else 0.95,
            severity=None if trains else "warning",
        )


def _shapes(look: Fact) -> tuple[Shape, Shape]:
    return tuple(look["input"].get("shape", ())), tuple(look["target"].get("shape", ()))


def _spreads(given: Shape, target: Shape) -> bool:
    """Are they alike but for one dimension of 1 that only one has, and is the result larger than either?"""
    return _axis(given, target) is not None and _broadcast(given, target) not in (given, target)


def _axis(given: Shape, target: Shape) -> int | None:
    """The one dimension, of 1, that the longer of two shapes has over the shorter (the last as -1), if that is all."""
    short, long = sorted((given, target), key=len)
    places = [k for k in reversed(range(len(long))) if long[k] == 1 and long[:k] + long[k + 1 :] == short]
    return None if not places else -1 if places[0] == len(long) - 1 else places[0]


def _broadcast(given: Shape, target: Shape) -> Shape:
    pairs = zip_longest(reversed(given), reversed(target), fillvalue=1)
    return tuple(max(pair) for pair in pairs)[::-1]


def _evidence(use: LossUse, looks: Sequence[Fact]) -> dict[str, Any]:
    given, target = _shapes(looks[0])
    told: dict[str, Any] = {"input shape": str(given), "target shape": str(target)}
    told |= {"broadcast shape": str(_broadcast(given, target)), "looks": len(looks)}
    spreads = [look["target"]["std"] for look in looks if look["target"].get("std") is not None]
    values = [look["value"] for look in looks if look.get("value") is not None]
    if use.function == "mse_loss" and spreads:
        told["variance of the targets, the least loss possible"] = fmean(spread**2 for spread in spreads)
    if values:
        told["loss at last"] = fmean(values[-5:])
    return told


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Squeeze the side that has a dimension more."""
    shapes = [finding.evidence.get(name) for name in ("input shape", "target shape")]
    if finding.site is None or None in shapes:
        return
    given, target = (ast.literal_eval(str(shape)) for shape in shapes)
    here = [use for use in program.losses(*ELEMENTWISE) if use.site.path == finding.site.path]
    here = [use for use in here if use.site.line == finding.site.line]
    use = next((use for use in here if use.site == finding.site), here[0] if len(here) == 1 else None)
    side = (use.input if len(given) > len(target) else use.target) if use is not None else None
    if side is None:
        return
    simple = isinstance(side.node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    squeezed = f"{side.text if simple else f'({side.text})'}.squeeze({_axis(given, target)})"
    found = edits.fix(
        "give both sides of the loss one shape", side.file, [edits.replace(side.file, side.node, squeezed)]
    )
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    inputs, targets = load_diabetes(return_X_y=True)
    inputs = torch.tensor(inputs / inputs.std(0), dtype=torch.float32)
    targets = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.MSELoss()
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), targets[rows])  # TDX606
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    inputs, targets = load_diabetes(return_X_y=True)
    inputs = torch.tensor(inputs / inputs.std(0), dtype=torch.float32)
    targets = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.MSELoss()
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]).squeeze(-1), targets[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.nn.functional import l1_loss, mse_loss

    torch.manual_seed(0)
    inputs, targets = load_diabetes(return_X_y=True)
    inputs = torch.tensor(inputs / inputs.std(0), dtype=torch.float32)
    targets = torch.tensor((targets - targets.mean()) / targets.std(), dtype=torch.float32)
    encoder, head = nn.Linear(10, 5), nn.Linear(5, 1)
    centre = torch.zeros(1, 5)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            codes = encoder(inputs[rows])
            loss = mse_loss(head(codes), targets[rows].unsqueeze(-1))
            (loss + 0.01 * mse_loss(codes, centre) + 0.01 * l1_loss(codes, centre[0])).backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
