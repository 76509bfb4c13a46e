"""A part of the model gets gradients, but belongs to no optimizer, so it never moves.

Seen as layers whose weights are at the end of training exactly what they were at its start.

Hurts because an optimizer changes only what it was given. A part left out stays at its random start: the others have
to make do with random features, and its gradients are computed for nothing.

Helped by handing over all of it: `model.parameters()`, or every part's own.

No fault when the part is frozen on purpose (`requires_grad = False`, detached, under `no_grad`), loaded ready
trained, or has an optimizer of its own.

Sources: PyTorch documentation, "torch.optim: constructing it".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.models import Model, has_parameters
from torchdx.source.optimizers import optimizers
from torchdx.source.values import Group, Instance, Operation, Result, Table, Value
from torchdx.source.walks import walk

if TYPE_CHECKING:
    from torchdx.record import Fact, Optimizer, Parameter, Record
    from torchdx.source import Call, Program

code, family, severity = "TDX201", "gradients", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "average-left-behind", "graph-used-after-step"})

LITTLE = 0.5
"""Share of the loss learnt away below which a random model that is left alone may be what holds the training back:
random features under a trained head learn more than that on digits (0.8 and more), a starved decoder 0.005."""

ON_PURPOSE = re.compile(
    rb"requires_grad|freez|pretrain|load_state_dict|\.detach\(|from_pretrained|weights=|add_param_group"
)


def in_source(program: Program) -> Iterator[Finding]:
    """Every optimizer given some parts of a model, where others, as trainable, are given to none."""
    made = list(optimizers(program))
    for file in {call.file.path: call.file for call in made}.values():
        here = [call for call in made if call.file is file]
        given = [_parts(call.argument_value(0, "params")) for call in here]
        if ON_PURPOSE.search(file.bytes) or any(parts is None for parts in given):
            continue
        covered = [part for parts in given for part in parts or ()]
        for call, parts in zip(here, given, strict=True):
            owner = _owner(program, call, parts or [])
            if owner is None or ON_PURPOSE.search(owner.instance.definition.file.bytes):  # type: ignore[union-attr]
                continue
            left = [s.name for s in owner.submodules if _is_left_out(s.instances, covered)]
            if left:
                yield Finding(
                    message=f"`{', '.join(left)}` of {owner.name} is given to no optimizer and will stay as it started",
                    site=call.site,
                    layer=left[0],
                    evidence={"left_out": left},
                    cure="give the optimizer all parameters of the model",
                    confidence=0.85,
                )
                break


ALL = "give the optimizer all parameters of the model"
UNKNOWN_TO_MODEL = (
    "keep the modules that stand in <> in an `nn.ModuleList` or `nn.ModuleDict`: in a plain list or dict they are no "
    "part of the model, and `parameters()` does not give theirs"
)


def in_run(record: Record) -> Iterator[Finding]:
    """The parameters that hold gradients and belong to no optimizer that steps, where others of the model do."""
    left = record.left_out_parameters()
    if left:
        layers = list(dict.fromkeys(parameter.layer or parameter.name for parameter in left))
        unknown = next((parameter for parameter in left if "<" in parameter.layer), None)
        near = next(o for o in reversed(record.optimizers) if o.parameter_ids & _siblings(record, left[0].model))
        yield Finding(
            message=f"{len(left)} parameters get gradients but belong to no optimizer that takes a step, those of "
            f"{', '.join(f'`{layer}`' for layer in layers[:4])}: they stay as they started",
            site=unknown.site if unknown else near.site,
            layer=layers[0],
            evidence={"layers without an optimizer": ", ".join(layers)},
            cure=UNKNOWN_TO_MODEL if unknown else ALL,
            confidence=0.95,
        )
    yield from _whole_model_left(record)


def _whole_model_left(record: Record) -> Iterator[Finding]:
    """A whole model at its random start that the loss sends gradients to, and no optimizer ever holds.

    A model that is not to be trained is loaded, frozen, or used without gradients; and what trains well needs no cure,
    but where it stands before what is trained, or an optimizer that is there twice was meant for it. Else it is a note.
    """
    if record.left_out_parameters():
        return
    pulled = record.process.last("gradients").get("outside", ())
    left = [p for p in record.unoptimised_parameters() if p.id in pulled and p.is_fresh]
    poor = bool(left) and record.progress.gain < LITTLE
    certain = [] if poor else _certainly_left(record)
    learners = [p for p in record.parameters if any(p.id in o.parameter_ids for o in record.optimizers)]
    alone = [p for p in left if p.model is not None and not any(p.is_copy_of(one) for one in learners)]
    left = left if poor else certain or alone
    if not left:
        return
    layers = list(dict.fromkeys(parameter.layer or parameter.name for parameter in left))
    yield Finding(
        message=f"a whole model, with {', '.join(f'`{layer}`' for layer in layers[:4])}, gets gradients and belongs to "
        "no optimizer: it stays at its random start",
        site=(_of_same_parameters(record) or _beside(record, left))[-1].site,
        layer=layers[0],
        evidence={
            "layers without an optimizer": ", ".join(layers),
            "share of the loss learnt away": record.progress.gain,
        },
        cure="give the optimizer the parameters of both models, or freeze the one that is not to be trained",
        confidence=0.9,
        severity=None if poor or certain else "note",
    )


def _certainly_left(record: Record) -> list[Parameter]:
    """Those of whole models, before what an optimizer trains, or beside two optimizers of the very same parameters."""
    told = [fact for optimizer in record.optimizers for fact in _looks(record, optimizer)[-1:]]
    pulled = {number for fact in told for number in fact["outside"]}
    held = {number for optimizer in record.optimizers for number in optimizer.parameter_ids}
    learners = [p for p in record.parameters if p.id in held]
    feeding = {number for fact in record.process.all("feeding") for number in fact["params"]}
    lost = [p for p in record.unoptimised_parameters() if p.id in pulled and not p.loaded and p.model is not None]
    ahead = [p for p in lost if p.id in feeding]
    if any(p.is_weight for p in ahead) or not _of_same_parameters(record):
        return ahead if any(p.is_weight for p in ahead) else []
    return [p for p in lost if not any(p.is_copy_of(one) for one in learners)]


def _beside(record: Record, left: Sequence[Parameter]) -> Sequence[Optimizer]:
    """The optimizers at whose steps these had gradients; all where none was seen."""
    ids = {p.id for p in left}
    found = [o for o in record.optimizers if any(ids & set(f["outside"]) for f in _looks(record, o))]
    return found or record.optimizers


def _of_same_parameters(record: Record) -> list[Optimizer]:
    """Two optimizers that hold the very same, and take turns: the second was meant for others."""
    for number, one in enumerate(record.optimizers):
        for other in record.optimizers[number + 1 :]:
            own, its = _looks(record, one), _looks(record, other)
            if one.parameter_ids == other.parameter_ids and own and its and its[0]["step"] < own[-1]["step"]:
                return [one, other]
    return []


def _looks(record: Record, optimizer: Optimizer) -> list[Fact]:
    return [fact for fact in record.process.all("gradients") if fact.get("optimizer") == optimizer.id]


def _siblings(record: Record, model: int | None) -> frozenset[int]:
    return frozenset(parameter.id for parameter in record.parameters if parameter.model == model)


@walk(None)
def _parts(value: Value) -> list[Instance] | None:
    """The modules whose parameters these are; None where that is not known."""
    if isinstance(value, Result) and value.dotted == "torch.nn.Module.parameters" and isinstance(value.given, Instance):
        return [value.given]
    inner: list[Value] | None = None
    if isinstance(value, Group) and not value.open:
        inner = list(value.items)
    elif isinstance(value, Table) and "params" in value.items:
        inner = [value.items["params"]]
    elif isinstance(value, Operation) and value.operator == "Add":
        inner = list(value.values())
    if inner is None:
        return None
    found = [_parts(item) for item in inner]
    return None if any(one is None for one in found) else [part for one in found for part in one or ()]


def _owner(program: Program, call: Call, parts: list[Instance]) -> Model | None:
    """The one model whose parts these are, none of them the whole of it."""
    given = call.argument(0, "params")
    nodes = [node for node in ast.walk(given.node) if isinstance(node, ast.Attribute)] if given is not None else []
    for node in nodes:
        value = program.evaluate(call.file, node.value)
        whole = isinstance(value, Instance) and value.definition is not None and value.is_module
        if whole and isinstance(value, Instance) and value.call and not any(_is_same(value, part) for part in parts):
            return Model(value)
    return None


def _is_same(one: Instance, other: Instance) -> bool:
    if one.call is None or other.call is None:
        return one is other
    return one.call.node is other.call.node


def _is_left_out(instances: tuple[Instance, ...], covered: list[Instance]) -> bool:
    return bool(instances) and all(
        has_parameters(instance) and not any(_is_same(instance, part) for part in covered) for instance in instances
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Hand over the whole model."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    call = next((call for call in optimizers(program) if call.node is node), None)
    given = call.argument(0, "params") if call is not None else None
    inner = given.node if given is not None else None
    if (
        isinstance(inner, ast.Call)
        and isinstance(inner.func, ast.Attribute)
        and isinstance(inner.func.value, ast.Attribute)
        and _is_module(program.evaluate(file, inner.func.value.value))
    ):
        text = f"{file.text_of(inner.func.value.value)}.parameters()"
        found = edits.fix("optimise the whole model", file, [edits.replace(file, inner, text)])
        if found is not None:
            yield found


def _is_module(value: Value) -> bool:
    return all(isinstance(one, Instance) and one.is_module for one in value.alternatives())


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(64, 64)
            self.head = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(torch.relu(self.body(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.003)  # TDX201
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
            self.body = nn.Linear(64, 64)
            self.head = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(torch.relu(self.body(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
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
