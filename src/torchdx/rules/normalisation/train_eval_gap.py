"""The same batches have another loss in evaluation mode than in training mode, and it is batch norm that makes it.

Seen as a validation loss that is far above the training loss from the start, and jumps about. Measured by the deep look
(`torchdx run --deep`) on a copy at the end of training, on batches that were trained on: their loss with batch norm in
evaluation mode and in training mode, dropout off in both.

Hurts because in evaluation mode batch norm uses running statistics in place of the batch's own. Where these are of
other data, every layer behind gets inputs that it was not trained on: in training they came through dropout, which
changes the variance; batches were each of one class or of one source; or they were never gathered.

Helped by taking dropout to behind the last batch norm, by shuffling batches, by the usual `momentum=0.1`, or by a norm
that has no running statistics (`nn.GroupNorm`, `nn.LayerNorm`).

No fault when batch norm has seen fewer than 44 batches, as its running statistics are then still on their way; when
both losses are small; or when dropout alone makes the difference, as it is meant to.

Sources: X. Li et al., arXiv 1801.05134 (variance shift); S. Ioffe and C. Szegedy, arXiv 1502.03167; H. Ben Braiek and
F. Khomh, "TheDeepChecker" (2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX413", "normalisation", "warning"
deep = True
needs = frozenset({"deep"})
explains = frozenset({"validation-gap", "overfitting"})

GAP = 1.0
"""Loss in evaluation over that in training mode, less one (catalogue, row 76, says 0.5). Healthy programs with batch
norm: -0.5 to 0.4, and up to 1.3 where the usual dropout stands before it; sick ones: 1.0 to 20."""
GAP_OF_SCALE = 0.25
"""The same gap over the loss of knowing nothing. Healthy: up to 0.12, with the
usual dropout 0.04; sick (dropout of 0.8 before batch norm, statistics hardly gathered): 0.27 and more."""
UPDATES = 44
"""Batches after which momentum 0.1 has forgotten all but 1 % of where it began."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Two losses of the same batches that differ by their mode alone."""
    told = record.experiments.result("modes_apart")
    if not told:
        yield NotEnough(record.experiments.why_not("modes_apart"))
        return
    read = dict(readings(record))
    if not told["norms"] or read.get("GAP", 0.0) <= GAP or read.get("GAP_OF_SCALE", 0.0) <= GAP_OF_SCALE:
        return
    if read.get("UPDATES", 0) < UPDATES:
        yield NotEnough(f"{UPDATES} training batches for the running statistics of batch norm")
        return
    layer = record.experiments.layer("modes_apart")
    far = f"; {layer.name} ({layer.cls}) has the running statistics that are furthest off" if layer else ""
    yield Finding(
        message=f"batches that were trained on have a loss of {told['train']:.3g} with batch norm in training mode, "
        f"and of {told['eval']:.3g} in evaluation mode{far}",
        site=record.experiments.site("modes_apart"),
        layer=layer.name if layer is not None else None,
        evidence={"loss in training mode": told["train"], "loss in evaluation mode": told["eval"]},
        cure="put dropout behind the last batch norm, shuffle the batches, or use a norm without running statistics",
        confidence=0.85,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = record.experiments.result("modes_apart")
    if not told.get("norms") or not told["train"] > 0:
        return
    yield "GAP", told["eval"] / told["train"] - 1
    scale = record.progress.prior or record.experiments.replay.get("recorded")
    if scale and scale > 0:
        yield "GAP_OF_SCALE", (told["eval"] - told["train"]) / scale
    yield "UPDATES", told["updates"] or 0


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    labels = torch.tensor(digits.target)
    bright = torch.tensor(digits.data, dtype=torch.float32) / 4
    dark = (4 - bright) / 8 - 1
    one = DataLoader(TensorDataset(bright, labels), batch_size=64, shuffle=True)
    other = DataLoader(TensorDataset(dark, labels), batch_size=64, shuffle=True)
    model = nn.Sequential(
        *(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64)),  # TDX413
        *(nn.ReLU(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for pair in zip(one, other, strict=True):
            for batch, wanted in pair:
                loss = nn.functional.cross_entropy(model(batch), wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    labels = torch.tensor(digits.target)
    bright = torch.tensor(digits.data, dtype=torch.float32) / 4
    dark = (4 - bright) / 8 - 1
    both = TensorDataset(torch.cat([bright, dark]), torch.cat([labels, labels]))
    loader = DataLoader(both, batch_size=64, shuffle=True)
    model = nn.Sequential(
        *(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64)),
        *(nn.ReLU(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for batch, wanted in loader:
            loss = nn.functional.cross_entropy(model(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    """The usual dropout before batch norm shifts its statistics a little."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(
        *(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(128)),
        *(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(64)),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(6):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
