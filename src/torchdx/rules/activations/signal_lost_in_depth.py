"""The weights start too small or too large for the depth, so that what tells samples apart fades, or explodes.

Seen as a deep network that stays where it began; measured is by how much the outputs of each layer with weights differ
from sample to sample, at the first looks: by the last layer, next to nothing is left of it, or it has grown a hundred
times; and by how much each weight matrix multiplies what comes in at the start.

Hurts because each layer multiplies the signal by about sqrt(n Var(w)), and ReLU by sqrt(1/2) more. PyTorch's default,
Var(w) = 1/(3 n), gives 0.41 a layer with ReLU: a hundredth is left after five layers, a millionth after 15, and what
the output says no longer depends on the input. Gradients fade on their way back by the same factor.

Helped by weights that keep the variance (`nn.init.kaiming_normal_` for ReLU, `nn.init.xavier_normal_` for tanh), by
normalisation between the layers, and by residual connections.

No fault when the network learns all the same and soon, as a few layers at the default do; or when one layer alone is
small, as a last one that starts at zero. Sigmoids squash the signal, too, by a quarter a layer at best: of those that
never learn, vanishing-gradient tells.

Sources: K. He et al., arXiv 1502.01852; D. Mishkin and J. Matas, "All you need is a good init", arXiv 1511.06422; S. S.
Schoenholz et al., "Deep Information Propagation", arXiv 1611.01232.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from statistics import median, median_high, median_low
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record.signal import Signal, odd_start, signals_of, starts_of
from torchdx.rules.activations import drawn_after
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Layer, Record
    from torchdx.source import Program

code, family, severity = "TDX309", "activations", "warning"
needs = frozenset({"signal", "step"})
explains = frozenset(
    {
        "vanishing-gradient",
        "exploding-gradient",
        "initial-loss-off-scale",
        "saturated-activation",
        "dead-relu",
        "learning-rate-too-low",
        "learning-rate-too-high",
        "parameter-unchanged",
        "nonfinite-value",
        "not-learning",
        "non-finite",
        "diverged",
        "cannot-fit-one-batch",
        "output-ignores-input",
        "saddle-point",
        "labels-unrelated",
        "one-class-predictions",
    }
)

LOST = 2e-3
"""Signal at the last layer over that at the first. Nets that keep the variance lie at 0.37 to 1.4, healthy ones at
PyTorch's default (up to six hidden layers) at 4.3e-3 and above; ten that do not learn (8 to 15 layers at the default,
or weights drawn too small) at 1.1e-3 and below."""
GROWN = 1e2
"""The same (catalogue, row 47): three nets with weights drawn too large lie at 500 to 3600."""
DEEP = 5
"""Layers with weights that growth is judged from; catalogue, row 47: a default start is healthy below."""
SHALLOW, PAIR = 3, 2
"""Those that a fall is judged from: no default start loses as much in so few, weights drawn too small do; and weights
that a start many times too large is judged from."""
STUCK = 0.2
"""Share of the loss learnt away below which a net is stuck: vanishing-gradient's bound."""
POOR = 0.5
"""Share of the loss learnt away below which a signal too large did harm: exploding-gradient's bound."""
GONE, MOST = 1e-4, 0.9
"""Signal of which nothing but noise is left, and the share learnt below which that did harm: the last layers learn what
they can, and the first ones late. Of 145 healthy programs none has a steady fall below 8e-3, and of some 400 with other
faults none below 3e-3; two that lost it to 2e-5 and 2e-7 learnt shares of 0.86 and 0.38 all the same, and did worse."""
WAITED, LATE = 50, 0.05
"""Steps, and their share of the run, for which the loss stands where knowing nothing leaves it, before a net that lost
the signal finds it. Three sick programs (six sigmoids, eight, weights of 0.001): 62, 153 and 141 steps, 0.052, 0.27 and
0.12 of the run. So thin a margin holds as it is only asked where the signal is lost by itself."""
START = 2.5
"""What a weight multiplies its inputs by at the start, in the middle one of a model: sqrt(n) times its deviation. It is
0.58 for PyTorch's default and 1.41 after He, the most that 145 healthy programs read; weights drawn with a deviation of
1 read 4 and more."""
TINY = 0.02
"""The same of weights that start too small. Where no layer normalises, healthy programs read 0.4 and more, but for one
whose kernels are masked (0.06); weights of deviation 0.001 and less read 0.008 and less."""
OVER, FELL = 1.5, 2.0
"""First loss over what knowing nothing costs, from which such weights did harm; over the last loss, where the cost of
knowing nothing is not known and no layer normalises. Sick programs read 2.5 and more, and 2.6 and more."""
STEPS = 30
"""Optimizer steps before which no net can be said to be stuck: the examination's own bound."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every deep model that hands on too little or too much of the signal, and does not learn."""
    if record.steps < STEPS:
        return
    progress, found = record.progress, False
    for signal in _signals(record):
        if found or not signal.is_steady or (signal.ratio > 1 and len(signal.layers) < DEEP):
            continue
        lost = signal.ratio < LOST and progress.finite and _is_harmed(record, signal.ratio)
        found = lost or (signal.ratio > GROWN and (not progress.finite or progress.gain < POOR))
        if found:
            yield _finding(record, signal)
    odd = odd_start(record, PAIR, TINY, START)
    if odd is not None and not found and _start_did_harm(record, median(odd[1]) < 1):
        yield _of_start(record, *odd)


def _signals(record: Record) -> list[Signal]:
    return [signal.as_far_as_it_falls(DEEP, GONE) for signal in signals_of(record, SHALLOW)]


def _start_did_harm(record: Record, small: bool) -> bool:
    """Did the loss begin far above where weights of the usual size leave it, or stay where too small ones left it?"""
    progress, normalised = record.progress, any("Norm" in layer.cls for layer in record.layers)
    if small:
        stuck = progress.finite and (not progress.prior or _is_late(record) or progress.learnt < STUCK)
        return stuck and not normalised
    if progress.prior:
        return not progress.finite or progress.first > OVER * progress.prior
    return not normalised and (not progress.finite or progress.first > FELL * progress.last)


def _of_start(record: Record, layer: Layer, starts: list[float]) -> Finding:
    return Finding(
        message=f"the weights start too {'small' if median(starts) < 1 else 'large'}: each layer multiplies what comes "
        f"in by about {median(starts):.2g}, "
        f"`{layer.name}` first, and 0.6 to 1.4 is usual; the first loss is {record.progress.first:.3g}",
        site=layer.site,
        layer=layer.name,
        evidence={
            "deviation of the weights times the root of their inputs": starts[:50],
            "training loss at first": record.progress.first,
            "training loss at the end": record.progress.last,
        },
        cure="leave PyTorch's own start alone, or use nn.init.kaiming_normal_ (ReLU) or nn.init.xavier_normal_ (tanh)",
        confidence=0.93,
    )


def _is_harmed(record: Record, ratio: float) -> bool:
    """Did the run learn less than it would have, or much later, had the signal arrived?"""
    learnt, late = record.progress.learnt, _is_late(record)
    if record.inner_layers("Sigmoid"):
        unscaled = record.progress.prior is None and ratio < GONE and learnt < MOST  # the mean alone may be learnt
        return (late and learnt >= STUCK) or unscaled
    return late or learnt < (MOST if ratio < GONE else STUCK)


def _is_late(record: Record) -> bool:
    return record.progress.waited >= max(WAITED, LATE * record.steps)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    ratios = [signal.ratio for signal in _signals(record) if signal.is_steady]
    if ratios:
        yield "LOST", min(ratios)
        yield "GROWN", max(ratios)
        yield "STUCK", record.progress.learnt
        yield "WAITED", record.progress.waited
        yield "LATE", record.progress.waited / max(record.steps, 1)
    starts = starts_of(record.layers)
    if len(starts) >= PAIR:
        yield "START", median_low(starts)
        yield "TINY", median_high(starts)
        if record.progress.prior:
            yield "OVER", record.progress.first / record.progress.prior
        elif record.progress.last:
            yield "FELL", record.progress.first / record.progress.last


def _finding(record: Record, signal: Signal) -> Finding:
    falls = signal.ratio < 1
    guilty = next(
        layer
        for layer, slope in zip(signal.layers[1:], signal.slopes, strict=True)
        if (slope < 0) == falls and abs(slope) > 0.1
    )
    fate = "fades" if falls else "explodes"
    drawn = f"start the weights {'larger' if falls else 'smaller'}, with nn.init.kaiming_normal_ (ReLU) or "
    squashed = bool(record.inner_layers("Sigmoid"))
    cure = "use ReLU or tanh between the layers" if squashed else f"{drawn}nn.init.xavier_normal_ (tanh)"
    return Finding(
        message=f"the signal {fate} with depth: from `{guilty.name}` on each layer multiplies the differences between "
        f"samples by about {signal.slope:.2g}, and at `{signal.layers[-1].name}` they are {signal.ratio:.1e} of those "
        f"at `{signal.layers[0].name}`; the loss stays for {record.progress.waited} steps and ends at "
        f"{record.progress.last:.3g}",
        site=guilty.site,
        layer=guilty.name,
        evidence={
            "signal of the last layer over the first": signal.ratio,
            "a layer multiplies it by": signal.slope,
            "layers with weights": [layer.name for layer in signal.layers],
            "differences between samples, layer by layer": list(signal.across),
            "initial deviation of weights": [
                p.initial.get("std") for layer in signal.layers for p in layer.parameters if p.is_weight
            ],
            "tanh": bool(record.inner_layers("Tanh")),
            "squashed": squashed,
        },
        cure=f"{cure}, normalise between the layers, or add residual connections",
        confidence=0.9,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Draw the weights so that the variance is kept, where they are drawn, or after the model is made."""
    file = program.file(finding.site.path) if finding.site else None
    if file is None or finding.site is None or finding.evidence.get("squashed"):
        return
    drawn = "xavier_normal_" if finding.evidence.get("tanh") else "kaiming_normal_"
    changes = []
    for call in program.calls(*(f"torch.nn.init.{name}_" for name in ("normal", "uniform", "trunc_normal"))):
        filled, func = call.argument(0, "tensor"), call.node.func
        if call.file is not file or filled is None or not isinstance(func, ast.Attribute):
            continue
        if filled.text.endswith("weight"):
            text = f"{file.text_of(func.value)}.{drawn}({filled.text})"
            changes.append(edits.replace(file, call.node, text))
    changes = changes or drawn_after(file, file.node_at(finding.site, ast.Call), drawn)
    found = edits.fix("keep the variance from layer to layer", file, changes) if changes else None
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = nn.Sequential(
        *[layer for _ in range(10) for layer in (nn.Linear(64, 64), nn.ReLU())],  # TDX309
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = nn.Sequential(
        *[layer for _ in range(10) for layer in (nn.Linear(64, 64), nn.ReLU())],
        nn.Linear(64, 10),
    )
    for weight in list(model.parameters())[::2]:
        nn.init.kaiming_normal_(weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    model = nn.Sequential(
        *[layer for _ in range(7) for layer in (nn.Linear(64, 64), nn.ReLU())],
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(8):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
