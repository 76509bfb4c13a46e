"""The units of a hidden layer start as copies of each other, and stay copies.

Seen as a network that learns no more than one unit a layer could, or nothing; measured is how far the rows of a weight
that were equal at the start lie from each other, in its gradient, at each look.

Hurts because units with equal weights give equal outputs. If the layer after them treats them alike, too, they get
equal gradients, take equal steps and stay equal for ever: a layer of 256 units computes what one would. Where all
weights are zero, most gradients are exactly zero as well, and only the last bias learns.

Helped by random weights: leave PyTorch's own start alone, or use `nn.init.kaiming_normal_` before ReLU and
`nn.init.xavier_uniform_` before tanh. Constants are for biases, gains, and last layers.

No fault when only the last layer of the model or of a residual branch starts at zero, as in LoRA and in convolutions
that start at zero: its rows get different gradients at once. Nor when dropout tells the units apart.

Sources: I. Goodfellow, Y. Bengio and A. Courville, "Deep Learning" (2016), section 8.4; X. Glorot and Y. Bengio,
"Understanding the difficulty of training deep feedforward neural networks" (2010).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, NotEnough
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Parameter, Record
    from torchdx.source import Program

code, family, severity = "TDX308", "activations", "error"
needs = frozenset({"gradients"})
explains = frozenset(
    {
        "vanishing-gradient",
        "dead-relu",
        "saturated-activation",
        "learning-rate-too-low",
        "parameter-unchanged",
        "not-learning",
        "cannot-fit-one-batch",
        "saddle-point",
        "signal-lost-in-depth",
        "exploding-gradient",
        "initial-loss-off-scale",
        "output-ignores-input",
        "one-class-predictions",
    }
)

EXACT = 1e-4
"""Distance between the rows of a gradient, over their size, at every look. Twelve nets started at a constant lie at
2e-7 and below, which is rounding; eleven healthy ones with weights of equal rows (a last layer, LoRA, residual
branches, zero convolutions, positions) at 0.4 and above."""
NEAR = 0.2
"""The same where only the biases tell the units apart, and nothing is learnt: such nets lie at 0.02 to 0.18."""
LOOKS = 4
"""Looks at which gradients must agree: the first four steps are always looked at."""
NOTHING = 0.2
"""Share of the loss learnt away below which a net whose units are merely nearly alike is at fault."""
LITTLE = 0.5
"""The same for one whose gradients are exactly zero: healthy runs end above, those of such nets at 0.04 and below."""


@dataclass(frozen=True)
class _Alike:
    """A weight whose rows were equal when first seen, and its looks: distance of rows, of gradient rows, gradient."""

    weight: Parameter
    looks: Sequence[tuple[float, float, float]]
    columns: bool = False

    @property
    def apart(self) -> float:
        """The greatest distance at any look, in the weight or in a gradient that was not zero."""
        return max([value for value, _, _ in self.looks] + [apart for _, apart, size in self.looks if size > 0])

    @property
    def gets_nothing(self) -> bool:
        return not any(size for _, _, size in self.looks)


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The first layer of each model whose units are copies still."""
    told: set[int | None] = set()
    alike = list(_hidden(record))
    for one in alike:
        if one.weight.model in told or not one.apart < NEAR:
            continue
        if len(one.looks) < LOOKS:
            yield NotEnough(f"{LOOKS} looks at the gradient of `{_named(one.weight)}`, whose rows started equal")
        elif _is_faulty(one, record.progress.gain):
            told.add(one.weight.model)
            others = sum(o.weight.model == one.weight.model and _is_faulty(o, record.progress.gain) for o in alike) - 1
            yield _finding(record, one, others)


def _is_faulty(one: _Alike, gain: float) -> bool:
    if one.gets_nothing:
        return gain < LITTLE and not one.columns
    return one.apart < EXACT or (one.apart < NEAR and gain < NOTHING and not one.columns)


def _hidden(record: Record) -> Iterator[_Alike]:
    """The weights to judge: those of layers that are not their model's last, or of no layer that was seen."""
    last: dict[int | None, str] = {
        layer.model: layer.name for layer in record.layers if layer.looks and layer.parameters
    }
    rows, columns = _looks(record, "params"), _looks(record, "columns")
    for weight in record.parameters:
        if weight.id in rows and (not weight.layer or last.get(weight.model) != weight.layer):
            one = _Alike(weight, rows[weight.id])
            if weight.is_weight or (len(weight.shape) > 1 and one.gets_nothing):  # rows of a table are not its units
                yield one
        if weight.id in columns:  # the units of a table, or of a matrix that is multiplied from the right
            yield _Alike(weight, columns[weight.id], columns=True)


def _looks(record: Record, what: str) -> dict[int, list[tuple[float, float, float]]]:
    """Each weight's looks, of its rows or of its columns."""
    looks: dict[int, list[tuple[float, float, float]]] = {}
    for fact in record.process.all("alike"):
        for key, (value, gradient, size) in fact.get(what, {}).items():
            looks.setdefault(int(key), []).append((value, gradient, size))
    return looks


def _finding(record: Record, one: _Alike, others: int) -> Finding:
    weight, zero = one.weight, one.gets_nothing
    constant = weight.initial.get("max") == weight.initial.get("min")
    start = "equal rows" if not constant else "zero" if weight.initial.get("max") == 0 else "a constant"
    what = "columns" if one.columns else "rows"
    hurt = "its gradient is exactly zero at every look" if zero else f"so are those of its gradient, to {one.apart:.1g}"
    more = f"; {others} more weights of the model are like it" if others else ""
    named = f"`{weight.name}`" if one.columns else f"the weight of `{_named(weight)}`"
    return Finding(
        message=f"the {what} of {named} start {'at zero' if start == 'zero' else 'equal'}, and {hurt}: its "
        f"{weight.shape[one.columns]} {'units' if weight.is_weight and not one.columns else what} stay copies of one"
        f"{more}",
        site=weight.site,
        layer=weight.layer or None,
        evidence={
            "shape": list(weight.shape),
            "started with": start,
            "distance between rows of the gradient, over their size": [apart for _, apart, _ in one.looks][:50],
            "RMS of the gradient": [size for _, _, size in one.looks][:50],
            "training loss": record.progress.last,
        },
        cure="start it with random weights: PyTorch's own start, nn.init.kaiming_normal_ or nn.init.xavier_uniform_",
        severity="error" if one.apart < EXACT and not zero and weight.kind and not one.columns else "warning",
        confidence=0.97 if one.apart < EXACT else 0.85,
    )


def _named(weight: Parameter) -> str:
    return weight.layer or weight.name


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    judged = [one for one in _hidden(record) if len(one.looks) >= LOOKS or one.apart >= NEAR]
    if judged:
        yield "EXACT", min(one.apart for one in judged)
        yield "NEAR", min(one.apart for one in judged)
    if any(one.gets_nothing for one in judged):
        yield "LITTLE", record.progress.gain


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Draw the weights that are filled with a constant at random."""
    file = program.file(finding.site.path) if finding.site else None
    changes = []
    for call in program.calls(*(f"torch.nn.init.{name}_" for name in ("constant", "zeros", "ones"))):
        filled, func = call.argument(0, "tensor"), call.node.func
        if file is None or call.file is not file or filled is None or not isinstance(func, ast.Attribute):
            continue
        if filled.text.endswith("weight"):
            changed = f"{file.text_of(func.value)}.kaiming_normal_({filled.text})"
            changes.append(edits.replace(file, call.node, changed))
    found = edits.fix("draw the weights at random", file, changes) if file is not None and changes else None
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
        nn.Linear(64, 64),  # TDX308
        nn.Tanh(),
        nn.Linear(64, 10),
    )
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.weight, 0.01)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
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
        nn.Linear(64, 64),
        nn.Tanh(),
        nn.Linear(64, 10),
    )
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
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

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(64, 64), nn.Linear(64, 64)
            nn.init.zeros_(self.outer.weight)
            nn.init.zeros_(self.outer.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            grown: torch.Tensor = x + self.outer(self.inner(x).relu())
            return grown

    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.weight)
    model = nn.Sequential(Residual(), Residual(), head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(4):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
