"""The weights of a network with batch normalisation are frozen, but training mode keeps its running statistics moving.

Seen as frozen features that drift: the same picture gives other features after training, the head fits features that
evaluation no longer computes, and the "pretrained" part of the checkpoint is no longer what was loaded.

Hurts because `requires_grad = False` stops only gradients. In training mode each batch still sets r <- (1 - m) r + m b
in every BatchNorm, and each output depends on the other samples of its batch, however small that is.

Helped by `backbone.eval()` after each `model.train()`, or a `train()` of the model's own that does so.

No fault when the frozen part is put into evaluation mode, or its weights are thawed later. A note only where just a
part is frozen: to let statistics follow new data may be meant.

Sources: PyTorch documentation, `torch.nn.BatchNorm2d` and "Autograd mechanics: evaluation mode"; Keras documentation,
"Transfer learning and fine-tuning", section on BatchNormalization.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.models import Model
from torchdx.source.values import Group, Instance, Item, Result, literal

if TYPE_CHECKING:
    from torchdx.source import Expression, Program, SourceFile
    from torchdx.source.values import Value

code, family, severity = "TDX405", "normalisation", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"validation-gap", "train-eval-gap"})

NORMALISED = re.compile(r"resne[xtsd]|wide_resnet|densenet|mobilenet|efficientnet|regnet|mnasnet|inception|vgg\d+_bn")
"""Models, by the names that torchvision and timm give them, that certainly hold batch normalisation."""
OTHERWISE = re.compile(
    rb"track_running_stats|FrozenBatchNorm|\.momentum\s*=|freeze_bn|bn_eval|lightning|fastai|"
    rb"deepcopy\((?![\w.]+\.state_dict\()"
)
"""Signs that the statistics have been thought of, that somebody else sets the modes, or that a copy is frozen."""
HEADS = re.compile(r"\.(fc|classifier|heads?|linear|get_classifier\(\)|last_linear)\b")
BY_NAME = ("timm.create_model", "torchvision.models.get_model", "torch.hub.load")
FARTHEST = 4


@dataclass(frozen=True, eq=False)
class Freezing:
    """What is frozen or thawed: the module before `.parameters()`, and what it gets (None where that is open)."""

    module: Expression
    given: object

    @property
    def made(self) -> set[ast.AST]:
        """The calls that may have made the module."""
        return set(_made_by(self.module.value))


@dataclass(frozen=True, eq=False)
class Left:
    """A frozen module, the `train()` that reaches it, its name there as a part, and whether nothing else is thawed."""

    frozen: Expression
    call: Call
    part: str
    for_good: bool


def in_source(program: Program) -> Iterator[Finding]:
    """Every frozen network with batch normalisation in a model that is put into training mode, and it not back."""
    for left in _left_in_training(program):
        frozen, call = left.frozen, left.call
        yield Finding(
            message=f"`{call.text}` also puts `{frozen.text}`, frozen at {frozen.site.seen_from(call.file.path)}, into "
            "training mode: its batch normalisation goes on changing its running statistics",
            site=call.site,
            evidence={"frozen_at": str(frozen.site)},
            cure=f"call `{left.part}.eval()` after it" if left.part else "call `.eval()` on the frozen layers after it",
            confidence=0.85,
            severity=None if left.part and left.for_good else "note",
        )


def _left_in_training(program: Program) -> Iterator[Left]:
    files = [file for file in program.torch_files if b"requires_grad" in file.bytes and not file.is_test]
    changes = list(_changes(program, files)) if files and program.training_loops else []
    thawing = [change for change in changes if change.given is not False]
    for change in changes:
        module, made = change.module, change.made
        if change.given is not False or OTHERWISE.search(module.file.bytes) or not _is_one(program, module.value):
            continue
        if not all(map(_is_normalised, module.value.alternatives())) or any(other.made & made for other in thawing):
            continue
        if any(literal(test.value) is not True for test in module.guards()):
            continue
        for call, part in _put_into_training(program, made):
            if not OTHERWISE.search(call.file.bytes) and not _put_back(program, module, made, call):
                yield Left(module, call, part, all(HEADS.search(other.module.text) for other in thawing))
            break


def _is_one(program: Program, value: Value) -> bool:
    """Is it made by calls of which each makes one thing only, so that it is told from others by them?"""
    for choice in value.alternatives():
        made = choice.call if isinstance(choice, (Instance, Result)) else None
        function = made.function if made is not None else None
        if function is not None and function.name != "__init__" and len(program.callers(function)) != 1:
            return False
    return True


def _changes(program: Program, files: list[SourceFile]) -> Iterator[Freezing]:
    """Every place where all parameters of a module are frozen or thawed."""
    for file in files:
        for bindings in file.index.attributes_in.values():
            for binding in bindings:
                if binding.name == "requires_grad" and isinstance(binding.node, ast.Attribute):
                    given = binding.value.value if isinstance(binding.value, ast.Constant) else None
                    yield from _over_parameters(program, file, binding.node, given)
    for call in program.calls_named("requires_grad_"):
        mode = call.argument(0, "requires_grad")
        value = mode.literal if mode is not None else True
        inner = list(_over_parameters(program, call.file, call.node.func, value))
        yield from inner
        if not inner and call.receiver is not None:
            yield Freezing(call.receiver, value)


def _over_parameters(program: Program, file: SourceFile, node: ast.expr, given: object) -> Iterator[Freezing]:
    """The module in `for p in module.parameters(): p.requires_grad = ...`; open where only some of them are meant."""
    name = node.value if isinstance(node, ast.Attribute) else None
    for loop in file.loops_around(node):
        if not isinstance(loop, ast.For) or not isinstance(name, ast.Name):
            continue
        targets = {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
        over = loop.iter
        if name.id in targets and isinstance(over, ast.Call) and isinstance(over.func, ast.Attribute):
            every = file.statement(node) in loop.body and over.func.attr in ("parameters", "named_parameters")
            if over.func.attr in ("parameters", "named_parameters"):
                yield Freezing(program.expression(file, over.func.value), given if every else None)
            return


def _made_by(value: Value) -> Iterator[ast.AST]:
    """The calls that made a module: of a class, or of a function that is known to make models."""
    for choice in value.alternatives():
        is_known = isinstance(choice, Instance) or choice.name in BY_NAME or choice.name.startswith("torchvision.")
        if isinstance(choice, (Instance, Result)) and choice.call is not None and is_known:
            yield choice.call.node


def _is_normalised(value: Value, depth: int = 0) -> bool:
    """Does it certainly hold batch normalisation that keeps statistics?"""
    if depth > FARTHEST:
        return False
    if isinstance(value, Instance):
        given = value.call.arguments() if value.dotted == "torch.nn.Sequential" and value.call is not None else ()
        if any(_is_normalised(argument.value, depth + 1) for argument in given):
            return True
        return value.is_module and Model(value).holds("BatchNorm")
    if isinstance(value, Group):
        return any(_is_normalised(item, depth + 1) for item in value.items)
    if isinstance(value, Item):
        return _is_normalised(value.of, depth + 1)
    if not isinstance(value, Result):
        return False
    if value.dotted.endswith((".children", ".modules")):
        return _is_normalised(value.input, depth + 1)
    named = [value.dotted.rpartition(".")[2]] if value.dotted.startswith("torchvision.models.") else []
    if value.dotted in BY_NAME:
        named = [str(argument.literal).lower() for argument in value.call.arguments()]
    return any(NORMALISED.search(name) for name in named)


def _put_into_training(program: Program, made: set[ast.AST]) -> Iterator[tuple[Call, str]]:
    """The calls of `train()` on the frozen module or on one that holds it, and what it is called there."""
    for call in program.calls_named("train"):
        mode = call.argument(0, "mode")
        if call.receiver is None or call.file.is_test or (mode is not None and mode.literal is not True):
            continue
        values = call.receiver.value.alternatives()
        if made.intersection(_made_by(call.receiver.value)):
            yield call, ""
        elif len(values) == 1 and isinstance(values[0], Instance) and values[0].is_module:
            model, definition = values[0], values[0].definition
            part = next(_part(program, model, made), None)
            if part is not None and (definition is None or definition.method("train") is None):
                yield call, f"{call.receiver.text}.{part}" if not part.isdigit() else f"{call.receiver.text}[{part}]"


def _part(program: Program, model: Instance, made: set[ast.AST]) -> Iterator[str]:
    """Under which of its names a model holds the module."""
    if model.definition is None:
        yield from (sub.name for sub in Model(model).submodules if made.intersection(_made_by(sub.value)))
        return
    for cls in model.definition.lineage:
        for name in cls.own_attributes:
            if made.intersection(_made_by(program.member(model, name))):
                yield name


def _put_back(program: Program, frozen: Expression, made: set[ast.AST], training: Call) -> bool:
    """Does anything put the frozen part, or what is not known, into evaluation mode?"""
    assert training.receiver is not None
    whole = set(_made_by(training.receiver.value))
    for call in (*program.calls_named("eval"), *program.calls_named("train")):
        if call.receiver is None or (call.method == "train" and not call.node.args and not call.node.keywords):
            continue
        own = set(_made_by(call.receiver.value))
        same = call.receiver.text.rpartition(".")[2] == training.receiver.text.rpartition(".")[2]
        if (not own and not same and call.file in (frozen.file, training.file)) or (own & made and not own & whole):
            return True
    return False


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put the frozen part back into evaluation mode."""
    for left in _left_in_training(program):
        call, statement = left.call, left.call.file.statement(left.call.node)
        if call.site == finding.site and left.part and call.is_statement and statement is not None:
            change = edits.insert_after(call.file, statement, f"{left.part}.eval()")
            found = edits.fix("keep the frozen part in evaluation mode", call.file, [change])
            if found is not None:
                yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Probe(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body
            for parameter in self.body.parameters():
                parameter.requires_grad = False
            self.head = nn.Linear(64, 10)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.body(rows))
            return out

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    body = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())
    trained = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())  # stands for a file
    body.load_state_dict(trained.state_dict())
    model = Probe(body)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.01)
    for _ in range(10):
        model.train()  # TDX405
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

    class Probe(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body
            for parameter in self.body.parameters():
                parameter.requires_grad = False
            self.head = nn.Linear(64, 10)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.body(rows))
            return out

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    body = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())
    trained = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())  # stands for a file
    body.load_state_dict(trained.state_dict())
    model = Probe(body)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.01)
    for _ in range(10):
        model.train()
        model.body.eval()
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    from typing import Any

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())
            self.body.requires_grad_(False)
            self.head = nn.Linear(64, 10)

        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self.body.eval()
            return self

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.body(rows))
            return out

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Probe()
    trained = Probe()  # stands for a file
    model.body.load_state_dict(trained.body.state_dict())
    optimizer = torch.optim.Adam(model.head.parameters(), lr=0.01)
    for _ in range(10):
        model.train()
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            print(f"{(model(inputs).argmax(1) == labels).float().mean().item():.3f}")
