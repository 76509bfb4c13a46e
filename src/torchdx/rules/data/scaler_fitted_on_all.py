"""The scaler was fitted to all data, those that are evaluated on among them.

Seen as a validation score that is a little too good. Measured are the columns' means: over training and evaluation
together they are exactly 0, and over training alone they are not.

Hurts because mean and deviation of the held-out samples went into what the model is trained on. With few samples,
or with a scaler that learns more than two numbers a column (a principal component analysis, a choice of columns), the
score is clearly better than on new data.

Helped by splitting first, and fitting scalers on the training part alone (`fit` there, `transform` elsewhere).

No fault when the numbers come from elsewhere, such as a data set's published mean; or all data were standardised where
they were recorded.

Sources: scikit-learn documentation, "Common pitfalls: data leakage during pre-processing"; Kaufman et al. 2012,
"Leakage in data mining".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program

code, family, severity = "TDX512", "data", "note"
needs = frozenset({"scaled"})
explains: frozenset[str] = frozenset()

TOGETHER = 1e-2
"""Standard errors that the columns' means lie from 0 over all data: float32 leaves < 1e-4 (diabetes, wine, cancer)."""
ALONE = 0.05
"""The same over training alone: where the split is random, the middle of the columns lies between 0.2 and 0.6."""


def in_audit(record: Record, program: Program | None) -> Iterator[Finding]:
    """Tables whose columns have mean 0 over all there is, and not over training."""
    names = {pipeline.id: pipeline for pipeline in record.pipelines}
    for fact in record.process.all("scaled"):
        if fact["together"] < TOGETHER and fact["alone"] > ALONE:
            trained = names.get(fact["train"])
            yield Finding(
                message=f"the {fact['columns']} columns have mean 0 over training and evaluation together, and not "
                "over training alone: their scaler was fitted to both",
                site=trained.site if trained else None,
                evidence={"standard errors from 0, together": fact["together"], "in training": fact["alone"]},
                cure="split first, and fit the scaler to the training part alone",
                confidence=0.9,
            )


def sick() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    wine = load_wine()
    features, labels = torch.tensor(wine.data).float(), torch.tensor(wine.target)
    order = torch.randperm(len(features))
    part, rest = order[:130], order[130:]
    features = (features - features.mean(0)) / features.std(0)
    train = DataLoader(TensorDataset(features[part], labels[part]), batch_size=13, shuffle=True)  # TDX512
    tests = DataLoader(TensorDataset(features[rest], labels[rest]), batch_size=48)
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(10):
        for batch, wanted in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            print(sum((model(batch).argmax(1) == wanted).sum().item() for batch, wanted in tests) / len(rest))


def healthy() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    wine = load_wine()
    features, labels = torch.tensor(wine.data).float(), torch.tensor(wine.target)
    order = torch.randperm(len(features))
    part, rest = order[:130], order[130:]
    features = (features - features[part].mean(0)) / features[part].std(0)
    train = DataLoader(TensorDataset(features[part], labels[part]), batch_size=13, shuffle=True)
    tests = DataLoader(TensorDataset(features[rest], labels[rest]), batch_size=48)
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(10):
        for batch, wanted in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            print(sum((model(batch).argmax(1) == wanted).sum().item() for batch, wanted in tests) / len(rest))
