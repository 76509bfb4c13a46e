"""The gradient scaler skips steps all the time, as gradients overflow at any scale.

Seen as a loss that stands still, or training that takes longer than its number of steps; `scaler.get_scale()` falls and
falls. Counted are the calls of `scaler.step(optimizer)` that took no step, after the first ones.

Hurts because a scaler skips each step whose gradients hold an infinity or NaN, and halves its scale S. That is how it
finds S, and costs some ten steps at first and one in `growth_interval` later. Where the forward pass itself overflows
(above 65,504 in float16), or the loss is NaN, no S helps: nothing is learnt, and small gradients fade as S goes to 0.

Helped by bfloat16, which has the range of float32, by keeping the operation that overflows in float32 (softmax, norms,
large sums, `with torch.autocast(..., enabled=False)`), and by finding where NaN comes from (sqrt at 0 has a gradient
of 0 * inf, too: add an epsilon under the root).

No fault when the first steps are skipped while the scale is found, or one now and then.

Sources: PyTorch documentation, `torch.amp.GradScaler.update` ("if the scale falls below 1 [...] something is likely
wrong"); P. Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import Fact, site_of

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX222", "gradients", "warning"
needs = frozenset({"scaler"})
explains = frozenset({"missing-step", "not-learning", "scheduler-before-optimizer"})

FINDING = 32
"""Steps while the scale may be found: from 65,536 down to 1 are 16 halvings."""
OFTEN = 0.3
"""Share of the later steps that are skipped (catalogue, mixed precision: more than 3 in 10). Healthy: 1 in 2,000,
the scaler's own `growth_interval`; 0 to 0.03 in five runs, one of them with an interval of 20. Sick: 0.5 (an interval
of 1) and 1."""
SMALLEST = 1.0
"""A scale below this makes gradients smaller, for which nothing was ever meant (PyTorch's own words)."""
ROW = 20
"""Skipped steps in a row that prove that no scale helps: a search from 65,536 takes 16."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every scaler that goes on skipping steps when its scale has long been found."""
    for number in sorted({fact["id"] for fact in record.process.all("scaler")}):
        facts = [fact for fact in record.process.all("scaler") if fact["id"] == number]
        last, share = facts[-1], _share(facts)
        scale = last.get("scale")
        stuck = last["row"] >= ROW
        if not stuck and not share > OFTEN and not (scale is not None and scale < SMALLEST):
            continue
        how = f"the last {last['row']} of them in a row" if stuck else f"{share:.0%} of those after the first {FINDING}"
        yield Finding(
            message=f"the gradient scaler skipped {last['skips']} of {last['steps']} steps, {how}"
            + (f"; its scale has come to {scale:.2g}" if scale is not None else ""),
            site=site_of(last["site"]),
            evidence={
                "steps": last["steps"],
                "skipped": last["skips"],
                "skipped in a row": last["row"],
                "scale": scale,
            },
            cure="find what overflows, or is NaN at any scale; keep it in float32, or use bfloat16",
            confidence=0.95 if stuck else 0.85,
            severity="error" if stuck else None,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for number in sorted({fact["id"] for fact in record.process.all("scaler")}):
        facts = [fact for fact in record.process.all("scaler") if fact["id"] == number]
        yield "OFTEN", _share(facts)
        yield "ROW", facts[-1]["row"]
        if facts[-1].get("scale") is not None:
            yield "SMALLEST", facts[-1]["scale"]


def _share(facts: list[Fact]) -> float:
    """The share of steps that were skipped, but for the first ones."""
    early = next((fact for fact in facts if fact["steps"] >= FINDING), facts[-1])
    later = facts[-1]["steps"] - early["steps"]
    return float(facts[-1]["skips"] - early["skips"]) / later if later >= FINDING else 0.0


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), head)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            lengths = [parameter.square().sum().sqrt() for parameter in model.parameters()]
            loss = loss + 1e-4 * sum(lengths)
            scaler.scale(loss).backward()
            scaler.step(optimizer)  # TDX222
            scaler.update()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), head)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            lengths = [(parameter.square().sum() + 1e-12).sqrt() for parameter in model.parameters()]
            loss = loss + 1e-4 * sum(lengths)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    print(f"{loss.item():.3f}")
