"""A part of the model is frozen, at the random weights it was made with.

Seen as "fine-tuning" of a head that hardly gets anywhere. Measured are the frozen weights before training: they have
the mean, the deviation and, to a few per mille, the ends of a fresh random start.

Hurts because a frozen part never learns. Frozen pretrained layers keep what they know; frozen random ones are a random
projection, and all that is learnt has to be learnt by what stands behind them.

Where most is frozen and nothing is learnt, that is why. Where it learns all the same, it is worth a note: the features
are those of chance.

Helped by loading the weights before freezing, with `strict=True`, or by letting the layers train.

No fault when the random features are meant (a reservoir, a random projection, the target of random distillation), or
the frozen part is the copy of one that learns.

Sources: J. Yosinski et al., "How transferable are features in deep neural networks?" (2014); Y. Jiang et al.,
"TrainCheck" (OSDI 2025), which found frozen parameters behind several silent faults.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.draws import are_numbers_of_chance
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.finding import Severity
    from torchdx.record import Parameter, Record
    from torchdx.source import Program

code, family, severity = "TDX219", "gradients", "warning"
needs = frozenset({"param", "optimizer"})
explains = frozenset({"not-learning", "one-class-predictions", "learning-rate-too-high"})

THAWS = re.compile(rb"requires_grad_?\s*(=\s*|\(\s*)(True|\))|requires_grad\s*=\s*[^F\s]|unfreez|weight\.data")
"""What a table that was frozen may learn by, or be filled by, afterwards."""
SHARE = 0.5
"""Share of a trained model's parameters that are frozen and random. Healthy frozen parts were loaded, or are copies: 0;
where loading was forgotten, in four small nets: 0.79 to 0.96. Below a half, what learns can make up for it."""

LOOKS = 3
"""Looks through which a frozen parameter has kept the values that were drawn for it: by then whatever is to follow
others, or to be filled, has changed."""

LITTLE = 0.1
"""Share of a model below which frozen random values, as of a table of places, are no matter: they read 0 in healthy
programs; a table of a factorisation that was forgotten reads 0.32."""

GAIN = 0.2
"""Share of the loss learnt away from which random features are good enough, and perhaps a wish, so that they are worth
a note: 0.75 to 0.94 in three small nets with wide ones, 0.03 to 0.15 in three whose frozen layers are narrow or many.
"""


def in_run(record: Record) -> Iterator[Finding]:
    """Every trained model a part of which is frozen, and certainly random: a fault if that is most."""
    forgotten = [_forgotten_finding(record, own) for own in _forgotten(record)]
    yield from forgotten
    if forgotten or math.isnan(record.progress.gain):
        return
    for parameters in _trained_models(record):
        random = _frozen_at_random(record, parameters)
        if random:
            lost = record.progress.gain < GAIN and _share(random, parameters) > SHARE
            alone = _held(record).isdisjoint(p.id for p in random)  # else an optimizer has them, perhaps for later
            yield _finding(record, random, _share(random, parameters), None if lost and alone else "note")


def in_source(program: Program) -> Iterator[Finding]:
    """Every table of embeddings made of random numbers as if they were pretrained ones, which freezes them."""
    for call in program.calls("torch.nn.Embedding.from_pretrained", "torch.nn.EmbeddingBag.from_pretrained"):
        given = are_numbers_of_chance(call.argument_value(0, "embeddings"))
        kept = call.argument(1, "freeze")
        frozen = kept is None or literal(kept.value) is True
        if given and frozen and not THAWS.search(call.file.bytes) and not call.file.is_test:
            yield Finding(
                message=f"`{call.text[:60]}` freezes this table at the random numbers of `{given}`: it will not learn",
                site=call.site,
                cure="use `nn.Embedding(...)`, which learns, or give `freeze=False`, or the vectors that were meant",
                confidence=0.9,
                severity="note",
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The greatest share of a model that is frozen and random, and the share of the loss learnt away."""
    models = _trained_models(record)
    if models:
        yield "SHARE", max(_share(_frozen_at_random(record, parameters), parameters) for parameters in models)
        known = [_known(record, _frozen(record, parameters)) for parameters in models]
        yield "LITTLE", max(_share(own, parameters) for own, parameters in zip(known, models, strict=True))
    yield "LOOKS", record.process.last("frozen").get("looks", 0)
    if not math.isnan(record.progress.gain):
        yield "GAIN", record.progress.gain


def _forgotten(record: Record) -> Iterator[list[Parameter]]:
    """Whole models that are frozen at random in a later training, made as one was that an earlier training trained."""
    last = max(record.process.all("optimizer"), key=lambda fact: fact.get("step", 0), default={})
    begun = last.get("step", 0)
    own_ids = frozenset(number for group in last.get("groups", ()) for number in group["params"])
    used = {la.model for la in record.layers if any(step > begun for step, _ in la.looks)}
    models: dict[int, list[Parameter]] = {}
    for parameter in record.parameters:
        if parameter.model is not None:
            models.setdefault(parameter.model, []).append(parameter)
    held = _held(record)
    before = held - own_ids
    for model, whole in models.items() if begun else ():
        own = [p for p in whole if not p.trainable and p.id not in held]
        told = [p for p in own if p.tells_its_start]
        if model not in used or not told or not all(p.is_fresh for p in told) or any(p.loaded for p in own):
            continue
        alike = [part for number, other in models.items() if number != model and (part := _part_like(own, other))]
        # one that is in use beside it, or was loaded: this one is for comparison, or gives what the other is to give
        if (
            alike
            and all(p.id in before for part in alike for p in part)
            and not any(_goes_on(record, p) for p in alike)
        ):
            yield own


def _part_like(own: Sequence[Parameter], other: Sequence[Parameter]) -> Sequence[Parameter]:
    """The first row of the other model's parameters that has the very shapes of these."""
    shapes, count = [p.shape for p in own], len(own)
    rows = (other[start : start + count] for start in range(len(other) - count + 1))
    return next((row for row in rows if [p.shape for p in row] == shapes), ())


def _goes_on(record: Record, parameters: Sequence[Parameter]) -> bool:
    """Is it run after its own training is over?"""
    ids = {p.id for p in parameters}
    own = [one.id for one in record.optimizers if ids & one.parameter_ids]
    later = [fact["step"] for fact in record.process.all("optimizer") if fact["id"] not in own]
    over = min((step for step in later if step), default=record.steps)
    layers = [la for la in record.layers if la.model == parameters[0].model]
    return any(step > over for la in layers for step, _ in la.looks) or any(p.loaded for p in parameters)


def _forgotten_finding(record: Record, parameters: Sequence[Parameter]) -> Finding:
    layers = list(dict.fromkeys(p.layer or p.name for p in parameters))
    return Finding(
        message=f"{', '.join(f'`{layer}`' for layer in layers[:4])} are frozen at a random start, in a model made like "
        "one that was trained before: what that one learnt was not taken over",
        site=parameters[0].site,
        layer=layers[0],
        evidence={"parameters": len(parameters), "layers": ", ".join(layers)},
        cure="load the trained weights (`load_state_dict`) before freezing, or use the trained model itself",
        confidence=0.95,
    )


def _trained_models(record: Record) -> list[list[Parameter]]:
    """The parameters of each model that an optimizer was given a part of."""
    held = _held(record)
    models: dict[int, list[Parameter]] = {}
    for parameter in record.parameters:
        if parameter.model is not None:
            models.setdefault(parameter.model, []).append(parameter)
    return [own for own in models.values() if any(p.id in held for p in own)]


def _held(record: Record) -> frozenset[int]:
    return frozenset().union(*(optimizer.parameter_ids for optimizer in record.optimizers))


def _frozen(record: Record, parameters: Sequence[Parameter]) -> list[Parameter]:
    """Those that no optimizer can change, nor begin as a copy of one that it changes."""
    held = _held(record)
    moving = [p for p in parameters if p.trainable and p.id in held]
    frozen = [p for p in parameters if not p.trainable and not p.gradient]
    return [p for p in frozen if not any(p.is_copy_of(one) for one in moving)]


def _frozen_at_random(record: Record, parameters: Sequence[Parameter]) -> list[Parameter]:
    """The frozen ones, if all that can tell are at a random start, and they are most of what is frozen."""
    frozen = _frozen(record, parameters)
    told = [p for p in frozen if p.tells_its_start]
    proven = all(p.is_fresh for p in told) and _share(told, parameters) > _share(frozen, parameters) / 2
    if proven:
        return frozen
    known = _known(record, frozen)
    return known if _share(known, parameters) >= LITTLE else []


def _known(record: Record, frozen: Sequence[Parameter]) -> list[Parameter]:
    """Those tables and matrices whose values were seen to be drawn, and to stay."""
    drawn = record.process.last("frozen")
    return [p for p in frozen if drawn.get("looks", 0) >= LOOKS and p.id in drawn["params"] and len(p.shape) > 1]


def _share(some: Iterable[Parameter], parameters: Sequence[Parameter]) -> float:
    return sum(math.prod(p.shape) for p in some) / max(1, sum(math.prod(p.shape) for p in parameters))


def _finding(record: Record, frozen: Sequence[Parameter], share: float, severity: Severity | None) -> Finding:
    layers = list(dict.fromkeys(parameter.layer or parameter.name for parameter in frozen))
    return Finding(
        message=f"{share:.0%} of the model's parameters are frozen at a random start, those of "
        f"{', '.join(f'`{layer}`' for layer in layers[:4])}: they were never loaded, and will not learn",
        site=frozen[0].site,
        layer=layers[0],
        evidence={"share of parameters": share, "frozen layers": ", ".join(layers), "learnt": record.progress.gain},
        cure="load the weights before freezing them, or let these layers train",
        confidence=0.95,
        severity=severity,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    body = nn.Sequential(
        nn.Linear(64, 32),  # TDX219
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
    )
    model = nn.Sequential(body, nn.Linear(32, 10))
    body.requires_grad_(False)
    optimizer = torch.optim.Adam(model[1].parameters(), lr=0.003)
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

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    body = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
            self.teacher = copy.deepcopy(self.student).requires_grad_(False)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.student(x), self.teacher(x)

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    model = Pair()
    optimizer = torch.optim.Adam(model.student.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            own, taught = model(inputs[rows])
            loss = nn.functional.cross_entropy(own, labels[rows]) + 0.01 * (own - taught).square().mean()
            loss.backward()
            optimizer.step()
            with torch.no_grad():  # the teacher follows: a mean of students
                for mean, new in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
                    mean.lerp_(new, 0.1)
    print(f"{loss.item():.3f}")
