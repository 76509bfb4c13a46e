"""A part of the model that the optimizer holds never gets a gradient.

Seen as layers that stay as they started. Measured is that the `.grad` of their parameters is `None` at every look,
while the gradients of the model's other parameters are there; or that an optimizer, of several, takes its steps
without ever finding one gradient, and changes nothing; or the only one does, though backward() is called each time.

Hurts because nothing leads from the loss back to them: the layer is not used in `forward`, its result is not, or the
graph is cut behind it (`.detach()`, `.data`, a round trip through numpy). What it was meant to add is missing, or stays
random; and `DistributedDataParallel` waits for gradients that never come.

In a GAN the generator learns through the discriminator: judged on `fake.detach()`, it gets no gradient, and its
optimizer's `step()` passes over every parameter.

Helped by using the layer's result, by taking the cut out of the graph, or, if it is not wanted, by freezing the part
or leaving it out.

No fault when the part serves another task than this one, as a head or a token that this run has no use for, when an
expert is just never chosen, or it is frozen by `no_grad` on purpose.

Sources: PyTorch documentation, "Autograd mechanics" and `DistributedDataParallel` (`find_unused_parameters`);
Y. Jiang et al., "TrainCheck" (OSDI 2025).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Fact, Layer, Optimizer, Parameter, Record

Look = tuple[int, frozenset[int]]

code, family, severity = "TDX217", "gradients", "note"
needs = frozenset({"gradients"})
explains = frozenset({"not-learning", "one-class-predictions"})

STEPS = 20
"""Optimizer steps from the first look to the last (catalogue, row 55): by then chance has passed over no expert."""

LOOKS = 5
"""Looks that must agree; in the healthy zoo every part that gets gradients at all has one at the first look."""


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """The parameters of each working optimizer that had no gradient at any look, and the optimizers without any."""
    for optimizer in record.optimizers:
        looks = _looks(record, optimizer)
        idle = _idle_steps(record, optimizer)
        if len(idle) >= LOOKS and idle[-1] - idle[0] >= STEPS:
            yield _idle(record, optimizer, idle)
            continue
        never = _never_reached(record, looks)
        if never and (len(looks) < LOOKS or looks[-1][0] - looks[0][0] < STEPS):
            yield NotEnough(f"{LOOKS} looks at gradients over {STEPS} steps")
        elif never:
            yield _finding(record, optimizer, never, looks)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """Of the part that was without a gradient for longest, from the first look on: for how many, and how many steps."""
    for optimizer in record.optimizers:
        looks, left = _looks(record, optimizer), _held(record, optimizer)
        without = [step for step, missing in looks if (left := left & missing)]
        without = without or _idle_steps(record, optimizer)
        if without:
            yield "LOOKS", len(without)
            yield "STEPS", without[-1] - without[0]
            return


def _idle_steps(record: Record, optimizer: Optimizer) -> list[int]:
    """The steps seen of an optimizer that never had a gradient, nor changed anything, while others had some."""
    looks = [fact for fact in record.process.all("gradients") if fact.get("optimizer") == optimizer.id]
    glances = [fact for fact in record.process.all("unreached") if fact.get("optimizer") == optimizer.id]
    if any(fact["params"] for fact in looks) or not all(fact.get("whole") for fact in glances):
        return []
    moved = [fact.get("moved") for fact in looks + glances]
    held = [p for p in record.parameters if p.id in optimizer.parameter_ids and p.trainable]
    if True in moved or False not in moved or any(p.gradient for p in held):
        return []
    if not record.weights and not _is_cut_from_all(record, optimizer, looks):
        return []
    return sorted(fact["step"] for fact in looks + glances)


def _is_cut_from_all(record: Record, optimizer: Optimizer, looks: Sequence[Fact]) -> bool:
    """Does the only optimizer's backward() bring no gradient anywhere, not even to a layer, where it was cleared?"""
    steps = [fact for fact in record.process.all("step") if fact.get("looked")]
    layers = [la for la in record.layers if any(p.id in optimizer.parameter_ids for p in la.parameters)]
    came = any(measures.get("gradient") for layer in layers for _, measures in layer.looks)
    called = len(steps) >= LOOKS and all(fact.get("backwards") for fact in steps)
    leaf = len(steps) >= LOOKS and all(fact.get("leaf") for fact in steps)  # the objective has no graph at all
    seen = leaf or any(layer.looks for layer in layers)  # else its layers are hidden, or another model's are used
    return called and seen and not came and len(record.optimizers) == 1 and not any(f.get("outside") for f in looks)


def _held(record: Record, optimizer: Optimizer) -> frozenset[int]:
    return frozenset(number for _, missing in _looks(record, optimizer) for number in missing)


def _looks(record: Record, optimizer: Optimizer) -> list[Look]:
    """The looks and glances at which some of its parameters had gradients: step, and the ids of those without."""
    looks = [(fact, fact["missing"]) for fact in record.process.all("gradients") if fact["params"]]
    glances = [(fact, fact["params"]) for fact in record.process.all("unreached") if not fact.get("whole")]
    own = [(f["step"], frozenset(without)) for f, without in looks + glances if f.get("optimizer") == optimizer.id]
    return sorted(own, key=lambda look: look[0])


def _never_reached(record: Record, looks: Sequence[Look]) -> list[Parameter]:
    """The ones without a gradient at all looks, here and in other optimizers, that are no copy of one with it."""
    missing = frozenset.intersection(*(without for _, without in looks)) if looks else frozenset()
    reached = [parameter for parameter in record.parameters if parameter.gradient]
    lost = (p for p in record.parameters if p.id in missing and not p.gradient)
    return [p for p in lost if not any(p.is_copy_of(one) for one in reached)]


def _cut_off(record: Record, never: Sequence[Parameter]) -> list[Layer]:
    """The random layers that were called with a graph before all that gradients reach; empty if there are others."""
    ids = {parameter.id for parameter in never}
    model = never[0].model
    used = [layer for layer in record.layers if layer.model == model and layer.parameters and layer.looks]
    ahead = list(takewhile(lambda layer: all(p.id in ids for p in layer.parameters), used))
    weights = [p for layer in ahead for p in layer.parameters if p.tells_its_start]
    return ahead if len(ahead) < len(used) and weights and all(p.is_fresh for p in weights) else []


def _idle(record: Record, optimizer: Optimizer, steps: Sequence[int]) -> Finding:
    held = [p for p in record.parameters if p.id in optimizer.parameter_ids and p.trainable]
    layers = list(dict.fromkeys(parameter.layer or parameter.name for parameter in held))
    named = ", ".join(f"`{layer}`" for layer in layers[:4])
    others = "while another optimizer's do" if record.weights else "though backward() is called before each"
    return Finding(
        message=f"{optimizer.cls} steps {len(held)} parameters, those of {named}, and never finds a gradient on any of "
        f"them: its steps change nothing, {others}",
        site=optimizer.site or held[0].site,
        layer=layers[0],
        evidence={"parameters": len(held), "looks": len(steps), "last look at step": steps[-1]},
        cure="compute the loss that it is meant for through these layers, without `.detach()` or `no_grad()` between "
        "them and the loss (a generator learns through the discriminator), and run backward() on it",
        severity="error",
        confidence=0.95,
    )


def _finding(record: Record, optimizer: Optimizer, never: Sequence[Parameter], looks: Sequence[Look]) -> Finding:
    cut = _cut_off(record, never)
    layers = list(dict.fromkeys(parameter.layer or parameter.name for parameter in never))
    named = ", ".join(f"`{layer}`" for layer in layers[:4])
    found = f"no gradient ever reaches {len(never)} of the parameters that {optimizer.cls} holds, those of {named}"
    if cut:
        found += f": the graph is cut behind `{cut[-1].name}`, whose output is used all the same"
    return Finding(
        message=found,
        site=never[0].site or optimizer.site,
        layer=layers[0],
        evidence={"layers without a gradient": ", ".join(layers), "looks": len(looks), "steps": looks[-1][0]},
        cure="take out what cuts the graph between these layers and the loss (`.detach()`, `.data`, numpy)"
        if cut
        else "use their result in `forward`, or leave them out",
        severity="warning" if cut else "note",
        confidence=0.8,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(64, 64)
            self.second = nn.Linear(64, 64)  # TDX217
            self.head = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(x))
            self.second(x)
            logits: torch.Tensor = self.head(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
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


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(64, 64)
            self.second = nn.Linear(64, 64)
            self.head = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(x))
            x = torch.relu(self.second(x))
            logits: torch.Tensor = self.head(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
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


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    heads = nn.ModuleList([nn.Linear(64, 10), nn.Linear(64, 10)])
    optimizer = torch.optim.Adam([*body.parameters(), *heads.parameters()], lr=0.003)
    for epoch in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()  # one head and one task first, then the other
            loss = nn.functional.cross_entropy(heads[epoch // 5](body(inputs[rows])), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
