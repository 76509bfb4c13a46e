"""The Kullback-Leibler divergence is computed from probabilities where log-probabilities belong.

Seen as a divergence that is negative, or far too small: for two random distributions over 10 classes -2.08 in place
of 0.709. A true divergence is never negative and is zero only where both distributions agree.

Hurts because `kl_div(input, target)` is the mean of target * (log target - input): its *input* must be log q already,
its *target* a plain p, and it computes KL(p || q), arguments in the reverse of the mathematical order. With q itself
as input the minimum lies elsewhere, and training pulls q towards it.

Helped by `F.kl_div(F.log_softmax(logits, dim=-1), p, reduction="batchmean")`, or `log_target=True` where the target
is a log-probability too.

No fault when the input ends in `log_softmax`, or in the logarithm of probabilities.

Sources: PyTorch documentation, `torch.nn.KLDivLoss`; S. Kullback and R. Leibler, "On Information and Sufficiency"
(1951).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Edit, Finding, Fix
from torchdx.source import edits, ending_of
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.record import LossUse as Measured
    from torchdx.record import Record
    from torchdx.source import LossUse, Program
    from torchdx.source.values import Result

code, family, severity = "TDX602", "loss", "error"
needs = frozenset({"loss"})
explains = frozenset({"not-learning", "diverged", "non-finite", "nonfinite-value"})

POSITIVE = 1e-3
"""What a logarithm of a probability cannot exceed, even after rounding."""

IN_LOG = {"softmax": "log_softmax", "Softmax": "LogSoftmax", "sigmoid": "logsigmoid"}


def in_source(program: Program) -> Iterator[Finding]:
    """Every divergence whose input is certainly no logarithm, or whose target certainly is one."""
    for use in program.losses("kl_div"):
        words = _fault(use)
        if words:
            yield Finding(
                message=f"`{use.call.text[:50]}`: {words}",
                site=use.site,
                evidence={"input": use.ending.kind, "operation": use.ending.operation},
                cure='use kl_div(log_softmax(logits, dim=-1), p, reduction="batchmean")',
                confidence=0.97,
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every divergence whose input had positive values, or whose target those of the other kind, at every look."""
    for use in record.losses_called("kl_div"):
        looks = list(use.calls())
        highest = greatest_input(use)
        lowest = max((look["target"].get("min", 0.0) for look in looks), default=0.0)
        if highest > POSITIVE:
            kind = "probabilities" if use.input_is("probabilities") or use.input_is("unit") else "no log-probabilities"
            words = f"the first argument must be log-probabilities, all below 0; these are {kind}, up to {highest:.3g}"
        elif use.option("log_target") and (most := greatest_target(use)) > POSITIVE:
            words = f"log_target=True says that the second argument is a logarithm, and it goes up to {most:.3g}"
        elif lowest < -POSITIVE and not use.option("log_target"):
            words = f"the second argument must be probabilities, none below 0; these go down to {lowest:.3g}"
        else:
            continue
        yield Finding(
            message=f"`kl_div`: {words}",
            site=use.site,
            evidence={"greatest input": highest, "least target": lowest, "value": use.series().last},
            cure='use kl_div(log_softmax(logits, dim=-1), p, reduction="batchmean")',
            confidence=0.97,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    highest = [greatest_input(use) for use in record.losses_called("kl_div") if any(True for _ in use.calls())]
    if highest:
        yield "POSITIVE", max(highest)


def greatest_input(use: Measured) -> float:
    """The greatest input, at the look where it was least."""
    return _greatest(use, "input")


def greatest_target(use: Measured) -> float:
    """The greatest target, at the look where it was least."""
    return _greatest(use, "target")


def _greatest(use: Measured, which: str) -> float:
    return float(min((look[which].get("max", 0.0) for look in use.calls()), default=0.0))


def _fault(use: LossUse) -> str:
    if use.ending.kind in ("probabilities", "logits"):
        swapped = " (they look swapped)" if _target_kind(use) == "log-probabilities" else ""
        return f"the first argument must be log-probabilities, and these are {use.ending.kind}{swapped}"
    in_log = use.option("log_target")
    if in_log is not None and literal(in_log) is True and _target_kind(use) in ("probabilities", "logits"):
        return f"log_target=True says that the second argument is a logarithm, and these are {_target_kind(use)}"
    unsure = use.might_have("log_target") and (in_log is None or literal(in_log) is not False)
    if _target_kind(use) == "log-probabilities" and not unsure:
        return "the second argument must be probabilities, and these are log-probabilities (log_target is not set)"
    return ""


def _target_kind(use: LossUse) -> str:
    return ending_of(use.target.value).kind if use.target is not None else "unknown"


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the logarithm of what goes in, or put swapped arguments right."""
    use = next((use for use in program.losses("kl_div") if use.site == finding.site), None)
    if use is None or use.input is None or use.target is None:
        return
    file = use.call.file
    kinds = use.ending.kind, _target_kind(use)
    found = None
    if kinds == ("probabilities", "log-probabilities"):
        swap = [
            edits.replace(file, use.input.node, use.target.text),
            edits.replace(file, use.target.node, use.input.text),
        ]
        found = edits.fix("swap the arguments", file, swap, safe=finding.severity == "error")
    elif kinds[0] == "logits":
        text = f"{use.input.text}.log_softmax(dim=-1)"
        if isinstance(use.input.node, (ast.Name, ast.Call, ast.Attribute, ast.Subscript)):
            found = edits.fix("take log-softmax first", file, [edits.replace(file, use.input.node, text)])
    elif kinds[0] == "log-probabilities" and use.option("log_target") is None:
        where = use.loss.call if use.loss is not None and use.loss.call is not None else use.call
        found = edits.fix(
            "say that the target is a logarithm",
            where.file,
            [edits.insert_keyword(where.file, where.node, "log_target=True")],
            safe=where is use.call and finding.severity == "error",  # a loss object may have other uses
        )
    elif len(use.ending.by) == 1:
        result = use.ending.by[0]
        found = edits.fix("take the logarithm of the softmax", result.call.file, list(in_log(result)))
    if found is not None and found.edits:
        yield found


def in_log(result: Result) -> Iterator[Edit]:
    """Change the name of a softmax into that of its logarithm, where it stands."""
    call = result.module.call if result.module is not None else result.call
    func = call.node.func if call is not None else None
    if call is None or not isinstance(func, ast.Attribute):
        return
    name = IN_LOG.get(func.attr)
    owner = call.file.text_of(func.value)
    if name is not None and not (name == "logsigmoid" and result.given is not None):
        yield edits.replace(call.file, func, f"{owner}.{name}")


def sick() -> None:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    teacher = F.softmax(inputs @ torch.randn(8, 5), dim=1)
    student = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            guess = F.softmax(student(inputs[rows]), dim=1)
            loss = F.kl_div(guess, teacher[rows], reduction="batchmean")  # TDX602
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    teacher = F.softmax(inputs @ torch.randn(8, 5), dim=1)
    student = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            guess = F.log_softmax(student(inputs[rows]), dim=1)
            loss = F.kl_div(guess, teacher[rows], reduction="batchmean")
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
