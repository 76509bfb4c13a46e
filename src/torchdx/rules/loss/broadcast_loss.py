"""Predictions and targets of different shapes are broadcast against each other in the loss.

Seen as a loss that stays near the variance of the targets, a model whose outputs all come close to one number, and
PyTorch's warning "Using a target size that is different to the input size".

Hurts because (N, 1) against (N) becomes (N, N): the loss is the mean of (p_i - y_j)² over all i and j, so every
prediction is compared with every target. It is least where every p_i is the mean of the targets, whatever the inputs
say; its value there is their variance.

A loss written by hand is found in the autograd graph: an operation of which one operand is (N, 1) and the other (N).
Where autograd keeps no shape of the data, it is told by the values of all pairs, and by predictions that come to differ
far less between samples than the data do.

Helped by giving both one shape: `prediction.squeeze(-1)`, or `target.unsqueeze(-1)`.

No fault when one side is broadcast to the other's own shape, as weights or a constant may be, when both have the same
number of dimensions or `reduction="none"` keeps all pairs, as for a table of distances, or in a batch of one; or when
each is meant to meet each other, as in a ranking loss: a dimension of 1 is asked for there, by `unsqueeze` or `None`.

Sources: PyTorch documentation, "Broadcasting semantics" and `torch.nn.functional.mse_loss`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Fact, LossUse, Record
    from torchdx.source import Program

code, family, severity = "TDX606", "loss", "error"
needs = frozenset({"step"})
explains = frozenset({"not-learning", "cannot-fit-one-batch", "labels-unrelated", "learning-rate-too-low"})

ELEMENTWISE = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss")
"""Losses that broadcast; the binary cross entropies refuse shapes that differ."""

ALIKE = 0.3
"""Deviation of predictions over that of the data they are compared with, in the later half: one distribution is fitted
to the other where pairs are meant (0.83 and more, one program); four losses broadcast by mistake read 0.02 to 0.12."""

LOOKS = 3
"""Looks at values before they are judged."""

Shape = tuple[int, ...]


def in_run(record: Record) -> Iterator[Finding]:
    """Every elementwise loss whose input and target were of one size, and spread over all pairs each time."""
    found = list(_called(record))
    yield from found
    if not found:
        yield from _written_out(record)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    measured = [looks for looks in _by_place(record) if looks[0].get("other")]
    yield "LOOKS", max(map(len, measured), default=0)
    if measured:
        yield "ALIKE", min(_alike(looks) for looks in measured)


def _written_out(record: Record) -> Iterator[Finding]:
    """Every operation of a loss that made all pairs of two shapes, each time it was looked at."""
    for looks in _by_place(record):
        exact = looks[0].get("other") is None
        if not all(look.get("shapes") for look in looks):
            continue
        if not exact and not (len(looks) >= LOOKS and _alike(looks) < ALIKE):
            continue
        one, other = (tuple(shape) for shape in looks[0]["shapes"])
        told: dict[str, Any] = {"operation": _word(looks[0]), "shapes": f"{one} and {other}", "looks": len(looks)}
        if not exact:
            told |= {"deviation of the predictions over that of the data": _alike(looks)}
        lines = {str(fact["site"]): fact["line"] for fact in record.process.all("broadcast_line")}
        place = looks[0]["site"]
        yield Finding(
            message=f"the loss is computed from tensors of shape {one} and {other}, which are broadcast to "
            f"{_broadcast(one, other)}: every sample is compared with every other, and the best that can be learnt is "
            "the same for all inputs",
            site=site_of(lines.get(str(place), place)),
            evidence=told,
            cure="give both one shape, by `.squeeze(-1)` on the one or `.unsqueeze(-1)` on the other",
            confidence=0.95 if exact else 0.9,
            severity=None if exact else "warning",
        )


def _by_place(record: Record) -> list[list[Fact]]:
    """The operations found, by the place of the backward pass."""
    places: dict[str, list[Fact]] = {}
    for fact in record.process.all("broadcast"):
        places.setdefault(str(fact.get("site")), []).append(fact)
    return list(places.values())


def _alike(looks: Sequence[Fact]) -> float:
    """How far predictions differ, over how far the data do, in the later half of what was seen."""
    late = [look for look in looks if 2 * look["step"] > looks[-1]["step"] and look.get("other")]
    return median(look["own"] / look["other"] for look in late) if late else math.nan


def _word(look: Fact) -> str:
    return str(look.get("operation", "")).partition("Backward")[0]


def _called(record: Record) -> Iterator[Finding]:
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
            scores = codes[:, 0]
            order = (targets[rows, None] - targets[rows]).sign()
            ranked = (1 - (scores[:, None] - scores) * order).relu().mean()
            (loss + 0.1 * ranked + 0.01 * mse_loss(codes, centre) + 0.01 * l1_loss(codes, centre[0])).backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
