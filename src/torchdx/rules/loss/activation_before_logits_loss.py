"""The scores that a loss takes as logits went through a ReLU, a tanh or a dropout right before it.

Seen as a binary model that never says no, a loss with a floor, classes that are never predicted, and a training
loss that is noisy and higher than that of the same data in evaluation.

Hurts because logits are any numbers: the loss's own softmax or sigmoid makes probabilities of them. After a ReLU no
score is below 0, so the probability p = 1/(1 + exp(-x)) is never below 0.5, and a class whose score is cut at 0 gets no
gradient; after a tanh the scores differ by at most 2, so that with C classes the loss stays above
log(1 + (C - 1) exp(-2)); a dropout sets scores themselves to 0, at random.

Helped by handing over what the last layer gives; activation and dropout belong before it.

No fault when scores are meant to be bounded and scaled up after, as in 10 * tanh(x), or pooled after the activation.

Sources: PyTorch documentation, `torch.nn.CrossEntropyLoss` and `torch.nn.BCEWithLogitsLoss`: "unnormalized logits".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, Severity
from torchdx.record.likelihoods import odd_likelihoods
from torchdx.rules.loss.softmax_before_cross_entropy import without
from torchdx.source import edits, ending_of, without_gradient
from torchdx.source.endings import DROPOUTS, makers_of
from torchdx.source.values import Result, literal

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import LossUse, Program

code, family, severity = "TDX613", "loss", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "class-never-right"})

LOSSES = ("cross_entropy", "binary_cross_entropy_with_logits")
CONSEQUENCES = {
    "relu": "no score can be below 0",
    "relu6": "no score can be below 0, or above 6",
    "tanh": "the scores lie between -1 and 1, however sure the model is",
    "hardtanh": "the scores lie between bounds, however sure the model is",
    "dropout": "scores are set to 0 at random",
}
MADE_BY = {"ReluBackward0": "relu", "TanhBackward0": "tanh", "HardtanhBackward0": "hardtanh"}
"""What autograd calls the operations of which a run shows that they come last."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every activation or dropout between the last layer and a loss on logits, told at the first of its losses."""
    told = set()
    for use in sorted(program.losses(*LOSSES), key=lambda use: without_gradient(use.call)):
        operation, results = _between(use)
        places = tuple(str(result.home.site) for result in results)
        if not operation or places in told:
            continue
        told.add(places)
        where = results[0].home.site.seen_from(use.site.path)
        yield Finding(
            message=f"`{use.kind}` takes its input as logits, and a {operation} ({where}) stands after the last layer: "
            + _consequence(use.kind, operation),
            site=use.site,
            evidence={"operation": operation, "operation_at": places[0]},
            cure=f"give the loss the logits: leave out the {operation} after the last layer",
            confidence=0.95,
            severity=_severity(use.kind, operation),
        )


def in_run(record: Record) -> Iterator[Finding]:
    """Every loss on logits whose input came right out of an activation, each time it was looked at."""
    found = [*_given(record)]
    yield from found or _written(record)


def _written(record: Record) -> Iterator[Finding]:
    """Those written by hand, or in two steps, whose own softmax or sigmoid the graph shows."""
    for odd in odd_likelihoods(record, "squashed"):
        if odd.by in CONSEQUENCES:
            own = "softmax" if odd.classes else "sigmoid"
            yield Finding(
                message=f"the loss takes the {own} of what came right out of a {odd.by}: "
                + _consequence("cross_entropy" if odd.classes else "binary_cross_entropy_with_logits", odd.by),
                site=odd.site,
                layer=odd.layer,
                evidence={"operation": odd.by, "looks": odd.looks},
                cure=f"give the loss the logits: leave out the {odd.by} after the last layer",
                confidence=0.95,
            )


def _given(record: Record) -> Iterator[Finding]:
    """The losses of torch's."""
    for use in record.losses_called(*LOSSES):
        operation = MADE_BY.get("".join({str(look["input"].get("made_by")) for look in use.calls()}), "")
        if operation:
            yield Finding(
                message=f"`{use.function}` takes its input as logits, and at all {len(list(use.calls()))} looks that "
                f"came right out of a {operation}: {_consequence(use.function, operation)}",
                site=use.site,
                evidence={"operation": operation, "training loss": use.series().latest(5).mean},
                cure=f"give the loss the logits: leave out the {operation} after the last layer",
                confidence=0.95,
                severity=_severity(use.function, operation),
            )


def _between(use: LossUse) -> tuple[str, tuple[Result, ...]]:
    """The one operation between the last layer and the loss that does not belong there, wherever it is done."""
    makers = makers_of(use.input.value) if use.input is not None else ()
    names = {_operation(maker) for maker in makers}
    name = names.pop() if len(names) == 1 else ""
    return (name, makers) if name else ("", ())


def _operation(maker: Result) -> str:
    if ending_of(maker.input).kind != "logits":
        return ""
    if maker.dotted.rpartition(".")[2] in DROPOUTS:
        return "dropout" if _drops(maker) else ""
    operation = ending_of(maker).operation
    return operation if operation in CONSEQUENCES else ""


def _drops(maker: Result) -> bool:
    """Is the rate not 0, and not chosen from outside, where it may be?"""
    home = maker.module.call if maker.module is not None else maker.call
    rate = home.argument(0 if maker.module is not None else 1, "p") if home is not None else None
    given = literal(rate.value) if rate is not None else 0.5
    return isinstance(given, float) and given > 0


def _consequence(loss: str, operation: str) -> str:
    if loss != "cross_entropy" and operation.startswith("relu"):
        return "no probability can be below 0.5"
    return CONSEQUENCES[operation]


def _severity(loss: str, operation: str) -> Severity | None:
    return "error" if loss != "cross_entropy" and operation.startswith("relu") else None


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the operation out where it stands."""
    for use in program.losses(*LOSSES):
        operation, results = _between(use) if use.site == finding.site else ("", ())
        files = {result.call.file.path: result.call.file for result in results}
        if len(files) == 1:
            file = next(iter(files.values()))
            changes = [change for result in results for change in without(program, file, result)]
            found = edits.fix(f"leave out the {operation}", file, changes) if len(changes) == len(results) else None
            if found is not None:
                yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 64)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.tanh(self.hidden(x))
            return torch.tanh(self.out(x))

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model, loss_of = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])  # TDX613
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 64)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.out(torch.tanh(self.hidden(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model, loss_of = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 40))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = torch.relu(self.maps(x)).view(-1, 10, 4)
            return 10 * torch.tanh(parts.mean(2) - 1)

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
