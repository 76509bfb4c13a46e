"""Inputs reach the first layer in raw units: bytes up to 255, or columns of wildly different size.

Seen as a first loss many times that of a model that sees nothing, wild first steps, squashing units that are flat at
once, and a learning rate that is too high for some columns and too low for all others.

Hurts because the gradient of a first weight is the error times its input: inputs 100 times too large make gradients 100
times, and the curvature 10,000 times, as large along them. Plain gradient descent is stable only below 2 / curvature,
so the largest column dictates a rate at which the others stand still.

Helped by `x / 255` (or `ToTensor`) for pictures, then (x - mean) / deviation for each channel or column, with numbers
from the training set alone; by batch normalisation as the first layer where the data's range is not known.

No fault when a layer that normalises comes first, when the model scales its inputs itself, or when the numbers are
class indices for an embedding. Inputs of moderate size, such as 0 to 16, are told only where harm is measured.

Sources: Y. LeCun et al., "Efficient BackProp" (1998), section 4.3; CS231n, "Neural Networks Part 2: Setting up the
Data"; A. Karpathy, "A Recipe for Training Neural Networks" (2019).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX502", "data", "warning"
needs = frozenset({"input"})
explains = frozenset(
    {
        "saturated-activation",
        "exploding-gradient",
        "vanishing-gradient",
        "nonfinite-value",
        "dead-relu",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "initial-loss-off-scale",
        "not-learning",
        "non-finite",
        "diverged",
        "loss-bounces",
    }
)

LARGE = 20.0
"""RMS of the inputs, or of the largest column, that is looked into: standardised data have 1, raw 0..16 digits 13, raw
iris 6; raw 0..255 digits have 200, raw wine 780, raw breast cancer 900."""

OFF = 3.0
"""First loss over that of a model that sees nothing (catalogue, row 45: error above 3). Healthy programs read 0.9 to
1.7, 0..16 digits among them; nine of ten raw-input programs 12 to 240, and the tenth is told by its flat units."""

HUGE, DROPPED, VAST = 100.0, 100.0, 1000.0
"""RMS of the inputs, and the objective at the first steps over its median, that count as harm where nothing is known of
the loss of a model that sees nothing, as with a hand-written one. Healthy programs (170): 2.6 and 15 at most; sick ones
423 and 50,000, 700 and 2,000. Above the third, an RMS, they are told whatever came of it; one sick one read 5,150."""

FLAT = 0.5
"""Share of flat outputs of a squashing layer that counts as harm, as for `saturated-activation`."""

LEARNT = 0.98
"""Share of the prior's loss that a model must get below to have learnt something (catalogue, row 88)."""

ROW = 49
"""Numbers in a row from which a table of whole numbers up to 255 is taken for flattened pictures (7 x 7 pixels)."""


def in_run(record: Record) -> Iterator[Finding]:
    """Models whose first layer was given raw inputs, once each."""
    for fact, given in _inputs(record):
        size = _size(given)
        harm = _harm(record, size)
        if _are_bytes(given) or size > VAST or (size > LARGE and harm):
            yield _finding(fact, given, size, harm)


def _inputs(record: Record) -> Iterator[tuple[Fact, Fact]]:
    """For each model: the first look at its inputs, and what its first layer was given."""
    told = set()
    for fact in record.process.all("input"):
        number, first = fact["module"], fact.get("first", {})
        if number in told or "module" not in first or _normalises(record, first["module"]):
            continue
        given = first if "std" in first else fact
        if str(given.get("dtype", "")).startswith(("float", "bfloat")) and "std" in given:
            told.add(number)
            yield fact, given


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    sizes = [_size(given) for _, given in _inputs(record)]
    if sizes:
        yield from (("LARGE", max(sizes)), ("VAST", max(sizes)))
        base, progress = _blind_loss(record), record.progress
        if base:
            yield "OFF", record.objective.first / base
        elif base is None:
            yield "HUGE", max(sizes)
            yield "DROPPED", _dropped(record)
        if progress.prior and progress.prior > 0:
            yield "LEARNT", progress.last / progress.prior
        if flat := _flat(record):
            yield "FLAT", max(flat)


def _normalises(record: Record, number: int) -> bool:
    layer = record.process.layers.get(str(number))
    return layer is None or "Norm" in layer.cls or "Embedding" in layer.cls


def _size(given: Mapping[str, Any]) -> float:
    """RMS of the inputs or, of a table, of its largest column."""
    whole = float((given["mean"] ** 2 + given["std"] ** 2) ** 0.5)
    columns: Sequence[float] = given.get("columns", ())
    return max([whole, *columns])


def _are_bytes(given: Mapping[str, Any]) -> bool:
    """Whole numbers from 0 to 255, in the shape of pictures: nothing else looks like that."""
    shape = given["shape"]
    pictures = len(shape) in (3, 4) or (len(shape) == 2 and shape[1] >= ROW)
    return bool(pictures and given.get("whole") and given["min"] >= 0 and 250 <= given["max"] <= 255)


def _harm(record: Record, size: float) -> str:
    """What was measured that raw inputs bring about; empty if nothing was."""
    progress, base = record.progress, _blind_loss(record)
    first = record.objective.first
    if base and first > OFF * base:
        return f"the first loss is {first:.3g}, {first / base:.1f} times that of a model that sees nothing"
    if base is None and size > HUGE and (dropped := _dropped(record)) > DROPPED:
        return f"the first losses are {dropped:.0f} times those of the run's middle"
    if any(flat > FLAT for flat in _flat(record)):
        return "squashing units are flat from the first steps on"
    if not progress.finite:
        return "values that are not finite were met"
    if progress.prior and progress.prior > 0 and not progress.last < LEARNT * progress.prior:
        return (
            f"after {record.steps} steps the loss is {progress.last:.3g}, and {progress.prior:.3g} is reached blindly"
        )
    return ""


def _dropped(record: Record) -> float:
    """The objective at the first steps over its median; 0 if it has been negative."""
    objective = record.objective.finite
    return objective.earliest(3).mean / objective.median if objective and objective.lowest > 0 else 0.0


def _flat(record: Record) -> list[float]:
    """The share of flat outputs of each squashing layer, in the first steps."""
    squashing = (layer for layer in record.layers if layer.cls in ("Sigmoid", "Tanh") and layer.series("read"))
    return [layer.series("flat").earliest(5).median for layer in squashing]


def _blind_loss(record: Record) -> float | None:
    """The loss of a model that always says nothing: log C, or what the targets cost beside 0."""
    if record.progress.prior is None:
        return _loss_of_zero(record) or _weighted(record)
    for use in record.losses_called("mse_loss"):
        target = next((look["target"] for look in use.calls() if "std" in look["target"]), None)
        if target is not None:
            return float(target["std"] ** 2 + target["mean"] ** 2)
    return record.uniform_loss or max(record.progress.prior, 0.0)


def _weighted(record: Record) -> float | None:
    """The loss of guessing uniformly, which is log C in the weighted mean of a cross entropy, whatever the weights."""
    alone = record.progress.plain and {use.function for use in record.losses} == {"cross_entropy"}
    mean = all(use.option("reduction") == "mean" for use in record.losses)
    return record.uniform_loss if alone and mean else None


def _loss_of_zero(record: Record) -> float | None:
    """The loss of always answering 0, where the objective is one loss that was told so."""
    uses = [use for use in record.losses if any(True for _ in use.calls())]
    looks = list(uses[0].calls()) if len(uses) == 1 and record.progress.plain else []
    blind = [look["target"]["blind"] for look in looks if look["target"].get("blind")]
    return fmean(blind) if len(blind) == len(looks) > 0 else None


def _finding(fact: Mapping[str, Any], given: Mapping[str, Any], size: float, harm: str) -> Finding:
    columns = given.get("columns", ())
    bytes_ = _are_bytes(given)
    words = f"values from {given['min']:.3g} to {given['max']:.3g}"
    if bytes_:
        words += ", raw bytes,"
    elif columns and columns[-1] > 10 * columns[1]:
        words += f", in columns of RMS {columns[0]:.2g} to {columns[-1]:.3g},"
    evidence = {"least input": given["min"], "greatest input": given["max"], "mean": given["mean"], "std": given["std"]}
    if columns:
        evidence["RMS of the columns (least, middle, greatest)"] = list(columns)
    if harm:
        evidence["harm"] = harm
    return Finding(
        message=f"the model is given {words} unscaled" + (f": {harm}" if harm else ""),
        site=site_of(fact.get("site")),
        evidence=evidence,
        cure="divide by 255, then subtract the mean and divide by the deviation of the training set"
        if bytes_
        else "subtract each column's mean and divide by its deviation, both from the training set",
        confidence=0.97 if bytes_ and harm else 0.9 if bytes_ or harm else 0.8,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Divide bytes by 255 wherever the file calls the model."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call) or not 128 < finding.evidence.get("greatest input", 0) <= 256:
        return
    name = file.text_of(node.func)
    changes = [
        edits.replace(file, call.args[0], _divided(file, call.args[0]))
        for call in file.index.parents
        if isinstance(call, ast.Call) and call.args and file.text_of(call.func) == name
        if not isinstance(call.args[0], ast.Starred)
    ]
    found = edits.fix("divide the inputs by 255", file, changes)
    if found is not None:
        yield found


def _divided(file: SourceFile, node: ast.expr) -> str:
    plain = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return f"{file.text_of(node)} / 255" if plain else f"({file.text_of(node)}) / 255"


def sick() -> None:
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.from_numpy((digits.data * 255 / 16).astype(np.uint8))
    loader = DataLoader(TensorDataset(pictures, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.float()), labels)  # TDX502
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.from_numpy((digits.data * 255 / 16).astype(np.uint8))
    loader = DataLoader(TensorDataset(pictures, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images.float() / 255), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    wine = load_wine()
    table = torch.tensor(wine.data, dtype=torch.float32)
    loader = DataLoader(TensorDataset(table, torch.tensor(wine.target)), batch_size=32, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(20):
        for rows, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(rows), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
