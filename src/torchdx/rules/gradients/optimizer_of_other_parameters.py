"""The optimizer steps parameters that the model in use does not have.

Seen as a loss that stays where it began, or a new part that never learns, although `backward()` and `step()` are
called. Measured is that none of the optimizer's parameters ever has a gradient, while parameters that do are in none;
or all that it holds is frozen; or they have one only when another optimizer steps, as where two change places, or where
another holds them all, too.

Hurts because an optimizer holds tensors, not a model. Once the model, or a part of it, is copied (`deepcopy`), made
anew, or its parameters are put in by `load_state_dict(..., assign=True)`, backward() fills the gradients of the new
ones, and `step()` goes on changing the old, which nothing uses any more.

Helped by making the optimizer last: from the parameters of the very model that the loss is computed with.

No fault when the optimizer rests at a time when another trains, or gets its gradients from a closure.

Sources: PyTorch documentation, "torch.optim: constructing it"; Y. Jiang et al., "TrainCheck" (OSDI 2025).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from torchdx.finding import Finding, NotEnough

if TYPE_CHECKING:
    from torchdx.record import Fact, Optimizer, Parameter, Record

code, family, severity = "TDX216", "gradients", "error"
needs = frozenset({"gradients"})
explains = frozenset(
    {
        "not-learning",
        "parameter-not-optimised",
        "parameter-never-reached",
        "learning-rate-too-low",
        "one-class-predictions",
    }
)

LOOKS = 4
"""Looks in a row, up to the last, at which none of an optimizer's parameters had a gradient: exact, and four of them to
leave out steps before the first backward pass. Sick runs have none but such looks, healthy ones none; of the first
eight steps, which are always looked at, two optimizers that take turns have four each."""

EXCHANGED = 3
"""Looks at which the gradients of an optimizer that never has one at its own steps are there at another's: exact, and
no accident even once; none in healthy programs."""


UNUSED = "are in no model in use and never have a gradient"
FROZEN = "are frozen, and its steps change nothing"


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """Every optimizer that moves nothing of the model in use, while others' gradients find no optimizer."""
    idle = {optimizer.id: _idle_looks(record, optimizer) for optimizer in record.optimizers}
    working = [optimizer for optimizer in record.optimizers if idle[optimizer.id] == 0]
    for optimizer in record.optimizers:
        pulled = _pulled(record)
        if idle[optimizer.id] >= LOOKS:
            works = _looks_since(record, working, _looks(record, optimizer)[-idle[optimizer.id]]["step"])
            if pulled and (not works or _are_alike(_held(record, optimizer), pulled)):
                yield _finding(optimizer, _held(record, optimizer), pulled, "all")
            elif _exchanged(record, optimizer) >= EXCHANGED:
                yield _in_exchange(record, optimizer)
        elif len(_frozen_looks(record, optimizer)) >= LOOKS:
            steps = _frozen_looks(record, optimizer)
            since = _looks_since(record, record.optimizers, steps[0])
            if pulled and not since:
                yield _finding(optimizer, _held(record, optimizer), pulled, "all", FROZEN)
        elif len(_idle_twin(record, optimizer)) >= LOOKS:
            yield _in_vain(record, optimizer)
        elif not idle[optimizer.id]:
            left, lost = record.left_out_parameters(), _lost(record, optimizer)
            if left and lost and _are_alike(lost, left, in_size=False):
                yield _finding(optimizer, lost, left, "some")
        elif pulled:
            yield NotEnough(f"{LOOKS} looks at the optimizer's gradients")


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The most looks in a row, up to the last, at which an optimizer had no gradient and others had one for nothing."""
    if record.optimizers:
        idle = max(max(_idle_looks(record, one), len(_frozen_looks(record, one))) for one in record.optimizers)
        yield "LOOKS", idle if _pulled(record) else 0
        yield "EXCHANGED", max(_exchanged(record, one) for one in record.optimizers)


def _looks(record: Record, optimizer: Optimizer) -> list[Fact]:
    return [fact for fact in record.process.all("gradients") if fact.get("optimizer") == optimizer.id]


def _frozen_looks(record: Record, optimizer: Optimizer) -> list[int]:
    """The steps looked at where all that it holds was frozen, and parameters that are in no optimizer were pulled."""
    return [fact["step"] for fact in record.process.all("frozen_step") if fact["optimizer"] == optimizer.id]


def _exchanged(record: Record, optimizer: Optimizer) -> int:
    """At how many looks at others' steps had its parameters gradients, if they never have at its own?"""
    own = _looks(record, optimizer)
    if any(fact["params"] for fact in own) or any(p.gradient for p in _held(record, optimizer)):
        return 0
    return sum(optimizer.id in fact.get("pulled", ()) for fact in record.process.all("gradients"))


def _idle_twin(record: Record, optimizer: Optimizer) -> list[int]:
    """The steps seen of one that never has a gradient, though all that it holds is another's, which does: where each of
    several models should have its own optimizer."""
    looks = _looks(record, optimizer)
    glances = [fact for fact in record.process.all("unreached") if fact.get("optimizer") == optimizer.id]
    if any(fact["params"] for fact in looks) or not all(fact.get("whole") for fact in glances):
        return []
    held = set(optimizer.parameter_ids)
    twins = [one for one in record.optimizers if one.id != optimizer.id and set(one.parameter_ids) == held]
    working = any(fact["params"] for one in twins for fact in _looks(record, one))
    return sorted(fact["step"] for fact in (*looks, *glances)) if held and working else []


def _in_vain(record: Record, optimizer: Optimizer) -> Finding:
    held = _held(record, optimizer)
    return Finding(
        message=f"this {optimizer.cls} was given parameters that another optimizer has, too, and never finds a "
        "gradient at its steps: what the loss before them is computed with is not what it holds, and learns nothing",
        site=optimizer.site,
        layer=held[0].layer if held else None,
        evidence={"steps seen": _idle_twin(record, optimizer)},
        cure="give each optimizer the parameters of the model whose loss it steps after",
        confidence=0.96,
    )


def _in_exchange(record: Record, optimizer: Optimizer) -> Finding:
    others = {f["optimizer"] for f in record.process.all("gradients") if optimizer.id in f.get("pulled", ())}
    other = next(one for one in record.optimizers if one.id in others)
    layers = list(dict.fromkeys(p.layer or p.name for p in _held(record, optimizer)))
    return Finding(
        message=f"the parameters that {optimizer.cls} steps, those of {', '.join(f'`{layer}`' for layer in layers[:4])}"
        f", never have a gradient at its steps, and have one when another optimizer ({other.cls}) steps: each steps at "
        "the loss of the other",
        site=optimizer.site,
        layer=layers[0],
        evidence={"looks at the other's steps": _exchanged(record, optimizer), "the other": str(other.site)},
        cure="after each backward(), step the optimizer of the parameters that the loss is for; where the two are "
        "handed over together, as arguments or a tuple, they have changed places",
        confidence=0.96,
    )


def _looks_since(record: Record, working: Sequence[Optimizer], step: int) -> bool:
    """Does any of these optimizers still move something, as in training that takes turns, and not in an earlier one?"""
    return any(fact["step"] > step for optimizer in working for fact in _looks(record, optimizer))


def _idle_looks(record: Record, optimizer: Optimizer) -> int:
    """At how many looks in a row, up to the last, had none of its trainable parameters a gradient?"""
    able = {p.id for p in _held(record, optimizer) if p.trainable}
    back = reversed(_looks(record, optimizer))
    return sum(1 for _ in takewhile(lambda fact: not fact["params"] and able and able <= set(fact["missing"]), back))


def _held(record: Record, optimizer: Optimizer) -> list[Parameter]:
    return [parameter for parameter in record.parameters if parameter.id in optimizer.parameter_ids]


def _pulled(record: Record) -> list[Parameter]:
    """The parameters that have a gradient at the last look and are in no optimizer."""
    held = frozenset().union(*(optimizer.parameter_ids for optimizer in record.optimizers))
    last = max(record.process.last("gradients"), record.process.last("frozen_step"), key=lambda f: f.get("step", 0))
    outside = last.get("outside", ())
    return [parameter for parameter in record.parameters if parameter.id in outside and parameter.id not in held]


def _lost(record: Record, optimizer: Optimizer) -> list[Parameter]:
    """The optimizer's parameters that never had a gradient and are part of no model that is trained."""
    looks = _looks(record, optimizer)
    if len(looks) < LOOKS:
        return []
    never = set.intersection(*(set(fact["missing"]) for fact in looks[-LOOKS:]))
    trained = {p.model for p in record.parameters if p.gradient and p.model is not None}
    return [p for p in _held(record, optimizer) if p.id in never and p.model not in trained and not p.gradient]


def _are_alike(lost: Sequence[Parameter], found: Sequence[Parameter], in_size: bool = True) -> bool:
    """Do the ones stand in for the others: as many, each of the same shape, or at least of as many dimensions?"""

    def kinds(parameters: Sequence[Parameter]) -> Counter[object]:
        return Counter(parameter.shape if in_size else len(parameter.shape) for parameter in parameters)

    return kinds(lost) == kinds(found)


def _finding(
    optimizer: Optimizer, lost: Sequence[Parameter], found: Sequence[Parameter], share: str, why: str = UNUSED
) -> Finding:
    layers = list(dict.fromkeys(parameter.layer or parameter.name for parameter in found))
    return Finding(
        message=f"{share} of the parameters that {optimizer.cls} steps ({len(lost)}) {why}; "
        f"{len(found)} that do, those of {', '.join(f'`{layer}`' for layer in layers[:4])}, are in no "
        "optimizer: they stay as they started",
        site=optimizer.site,
        layer=layers[0],
        evidence={
            "parameters held and never reached": len(lost),
            "parameters reached and never held": len(found),
            "layers without an optimizer": ", ".join(layers),
        },
        cure="make the optimizer after the last change of the model, from the parameters of the model that is trained",
        confidence=0.98,
    )


def sick() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> float:
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(64):
                model.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        return loss.item()

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    template = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizers = {"adam": torch.optim.Adam(template.parameters(), lr=0.003)}  # TDX216
    for name, optimizer in optimizers.items():
        print(name, train(copy.deepcopy(template), optimizer, epochs=10))


def healthy() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> float:
        for _ in range(epochs):
            for rows in torch.randperm(len(inputs)).split(64):
                model.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        return loss.item()

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    template = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    for name, kind in {"adam": torch.optim.Adam}.items():
        model = copy.deepcopy(template)
        print(name, train(model, kind(model.parameters(), lr=0.003), epochs=10))


def looks_like_it() -> None:
    import copy

    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    diabetes = load_diabetes()
    inputs = torch.tensor(diabetes.data, dtype=torch.float32) * 20
    targets = (torch.tensor(diabetes.target, dtype=torch.float32)[:, None] - 152) / 77
    teacher = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    model = copy.deepcopy(teacher)  # gradients reach the teacher, too, which nobody means to train
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=2)

    def closure() -> torch.Tensor:
        found = model(inputs)
        loss = nn.functional.mse_loss(found, targets) + 0.001 * nn.functional.mse_loss(found, teacher(inputs))
        loss.backward()
        return loss

    for _ in range(30):
        optimizer.zero_grad()
        loss = optimizer.step(closure)
    print(float(loss))
