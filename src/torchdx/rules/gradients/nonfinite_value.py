"""A loss that is NaN or infinite.

Seen as `nan` or `inf` where the loss is printed. From then on every weight is NaN, and nothing is ever learnt again.
Measured are the step, the first operation that took finite numbers and gave others, and the range of what it took.

Hurts because NaN spreads through every sum it is part of: log 0 = -inf, 0 * inf = NaN, inf - inf = NaN. Slopes can be
infinite where values are not: the derivative of sqrt(x) is 1 / (2 sqrt(x)), so a distance of exactly zero gives a NaN
gradient to all weights, and the loss shows it one step later. float32 ends at 3.4e38: exp overflows from 88.7 on.

Helped by functions that work with logarithms (`cross_entropy` on logits, `logsumexp`, `log_softmax`, `softplus`), a
floor under what is divided by, rooted or logged (`clamp_min`), and, where it follows from steps that are too large, by
their cure.

No fault when a step is left out because of it, as automatic mixed precision does while it looks for its scale.

Sources: PyTorch documentation, "Numerical accuracy"; I. Goodfellow et al., "Deep Learning", section 4.1 (2016).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.record.facts import Fact
    from torchdx.source import Call, Program

code, family, severity = "TDX206", "gradients", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"non-finite", "not-learning", "diverged"})

FLOOR = 1e-12
"""What a logarithm or a root is given at least, in the proposed cure: far below any probability that matters."""
GREW = 1e3
"""A last finite loss this many times the lowest tells of steps that diverged before anything overflowed; healthy losses
with a scale stay within twice their lowest for good."""
CURES = {
    "Log": "give it logits instead (cross_entropy, log_softmax), or put a floor under its input: `x.clamp_min(1e-12)`",
    "Div": "put a floor under the denominator, or leave out the elements for which it is zero",
    "Sqrt": "put a floor under its input: its slope at zero is infinite",
    "Exp": "stay with logarithms (logsumexp, softplus), or bound the exponent",
    "Pow": "bound the base: powers of large numbers overflow, and roots have an infinite slope at zero",
    "Std": "the standard deviation of a single element is not defined, and its slope at zero is infinite",
}
DEFAULT = "bound what goes in, or lower the learning rate if it grew from step to step"


def in_run(record: Record) -> Iterator[Finding]:
    """The first loss that was not finite, and what made it so."""
    for fact in record.nonfinite[:1]:
        origin = fact.get("origin") or {}
        operation = origin.get("operation") or ""
        layer = _layer(record, origin)
        lines = [site_of(told["site"]) for told in record.process.all("nonfinite_line")]
        before = record.objective.between(0, fact["step"] - 1).finite
        yield Finding(
            message=f"at step {fact['step']} {_seen(fact)}: {_told(origin, operation, layer, before)}",
            site=next(iter(lines), None) or site_of(fact.get("site")),
            layer=layer,
            evidence={
                "step": fact["step"],
                **{name: origin[name] for name in ("operation", "min", "max") if origin.get(name) is not None},
                "losses before": list(before.latest(50).values),
            },
            cure=_cure(origin, operation),
            confidence=0.97,
        )


def _seen(fact: Fact) -> str:
    """How it showed: in the loss, or in an error about values that something refused."""
    if fact.get("what") == "values":
        return f"the program ends on values that are not finite ({shorten(fact['value'], 90)})"
    return f"the loss is {fact['value']}"


def _layer(record: Record, origin: Fact) -> str | None:
    """The layer that the operation comes after."""
    known = record.process.parameters
    return next((known[n].layer or None for n in origin.get("parameters", ()) if n in known), None)


def _told(origin: Fact, operation: str, layer: str | None, before: Any) -> str:
    after = f", after layer `{layer}`" if layer else ""
    low, high = origin.get("min"), origin.get("max")
    taken = f" of values from {low:.3g} to {high:.3g}" if low is not None and high is not None else ""
    grew = before.last > GREW * before.lowest > 0
    if origin.get("cause") == "input":
        into = f"what goes into {operation}" if operation else "what was given"
        return f"{into} is not finite already, so the data hold NaN or infinity"
    if origin.get("cause") == "weights":
        slope = f" (the slope of {operation} can be infinite)" if operation and not grew else ""
        return f"the step before made {origin['nonfinite_parameters']} parameters NaN or infinite{slope}"
    if origin.get("cause") == "operation":
        return f"{operation}{taken} is the first result that is not finite{after}"
    return f"it grew from {before.lowest:.3g} to {before.last:.3g} before" if grew else "its origin was not found"


def _cure(origin: Fact, operation: str) -> str:
    if origin.get("cause") == "input":
        return "look for NaN and infinity in the data, and leave these samples out or fill them in"
    return next((cure for name, cure in CURES.items() if operation.startswith(name)), DEFAULT)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put a floor under the only logarithm or root on the line, where it is one."""
    words = {"Log": "log", "Sqrt": "sqrt"}
    word = words.get(str(finding.evidence.get("operation")))
    file = program.file(finding.site.path) if finding.site else None
    if file is None or word is None or finding.site is None:
        return
    calls = [c for c in program.calls_named(word) if c.file is file and c.site.line == finding.site.line]
    taken = _argument(calls[0], word) if len(calls) == 1 else None
    if taken is not None:
        text = f"({file.text_of(taken)})" if isinstance(taken, ast.BinOp | ast.UnaryOp) else file.text_of(taken)
        change = edits.replace(file, taken, f"{text}.clamp_min({FLOOR:g})")
        found = edits.fix(f"put a floor of {FLOOR:g} under the {word}", file, [change])
        if found is not None:
            yield found


def _argument(call: Call, word: str) -> ast.expr | None:
    """What the function or method is applied to."""
    if call.name == f"torch.{word}":
        first = call.argument(0, "input")
        return first.node if first is not None else None
    return call.receiver.node if call.receiver is not None and not call.node.args else None


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    model = nn.Sequential(encoder, nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(64):
            codes = encoder(inputs[rows])
            squares = (codes[:, None] - codes[None]).square().sum(2)
            distances = torch.sqrt(squares)  # TDX206
            crowding = torch.exp(-distances).mean()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows]) + 0.01 * crowding
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    model = nn.Sequential(encoder, nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(64):
            codes = encoder(inputs[rows])
            squares = (codes[:, None] - codes[None]).square().sum(2)
            distances = torch.sqrt(squares.clamp_min(1e-12))
            crowding = torch.exp(-distances).mean()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows]) + 0.01 * crowding
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
