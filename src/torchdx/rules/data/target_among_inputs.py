"""A column of the inputs is the very target that the model is to tell.

Seen as an error that falls to nearly nothing, on held-out data too, and a model that is useless where the answer is not
known yet. Measured are, in some samples of each batch that is looked at, the columns of a table of inputs beside those
of the targets: two that are the same in all of them but for scale and offset, or that always rise and fall together.

Hurts because the model copies that column and learns nothing of the others. When it is used the column is missing, or
filled with something else. It comes of a slice that reaches one column too far, a target that was not dropped from the
table, or a column that was computed from it.

Helped by dropping the target, and whatever is computed from it, before inputs are made.

No fault when the input shall be given back, whole or in part (an autoencoder, a state of which some parts stay as they
are), or the model is to tell an early one of a sequence.

Sources: S. Kaufman et al., "Leakage in Data Mining: Formulation, Detection, and Avoidance" (2012); measured: see LOOKS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Pairs, Record

code, family, severity = "TDX527", "data", "warning"
needs = frozenset({"pairs"})
explains = frozenset({"overfitting", "loss-without-floor"})

LOOKS = 3
"""Looks, each at up to 32 other samples, in which the columns must be the same. Of ten healthy programs that read
tables none has such a column; two autoencoders have many. It is so at all eight looks where a slice is too long."""

MOST = 8
"""Columns of targets, beyond which it may be the input that is given back."""

_ORDERED = ("RNN", "LSTM", "GRU", "Conv", "Multihead", "Transformer")


def in_run(record: Record) -> Iterator[Finding]:
    """A table one of whose columns is a target at every look."""
    if any(layer.cls.startswith(_ORDERED) for layer in record.layers):
        return  # columns may be places of a sequence, one of which is to be remembered
    for pairs in record.pairs:
        same = _same(pairs)
        if same and pairs.looks >= LOOKS:
            column, target = same[0]
            inputs, targets = pairs.columns
            which = f"column {target} of the {targets} targets" if targets > 1 else "the target"
            yield Finding(
                message=f"column {column} of the {inputs} inputs is {which} but for its scale, in all samples of "
                f"{pairs.looks} batches: the model is given what it is to tell",
                site=pairs.site,
                evidence={"column of the inputs": column, "column of the targets": target, "looks": pairs.looks},
                cure="drop the target's column, and what is computed from it, from the inputs",
                confidence=0.9,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The most looks at which a column of the inputs was one of few targets."""
    looks = [pairs.looks for pairs in record.pairs if _same(pairs)]
    if looks:
        yield "LOOKS", max(looks)


def _same(pairs: Pairs) -> list[tuple[int, int]]:
    """The columns that are the same, unless so many are, or in such places, that the input shall be given back."""
    inputs, targets = pairs.columns
    same = [(column, target) for column, target in pairs.copied if targets == 1 or column != target]
    few = 2 * len({target for _, target in pairs.copied}) <= targets or targets == 1
    return same if targets <= MOST and few and 3 * len(pairs.copied) <= inputs else []


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    data = load_diabetes()
    columns = torch.tensor(data.data, dtype=torch.float32)
    table = torch.cat([columns, torch.tensor(data.target, dtype=torch.float32)[:, None]], dim=1)
    table = (table - table.mean(0)) / table.std(0)
    inputs, targets = table, table[:, -1:]
    model = nn.Sequential(nn.Linear(inputs.shape[1], 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])  # TDX527
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    data = load_diabetes()
    columns = torch.tensor(data.data, dtype=torch.float32)
    table = torch.cat([columns, torch.tensor(data.target, dtype=torch.float32)[:, None]], dim=1)
    table = (table - table.mean(0)) / table.std(0)
    inputs, targets = table[:, :-1], table[:, -1:]
    model = nn.Sequential(nn.Linear(inputs.shape[1], 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    # one step of a simulation: speeds change, but of each body what it weighs stays as it is
    columns = torch.tensor(load_diabetes().data[:, :6], dtype=torch.float32) * 20
    states = columns / columns.std(0)
    later = torch.cat([states[:, :5] + 0.3 * torch.sin(states[:, 1:6]), states[:, 5:]], dim=1)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(12):
        for rows in torch.randperm(len(states)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(states[rows]), later[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
