"""Gradients fade on their way back, so the early layers do not learn.

Seen as a loss that stays where it began, and as a weight gradient that is, layer by layer towards the input, a fixed
factor smaller: measured is the RMS gradient of the weakest weight matrix over that of the strongest.

Hurts because backpropagation multiplies by each layer's weights and slopes: with L layers the gradient at the first one
is about (|W| s)^L of that at the last. A sigmoid's slope s is at most 0.25, so eight of them leave at most 1.5e-5; a
deep plain ReLU net at torch's default initialisation, of variance 1/(3 n), loses a factor of 0.4 a layer.

Helped by ReLU or GELU in place of sigmoid and tanh, batch or layer normalisation, residual connections, initialisation
that keeps the variance (He for ReLU, Glorot for tanh), and LSTM or GRU in place of a plain recurrent net.

No fault when training gets on all the same, when early layers are nearly at rest on purpose (fine-tuning), when the
small gradient belongs to a bias, a gain or an embedding (these are not counted), or when the gradient drops at one
place instead of layer by layer, as before the last matrix of a residual branch that starts at zero. Under an optimizer
that divides by the gradient's size, such as Adam, early layers move all the same: it is given more time.

Sources: X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks" (2010);
K. He et al., arXiv 1502.01852; Y. Bengio et al., "Learning long-term dependencies with gradient descent is difficult"
(1994).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, NotEnough
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Layer, Movement, Parameter, Record
    from torchdx.source import Call, Program

code, family, severity = "TDX202", "gradients", "warning"
needs = frozenset({"gradients", "step"})
explains = frozenset({"not-learning", "cannot-fit-one-batch", "saddle-point"})

FADED = 1e-2
"""Weakest over strongest. The zoo's 17 healthy programs with several weights have medians from 0.037 up; 13 stuck ones
(sigmoid depth 4-8, plain ReLU depth 15-25, small initialisation) have medians below 1e-2."""
SHARE = 0.8
"""Share of looks that must agree: single looks at a healthy mixture density network reach 0.0057."""
LOOKS = 4
"""Looks below which nothing is said: the first four steps are always looked at."""
STEPS = 30
"""Optimizer steps before which no net can be said to be stuck; the examination's own bound."""
STUCK = 0.2
"""Share of the loss learnt away below which a run is stuck. Healthy ends: 0.42 and more; 12 stuck ones: up to 0.11."""
GONE, LITTLE = 1e-4, 1 / 3
"""Weakest over strongest below which nothing but noise arrives, and the share learnt that is little for such a net: the
layers above learn what they can. Stacks of five to eight sigmoids under Adam: 6e-5 to 1.6e-7, and 0.01 to 0.20."""
SUDDEN = 0.55
"""Share of the whole fall, in logarithms, that one layer makes. Three to eight sigmoids and 8 to 25 plain ReLU layers:
0.10 to 0.49; residual nets whose branches start at zero, or nearly: 0.68 and more."""
MOVED, PATIENT = 1e-3, 200
"""Size of a step over that of the first weight from which it does move, and the steps that it is then given: stacks of
three and four sigmoids under Adam have learnt nothing after 87 steps, and a third after 290."""
SQUASHING = ("Sigmoid", "Tanh")


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The first starved layer of every optimizer's weights, where the run is stuck."""
    if not record.progress.finite:
        return
    for movement in record.movements:
        spread = movement.spread.finite
        if len(spread) < LOOKS or record.steps < STEPS:
            yield NotEnough(f"{STEPS} optimizer steps, {LOOKS} of them looked at")
            continue
        starved = [w for w in movement.weights if _fades(w, movement)]
        fades = spread.share(below=FADED) >= SHARE and starved and starved[0] is movement.weights[0]
        if fades and _is_stuck(record, movement) and _largest_fall(record, movement) < SUDDEN:
            yield _finding(record, movement, starved)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    spreads = [movement.spread.finite for movement in record.movements]
    spreads = [spread for spread in spreads if len(spread) >= LOOKS]
    if spreads:
        yield "FADED", min(spread.median for spread in spreads)
        yield "SHARE", max(spread.share(below=FADED) for spread in spreads)
        yield "STUCK", record.progress.learnt
        starved = [movement for movement in record.movements if movement.spread.finite.median < FADED]
        if falls := [fall for movement in starved if (fall := _largest_fall(record, movement)) == fall]:
            yield "SUDDEN", min(falls)


def _is_stuck(record: Record, movement: Movement) -> bool:
    """Did the run learn less than it would have, had the gradient arrived?"""
    gone = movement.spread.finite.median < GONE
    if movement.weights[0].update_ratio.median > MOVED and (not gone or record.steps < PATIENT):
        return False
    return record.progress.learnt < (LITTLE if gone else STUCK)


def _largest_fall(record: Record, movement: Movement) -> float:
    """The share of the gradient's fall, from the last weight to the first, that lies between two neighbours in use."""
    used = {p.id: place for place, layer in enumerate(_in_use(record)) for p in layer.parameters}
    weights = movement.weights
    if all(weight.id in used for weight in weights):
        weights = sorted(weights, key=lambda weight: used[weight.id])
    sizes = [math.log(weight.gradient.median) for weight in weights if weight.gradient.median > 0]
    if len(sizes) < 2 or sizes[-1] <= sizes[0]:
        return math.nan
    return max(after - before for before, after in pairwise(sizes)) / (sizes[-1] - sizes[0])


def _in_use(record: Record) -> Iterator[Layer]:
    """The layers, in the order in which the first look at the signal met them."""
    for fact in record.process.all("signal")[:1]:
        yield from (layer for key in fact["layers"] if (layer := record.process.layers.get(key)) is not None)


def _fades(weight: Parameter, movement: Movement) -> bool:
    return weight.gradient.median < FADED * _strongest(movement).gradient.median


def _strongest(movement: Movement) -> Parameter:
    return max(movement.weights, key=lambda weight: weight.gradient.median)


def _finding(record: Record, movement: Movement, starved: list[Parameter]) -> Finding:
    first, strongest, ratio = starved[0], _strongest(movement), movement.spread.median
    squashed = sorted({layer.cls for layer in record.inner_layers(*SQUASHING)})
    cure = "use ReLU or GELU between the layers" if squashed else "initialise for the activation (He for ReLU)"
    return Finding(
        message=f"the gradient of `{first.layer or first.name}` is {first.gradient.median:.1e}, that of "
        f"`{strongest.layer or strongest.name}` {strongest.gradient.median:.1e}: {len(starved)} of "
        f"{len(movement.weights)} weight matrices are starved, and the loss stays at {record.progress.last:.3g}",
        site=first.site,
        layer=first.layer or None,
        evidence={
            "weakest over strongest gradient": ratio,
            "gradients, first weight to last": [weight.gradient.median for weight in movement.weights],
            "looks": len(movement.spread),
            "training loss": record.progress.last,
            **({"squashing": ", ".join(squashed)} if squashed else {}),
        },
        cure=f"{cure}, normalise between them, or add residual connections",
        confidence=0.95 if ratio < FADED / 10 else 0.85,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put ReLU in place of the squashing modules that stand between layers."""
    file = program.file(finding.site.path) if finding.site else None
    if file is None or "squashing" not in finding.evidence:
        return
    between = [
        call for call in program.calls(*(f"torch.nn.{n}" for n in SQUASHING)) if call.file is file and _is_inner(call)
    ]
    changes = [edits.replace(file, call.node.func, _renamed(call)) for call in between]
    found = edits.fix("use ReLU between the layers", file, changes) if changes else None
    if found is not None:
        yield found


def _is_inner(call: Call) -> bool:
    """Does it stand in a list of layers, with another after it?"""
    above = call.file.parent(call.node)
    listed = (
        above.args if isinstance(above, ast.Call) else above.elts if isinstance(above, ast.List | ast.Tuple) else []
    )
    return call.node in listed[:-1] or (call.node in listed and isinstance(above, ast.List) and call.in_loop)


def _renamed(call: Call) -> str:
    return call.file.text_of(call.node.func).rpartition(call.method)[0] + "ReLU"


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(
        nn.Linear(64, 64),  # TDX202
        nn.Sigmoid(),
        nn.Linear(64, 64),
        nn.Sigmoid(),
        nn.Linear(64, 64),
        nn.Sigmoid(),
        nn.Linear(64, 64),
        nn.Sigmoid(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(10):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(10):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(inputs, torch.tensor(digits.target)), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(10):
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
