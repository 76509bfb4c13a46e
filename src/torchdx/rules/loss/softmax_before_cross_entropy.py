"""A loss that expects logits is given what a softmax or sigmoid has already squashed.

Seen as a loss that stops falling far above zero although the accuracy is high. The floor is a fixed number: with C
classes log(1 + (C - 1)/e), so 0.313 for 2, 1.461 for 10, 3.622 for 100; for a sigmoid before the binary loss 0.313
and 0.693.

Hurts because `cross_entropy` applies log-softmax itself. Probabilities lie in [0, 1], so as logits they differ by at
most 1, however sure the model is: the gradient stays small and never points towards certainty. The same holds of
`binary_cross_entropy_with_logits`, which applies the sigmoid itself.

Helped by handing over the logits: leave the softmax out of the model, and apply it only where probabilities are read.

No fault when the model's `forward` returns logits and the softmax serves something else, such as the accuracy,
sampling or an attention; log-probabilities into `cross_entropy` are merely done twice, with the same result.

Sources: PyTorch documentation, `torch.nn.CrossEntropyLoss` and `torch.nn.BCEWithLogitsLoss`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torchdx.finding import Edit, Finding, Fix, Severity
from torchdx.record.likelihoods import odd_likelihoods
from torchdx.source import edits, without_gradient

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.record import LossUse as Measured
    from torchdx.source import Ending, LossUse, Program, SourceFile
    from torchdx.source.values import Result

code, family, severity = "TDX601", "loss", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "class-never-right"})

LOOKS = 5
"""Looks at which values must lie within (0, 1); logits of a fresh model lie on both sides of 0 at the first."""

EXPECTS = {"cross_entropy": "a softmax", "binary_cross_entropy_with_logits": "the sigmoid"}


def in_source(program: Program) -> Iterator[Finding]:
    """Every operation that squashes what certainly goes into a loss on logits, told at the first of its losses."""
    told = set()
    for use in sorted(program.losses(*EXPECTS), key=lambda use: without_gradient(use.call)):
        ending = use.ending
        squashers = tuple(str(result.home.site) for result in ending.by)
        if ending.kind not in ("probabilities", "log-probabilities") or not squashers or (use.kind, squashers) in told:
            continue
        told.add((use.kind, squashers))
        squashed = ending.kind == "probabilities" or use.kind != "cross_entropy"
        place = ending.by[0].home.site
        yield Finding(
            message=f"`{use.kind}` applies {EXPECTS[use.kind]} itself, and its input already went through "
            f"{ending.operation} ({place.seen_from(use.site.path)})",
            site=use.site,
            evidence={"operation": ending.operation, "operation_at": str(place)},
            cure=f"give the loss the logits: leave out the {ending.operation}",
            confidence=0.97 if squashed else 0.9,
            severity=_severity(use, ending),
        )


def _severity(use: LossUse, ending: Ending) -> Severity | None:
    if use.kind == "cross_entropy" and ending.operation in ("log_softmax", "log"):
        return "note"
    proven = ("cross_entropy", "softmax"), ("binary_cross_entropy_with_logits", "sigmoid")
    return None if (use.kind, ending.operation) in proven else "warning"


def in_run(record: Record) -> Iterator[Finding]:
    """Every loss on logits that was given probabilities in training, each time it was looked at."""
    found = [*_given(record)]
    yield from found or _written(record)


def _given(record: Record) -> Iterator[Finding]:
    """The losses of torch's."""
    for use in record.losses_called(*EXPECTS):
        looks = list(use.calls())
        sure = bool(looks) and all(look["input"].get("made_by") == "SigmoidBackward0" for look in looks)
        if use.function == "cross_entropy":
            squashed, sure = sure or use.input_is("probabilities"), not sure
        else:
            squashed = sure or _lie_inside(looks)
        if looks and squashed:
            yield Finding(
                message=f"`{use.function}` applies {EXPECTS[use.function]} itself, and was given probabilities at all "
                f"{len(looks)} looks",
                site=use.site,
                evidence=_floor(record, use),
                cure="give the loss the logits: leave out the softmax or sigmoid before it",
                confidence=0.97 if sure else 0.85,
                severity=None if sure else "warning",
            )


def _written(record: Record) -> Iterator[Finding]:
    """Those written by hand, or in two steps, whose own softmax or sigmoid the graph shows."""
    for odd in odd_likelihoods(record, "squashed"):
        if odd.by in ("softmax", "sigmoid"):
            own = "softmax" if odd.classes else "sigmoid"
            yield Finding(
                message=f"the loss takes the {own} of what already went through a {odd.by}, "
                f"in all {odd.looks} backward passes looked through",
                site=odd.site,
                layer=odd.layer,
                evidence={"operation": odd.by, "looks": odd.looks},
                cure=f"give the loss the logits: leave out the first {odd.by}",
                confidence=0.95,
                severity="warning",
            )


SPREAD = 0.5
"""How far apart the least and the greatest must lie: logits of a net that hardly learns lie close together anywhere
(eight sigmoid layers: within 0.1), what comes out of a sigmoid parts as it learns."""


def _lie_inside(looks: Sequence[Fact]) -> bool:
    """Do all inputs lie within (0, 1), as a sigmoid's do and logits do not?"""
    inputs = [look["input"] for look in looks]
    known = len(inputs) >= LOOKS and all("min" in given for given in inputs)
    if not known or not all(given["min"] > 0 and given["max"] < 1 for given in inputs):
        return False
    return bool(max(given["max"] for given in inputs) - min(given["min"] for given in inputs) > SPREAD)


def _floor(record: Record, use: Measured) -> dict[str, Any]:
    """The loss that cannot be passed, and the one reached."""
    told: dict[str, Any] = {"looks": len(list(use.calls())), "training loss": use.series().latest(5).mean}
    if use.function == "cross_entropy" and record.classes:
        told["least loss possible, log(1 + (C-1)/e)"] = math.log(1 + (record.classes - 1) / math.e)
    return told


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the operation out where it stands."""
    for use in program.losses(*EXPECTS):
        if use.site == finding.site:
            results = use.ending.by
            files = {result.call.file.path: result.call.file for result in results}
            if len(files) != 1:
                return
            file = next(iter(files.values()))
            changes = [change for result in results for change in without(program, file, result)]
            within = use.input is not None and all(result.call.node is use.input.node for result in results)
            safe = within and finding.severity == "error"  # else others may be given the probabilities, too
            found = edits.fix(f"leave out the {use.ending.operation}", file, changes, safe=safe) if changes else None
            if found is not None and len(changes) == len(results):
                yield found


def without(program: Program, file: SourceFile, result: Result) -> Iterator[Edit]:
    """Unwrap the operation's call; a layer in a Sequential becomes an Identity."""
    call, module = result.call, result.module
    if result.given is not None and module is not None and module.call is not None:
        func = module.call.node.func
        if module.call.file is file and isinstance(func, ast.Attribute):
            yield edits.replace(file, module.call.node, f"{file.text_of(func.value)}.Identity()")
    elif result.given is not None and isinstance(call.node.func, ast.Attribute):
        yield edits.unwrap(file, call.node, call.node.func.value)
    elif result.given is None:
        first = call.argument(0, "input")
        if first is not None:
            yield edits.unwrap(file, call.node, first.node)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 64)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.softmax(self.out(F.relu(self.hidden(x))), dim=1)

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[rows]), labels[rows])  # TDX601
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 64)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.out(F.relu(self.hidden(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[rows]), labels[rows])
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
            self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
            self.softmax = nn.Softmax(dim=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.body(x)
            return logits

        def probabilities(self, x: torch.Tensor) -> torch.Tensor:
            shares: torch.Tensor = self.softmax(self.body(x))
            return shares

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
    print(f"{model.probabilities(inputs).max(1).values.mean().item():.3f}")
