"""An argument given by position lands in the slot of another.

Seen as nothing at all: the call is accepted, and the network, the loss or the optimizer is not the one that was meant.
(Newer versions of torch refuse a number for the bias of an LSTM or GRU.)

Hurts because Python fills parameters in the order of the signature. `nn.BatchNorm2d(64, 0.8)` sets eps, not momentum:
y = (x - mean) / sqrt(var + 0.8) no longer has unit variance. `F.dropout(x, self.training)` drops with p = True = 1:
everything, in training. `nn.LeakyReLU(True)` has slope 1 and is the identity. `nn.MSELoss("sum")` fills
`size_average`, and takes the mean. `SGD(params, 0.1, 5e-4)` has a momentum of 0.0005 and no weight decay.

Helped by naming the argument: `nn.BatchNorm2d(64, momentum=0.8)`. Mind that the momentum of PyTorch's normalisations is
the share of the *new* batch: 0.8 in Keras and TensorFlow is 0.2 here.

No fault when the value is one that the slot could be meant to have.

Sources: PyTorch documentation, the signatures of the layers, losses and optimizers named.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.index import word_of
from torchdx.source.slots import SLOTS, Slot
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.source import Expression, Program

code, family, severity = "TDX403", "normalisation", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset({"not-learning", "batch-taken-for-time", "batch-mixing"})

WORDS = {name.rpartition(".")[2]: min(slot.place for slot in slots) for name, slots in SLOTS.items()}


NEAR = (ast.Constant, ast.UnaryOp, ast.Name, ast.Attribute)


def in_source(program: Program) -> Iterator[Finding]:
    """Every argument that its slot cannot be meant for."""
    for word, least in WORDS.items():
        for call in program.calls_named(word):
            found = _misplaced(call) if len(call.node.args) > least else None
            if found is not None:
                slot, given = found
                instead = f", not in that of `{slot.meant}`" if slot.meant else ", where it makes no sense"
                yield Finding(
                    message=f"`{given.text}` lands in the slot of `{slot.name}` of {call.method}{instead}",
                    site=given.site,
                    evidence={"slot": slot.name, "place": slot.place + 1},
                    cure=_cure(slot, given),
                    confidence=0.95,
                )


def _cure(slot: Slot, given: Expression) -> str:
    named = f"`{slot.meant or '...'}={given.text}`"
    share = _share_of_new(slot, given)
    if share is None:
        return f"name the argument: {named}"
    return f"name the argument: `momentum={share}`, as {given.text} of Keras's is here; {named} if PyTorch's is meant"


def _share_of_new(slot: Slot, given: Expression) -> float | None:
    """The momentum of PyTorch's for what looks like one of Keras's, the share of the *old* batches."""
    value = given.literal
    if slot.name == "eps" and slot.meant == "momentum" and isinstance(value, float) and 0.5 < value < 1:
        return round(1 - value, 6)
    return None


def _misplaced(call: Call) -> tuple[Slot, Expression] | None:
    args = call.node.args
    if not any(isinstance(arg, NEAR) for arg in args) or any(isinstance(arg, ast.Starred) for arg in args):
        return None
    for slot in SLOTS.get(call.name, ()):
        if slot.place < len(args) and isinstance(args[slot.place], NEAR):
            given = call.at(args[slot.place])
            if slot.last and (
                len(args) > slot.place + 1 or any(k.arg in (slot.meant, None) for k in call.node.keywords)
            ):
                continue
            if (slot.named and _is_called(given.node, slot.meant)) or _is_wrong(slot, given):
                return slot, given
    return None


def _is_called(node: ast.expr, word: str) -> bool:
    """Is the argument itself called by the name of the parameter that is meant?"""
    name = word_of(node)
    return name == word or name.endswith("_" + word)


def _is_wrong(slot: Slot, given: Expression) -> bool:
    return all(slot.wrong(literal(choice)) for choice in given.value.alternatives())


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Name the argument, where none follows it."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.expr) if file is not None and finding.site else None
    above = file.parent(node) if file is not None and node is not None else None
    call = program.expression(file, above) if file is not None and isinstance(above, ast.Call) else None
    found = _misplaced(call) if isinstance(call, Call) else None
    if file is None or found is None or not isinstance(above, ast.Call):
        return
    slot, given = found
    if slot.meant and above.args[-1] is given.node and all(word.arg != slot.meant for word in above.keywords):
        for value in dict.fromkeys((str(_share_of_new(slot, given) or given.text), given.text)):
            edit = edits.replace(file, given.node, f"{slot.meant}={value}")
            fix = edits.fix(f"name the argument: `{slot.meant}={value}`", file, [edit])
            if fix is not None:
                yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16, 0.8),  # TDX403
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9)
    for _ in range(4):
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
    inputs = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16, momentum=0.2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9)
    for _ in range(4):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from torch import nn
    from torch.nn import functional

    class Tagger(nn.Module):
        def __init__(self, width: int, eps: float = 1e-5) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4, eps, 0.2, True)
            self.memory = nn.GRU(4, width, 1, True, True)
            self.scale = nn.LayerNorm(width, 1e-3)
            self.head = nn.Sequential(nn.Linear(width, width, True), nn.ReLU(True), nn.Dropout(0, False))
            self.out = nn.Linear(width, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, _ = self.memory(self.norm(x.transpose(1, 2)).transpose(1, 2))
            x = functional.dropout(x[:, -1], 0.1, self.training)
            out: torch.Tensor = self.out(functional.leaky_relu(self.head(self.scale(x)), 0.2, False))
            return out

    torch.manual_seed(0)
    model = Tagger(16)
    inputs = torch.randn(256, 5, 4)
    targets = inputs[:, -1].sum(1, keepdim=True)
    optimizer = torch.optim.SGD(model.parameters(), 0.005, 0.9, 0, 1e-4, True)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets, None, None, "mean")
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
