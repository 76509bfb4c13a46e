"""Steps leave the parameters as they are, though they have gradients and a learning rate.

Seen as a loss that stays where it began. Measured is the share of a parameter's elements with a gradient other than 0
that a step leaves alone to the last bit, and whether a step starts from the very values that earlier ones started from.

Hurts because nothing adds up. In bfloat16 numbers near w lie w/128 to w/256 apart, in float16 w/1024: a step below half
of that is rounded away, and so is the next. An optimizer that writes into a copy does nothing at all; and weights that
are put back after every step, by `load_state_dict` or an assignment, forget it.

Helped by parameters in float32 under `torch.autocast`, whose copies alone are half as wide; by changing the parameters
themselves (`p.add_`, under `no_grad`); by restoring once, not in every round.

No fault when the rate is 0 (a warm-up's first step), a scaler skips the step, or the elements are held at 0 by a mask.

Sources: P. Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740 (float32 master weights); Amazon SageMaker
Debugger, "UnchangedTensor"; Y. Jiang et al., "TrainCheck" (OSDI 2025).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Fact, Optimizer, Parameter, Record

code, family, severity = "TDX218", "gradients", "warning"
needs = frozenset({"gradients"})
explains = frozenset({"not-learning", "vanishing-gradient", "one-class-predictions"})

LOST = 0.75
"""Share of the elements with a gradient that a step leaves alone, median over parameters and looks. In bfloat16 nets of
gain 0.8 and more: 0.65 at most; in those that learn nothing and would in float32: 0.76 and more; in float32: 0."""

NONE = 1.0
"""That share where steps do nothing at all."""

LOOKS = 4
"""Looks that must agree (catalogue, row 69: three steps)."""

GAIN = 0.2
"""Share of the loss learnt away from which on the rest of the steps suffices (see learning-rate-too-low)."""

EPSILON = {"bfloat16": 2.0**-8, "float16": 2.0**-11}


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every optimizer whose steps come to nothing."""
    for optimizer in record.optimizers:
        looks = _looks(record, optimizer)
        shares = _shares(looks)
        if shares and max(map(len, shares.values())) < LOOKS:
            yield NotEnough(f"{LOOKS} looks at what steps change")
        elif not _got_somewhere(record):
            held = [p for p in record.parameters if str(p.id) in shares]
            share = _usual(shares)
            moved = any(p.update.highest > 0 for p in held)  # else it may be that the end was reached
            if (LOST <= share < NONE or (share >= NONE and not moved)) and len(held) >= _measured(looks) / 2:
                yield _finding(record, optimizer, held, share)
            elif _is_put_back(looks):
                yield _put_back(record, optimizer)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The greatest share left alone, of any optimizer, at how many looks, and what was learnt all the same."""
    for optimizer in record.optimizers:
        looks = _looks(record, optimizer)
        shares = _shares(looks)
        if looks:
            yield "LOST", _usual(shares)
            yield "LOOKS", max(map(len, shares.values()), default=0)
    yield "GAIN", record.progress.gain


def _looks(record: Record, optimizer: Optimizer) -> list[Fact]:
    """The looks at it; none at L-BFGS, which decides by a tolerance of its own whether to go on."""
    if optimizer.option("tolerance_grad") is not None:
        return []
    return [fact for fact in record.process.all("gradients") if fact.get("optimizer") == optimizer.id]


def _shares(looks: Sequence[Fact]) -> Mapping[str, Sequence[float]]:
    """For each parameter that was asked about, the share of its pulled elements that each step left alone."""
    shares: dict[str, list[float]] = defaultdict(list)
    for fact in looks:
        for number, share in fact.get("still", {}).items():
            if fact["params"].get(number, [0.0])[0] > 0:
                shares[number].append(share)
    return shares


def _usual(shares: Mapping[str, Sequence[float]]) -> float:
    return median(median(own) for own in shares.values()) if shares else 0.0


def _measured(looks: Sequence[Fact]) -> int:
    return len({number for fact in looks for number in fact["params"]})


def _got_somewhere(record: Record) -> bool:
    return record.progress.gain >= GAIN


def _is_put_back(looks: Sequence[Fact]) -> bool:
    """Does every step but the first start, in all parameters measured, from where the first one did?"""
    later = [fact for fact in looks if fact["params"]][1:]
    return len(later) >= LOOKS and all(
        {int(n) for n in fact["params"]} <= set(fact.get("restored", ())) for fact in later
    )


def _finding(record: Record, optimizer: Optimizer, held: Sequence[Parameter], share: float) -> Finding:
    dtypes = {parameter.dtype for parameter in held}
    small = next((dtype for dtype in EPSILON if dtypes == {dtype}), None)
    cure = "see what `step` writes to: the parameter itself has to change, in place"
    if small:
        cure = (
            f"keep the parameters in float32 and compute in {small} under `torch.autocast`; a greater rate helps, too"
        )
    elif share >= NONE:
        cure += "; or raise the learning rate"
    rounded = f": in {small} what is smaller than {EPSILON[small] / 2:.2g} of a value is rounded away" if small else ""
    proven = share >= NONE and not small
    return Finding(
        message=f"a step of {optimizer.cls} leaves {share:.0%} of the elements with a gradient as they are{rounded}",
        site=optimizer.site,
        layer=held[0].layer or None,
        evidence={
            "share left alone": share,
            "dtype": ", ".join(sorted(dtypes)),
            "lr": optimizer.option("lr"),
            "learnt": record.progress.gain,
        },
        cure=cure,
        severity="error" if proven else "warning" if record.progress.prior else "note",
        confidence=0.97 if proven else 0.85,
    )


def _put_back(record: Record, optimizer: Optimizer) -> Finding:
    again = next((load.site for load in reversed(record.loads) if load.step > 1), None)
    return Finding(
        message=f"every step of {optimizer.cls} starts from the same values: what it changes is put back at once",
        site=again or optimizer.site,
        evidence={"steps": record.steps, "learnt": record.progress.gain},
        cure="load or reset the weights once, before the loop",
        confidence=0.85,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).bfloat16()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)  # TDX218
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows].bfloat16()).float(), labels[rows])
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(inputs[rows]).float(), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    warmth = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 20))
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows].bfloat16()).float(), labels[rows])
            loss.backward()
            optimizer.step()
            warmth.step()  # the first step is taken at a rate of 0
    print(f"{loss.item():.3f}")
