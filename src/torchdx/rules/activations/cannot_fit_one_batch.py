"""The model cannot learn even a handful of samples by heart.

Seen as a run that does not learn, whatever the learning rate. Measured by the deep look (`torchdx run --deep`): a copy
is trained for 300 steps of Adam, at two rates, without dropout, on 16 samples of the program's own, from the weights
at first and from those in the end. It does no better on them than one constant answer.

Hurts because 16 samples are no task: a model with many more parameters than answers learns them by heart unless
something stands in the way, as a loss that compares the wrong things, a graph that is cut, units that are all dead or
saturated, or a forward pass that loses its input. No learning rate, schedule or amount of data will help.

Helped by looking at the model, its loss and their graph, not at the optimiser: compare shapes of predictions and
targets, print what the last layer gives for different inputs, take layers out until it learns.

No fault when the model is too small for it (fewer than ten parameters for each answer), when samples are alike, or when
the run itself learns.

Sources: A. Karpathy, "A Recipe for Training Neural Networks" (2019): overfit one batch; H. Ben Braiek and F. Khomh,
"TheDeepChecker" (2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX315", "activations", "warning"
deep = True
needs = frozenset({"deep"})
explains = frozenset(
    {
        "not-learning",
        "learning-rate-too-low",
        "vanishing-gradient",
        "one-class-predictions",
        "output-ignores-input",
        "labels-unrelated",
        "stuck-at-minimum",
        "saddle-point",
    }
)

UNLEARNT = 0.9
"""Loss reached over that of the best constant answer. Healthy programs reach 0.02 to 0.13 (9 of our own: networks,
recurrences, attention, an autoencoder), those with cut graphs, dead units or broadcast losses 0.98 to 1.0."""
GAIN = 0.3
"""Share of the loss learnt away in the run itself, above which the model is no longer under suspicion."""
ROOMY = 10
"""Parameters for each answer, below which a model may be too small to learn by heart."""
FEATURES = 8
"""Numbers a sample consists of, below which samples may be too alike to be told apart in so few steps."""
STEPS = 300
"""Steps that were to be taken; where time ran out before, nothing is said."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """One small batch that stays unlearnt."""
    told = record.experiments.result("one_batch")
    if not told:
        yield NotEnough(record.experiments.why_not("one_batch"))
        return
    read = dict(readings(record))
    if read.get("UNLEARNT", 0.0) <= UNLEARNT or read.get("GAIN", 1.0) >= GAIN or not _is_fair(told):
        return
    best = _best(told)
    yield Finding(
        message=f"{told['samples']} samples cannot be learnt by heart: after {STEPS} steps on a copy their loss is "
        f"{best:.3g}, and one constant answer gives {told['constant']:.3g}",
        site=site_of(record.experiments.replay.get("site")),
        evidence={"loss reached": best, "loss of a constant": told["constant"], "parameters": told["parameters"]},
        cure="look for the fault in the model, its loss and their graph: no rate and no more data will help",
        confidence=0.9,
    )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    told = record.experiments.result("one_batch")
    gain = record.progress.gain
    if told and told.get("constant") and told.get("initial"):
        yield "UNLEARNT", _best(told) / told["constant"]
        if told.get("targets"):
            yield "ROOMY", told["parameters"] / told["targets"]
        yield "FEATURES", told["features"]
        yield "STEPS", max(told[state]["steps"] for state in ("initial", "final") if state in told)
    if gain == gain:
        yield "GAIN", gain


def _best(told: Fact) -> float:
    return min(float(told[state]["best"]) for state in ("initial", "final") if state in told)


def _is_fair(told: Fact) -> bool:
    """Could a sound model have done it: enough parameters, samples that differ, all steps taken?"""
    tries = [told[state] for state in ("initial", "final") if state in told]
    roomy = told["parameters"] >= ROOMY * told["targets"] and told["features"] >= FEATURES
    return roomy and told["distinct"] == told["samples"] >= 8 and all(one["steps"] >= STEPS for one in tries)


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32) * 20
    answers = torch.tensor(data.target, dtype=torch.float32)
    answers = ((answers - answers.mean()) / answers.std()).unsqueeze(1)
    loader = DataLoader(TensorDataset(inputs, answers), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1), nn.LayerNorm(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(6):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch), wanted)  # TDX315
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32) * 20
    answers = torch.tensor(data.target, dtype=torch.float32)
    answers = ((answers - answers.mean()) / answers.std()).unsqueeze(1)
    loader = DataLoader(TensorDataset(inputs, answers), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(6):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    """A model of few parameters on noisy answers learns what there is to learn, and cannot learn samples by heart."""
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32)[:, 2:4] * 20
    answers = torch.tensor(data.target, dtype=torch.float32)
    answers = (answers - answers.mean()) / answers.std()
    loader = DataLoader(TensorDataset(inputs, answers), batch_size=32, shuffle=True)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(12):
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(batch).squeeze(1), wanted)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
