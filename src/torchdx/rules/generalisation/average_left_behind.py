"""What is evaluated is an average of the weights that is still nearly where training began.

Seen as a score that stays at that of an untrained model, or creeps, while the training loss falls as it should.

Hurts because an exponential average with decay d holds d^n of the first weights after n steps: at d = 0.9999 that is
97 % after 300 steps and still 37 % after 10,000. One whose update never runs, or runs out of place, holds all of them.

Helped by the update that is missing, in place and after every step (`p_avg.lerp_(p, 1 - decay)`, or
`torch.optim.swa_utils.AveragedModel` and its `update_parameters`); by a decay that fits the run, 1 - 10 / n for n
steps, or one that warms up, min(d, (1 + n) / (10 + n)).

No fault when the copy is a reference that should stay: then the trained model is evaluated, too, or instead. A note
alone where the copy was not seen to be evaluated: it may be a teacher that is to be slow.

Sources: Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging"; Tarvainen and Valpola
(2017), "Mean teachers are better role models"; TensorFlow documentation, `ExponentialMovingAverage` (`num_updates`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record, Twin

code, family, severity = "TDX807", "generalisation", "warning"
needs = frozenset({"twin"})
explains = frozenset({"not-learning", "validation-gap", "eval-mode-missing"})

LEFT_BEHIND = 0.3
"""Share of the trained weights' way below which an average has not come along: those of the calibration programs that
are in order are at 0.97 to 1.00 in the end, those with 0.9999 over 600 steps at 0.03, with 0.999 over 260 at 0.12. A
plain mean over all steps, the slowest that is meant, is at half the way."""

FAR = 0.02
"""Distance, over the size of the weights, that training must have gone for that to be asked (these: 0.10 to 1.3)."""

ALONG = 0.5
"""Cosine from which on a copy that moves is one that follows (these: 0.93 to 1.00)."""

LEAST = 30
"""Steps below which no average is judged."""

_LATE = 8


def in_run(record: Record) -> Iterator[Finding]:
    """Every copy that is evaluated and has hardly left the first weights."""
    for twin, share in _judged(record):
        if share < LEFT_BEHIND:
            site = twin.evaluations[-1].site if twin.evaluations else None
            use = "what is evaluated" if twin.evaluations else "kept as its average"
            name = next((f["root"] for f in record.process.all("module") if f["id"] == twin.of), "the model")
            steps = twin.measured - twin.noticed + 1
            still = "has never changed" if not twin.moved else f"holds {1 - share:.0%} of the first weights still"
            yield Finding(
                message=f"A copy of `{name}` is {use}, and after {steps} steps it {still}",
                site=site,
                evidence={
                    "share of the way that the copy came along": round(share, 4),
                    "change of the trained weights, over their size": round(twin.far, 4),
                    "steps": steps,
                },
                cure="update the average in place after every step, and let it be done"
                if not twin.moved
                else "choose a decay that fits the run, 1 - 10 / steps, or let it warm up: min(d, (1 + n) / (10 + n))",
                confidence=0.93,
                severity=None if twin.evaluations else "note",
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    shares = [share for _, share in _judged(record)]
    if shares:
        yield "LEFT_BEHIND", min(shares)


def _judged(record: Record) -> Iterator[tuple[Twin, float]]:
    """The copies that began as the model did, and that are evaluated as what came of the training."""
    starts = [fact.get("step", 0) for fact in record.process.all("optimizer")]
    for twin in record.twins:
        fresh = twin.began_alike and any(0 <= twin.noticed - start <= _LATE for start in starts)
        long = twin.measured - twin.noticed >= max(LEAST, record.steps / 2)  # else it is one of many: a client, a fold
        late = long and twin.watched and twin.far >= FAR
        if fresh and late and twin.share is not None and _is_the_result(record, twin):
            yield twin, twin.share


def _is_the_result(record: Record, twin: Twin) -> bool:
    """Does it follow, and is evaluated, or run with gradients on? Or is it all that is run when training is over?"""
    if twin.pulled and not twin.moved:  # a part that is trained by no optimizer, as in a plain list
        return False
    if twin.moved:
        return (twin.along or 0.0) >= ALONG and (bool(twin.evaluations) or not twin.copy_runs)
    alone = not any(run.last > twin.noticed for run in twin.trained_runs)
    return alone and any(run.last >= record.steps for run in twin.evaluations)


def sick() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for rows in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp_(new.detach(), 0.0001)
        with torch.no_grad():
            right = average(inputs[1400:]).argmax(1) == labels[1400:]  # TDX807
        print(f"{loss.item():.3f} {right.float().mean():.3f}")


def healthy() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for rows in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp_(new.detach(), 0.1)
        with torch.no_grad():
            right = average(inputs[1400:]).argmax(1) == labels[1400:]
        print(f"{loss.item():.3f} {right.float().mean():.3f}")


def looks_like_it() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    untrained = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for rows in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        for name, net in (("model", model), ("as it began", untrained)):
            with torch.no_grad():
                right = net(inputs[1400:]).argmax(1) == labels[1400:]
            print(f"{name} {right.float().mean():.3f}")
