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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.index import word_of
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.source import Expression, Program

code, family, severity = "TDX403", "normalisation", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset({"not-learning"})

LARGEST_EPS = 0.05
"""No formula of a normalisation or optimizer is meant with a larger eps: the defaults are 1e-8 to 1e-5."""


def is_flag(value: object) -> bool:
    return isinstance(value, bool)


def is_word(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """A number that cannot stand for True or False."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value not in (0, 1)


def is_share(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


def is_large(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > LARGEST_EPS


def is_decay(value: object) -> bool:
    """As small as a weight decay is, and as a momentum never is."""
    return isinstance(value, float) and 0 < value <= 0.01


def is_negative(value: object) -> bool:
    return isinstance(value, int) and value < 0


@dataclass(frozen=True)
class Slot:
    """A place that gets what another parameter is `meant` for, told by the `wrong` value or by the name passed."""

    place: int
    name: str
    wrong: Callable[[object], bool]
    meant: str
    named: bool = False


def _each(pattern: str, *slots: Slot) -> dict[str, tuple[Slot, ...]]:
    """The slots of several callables: `torch.nn.Conv{1d 2d}` stands for two."""
    head, _, rest = pattern.partition("{")
    return dict.fromkeys((head + end for end in rest.rstrip("}").split()) if rest else (head,), slots)


ONE_TO_THREE = "{1d 2d 3d}"
EPS = (Slot(1, "eps", is_flag, "affine"), Slot(1, "eps", is_large, "momentum", True))
MEAN = "size_average"
P = Slot(0, "p", is_flag, "inplace")
SLOTS: dict[str, tuple[Slot, ...]] = {
    **_each("torch.nn.BatchNorm" + ONE_TO_THREE, *EPS, Slot(2, "momentum", is_flag, "affine")),
    **_each("torch.nn.InstanceNorm" + ONE_TO_THREE, *EPS, Slot(2, "momentum", is_flag, "affine")),
    **_each("torch.nn.SyncBatchNorm", *EPS),
    **_each("torch.nn.GroupNorm", Slot(2, "eps", is_flag, "affine"), Slot(2, "eps", is_large, "")),
    **_each("torch.nn.LayerNorm", Slot(1, "eps", is_flag, "elementwise_affine"), Slot(1, "eps", is_large, "")),
    **_each("torch.nn.{LSTM GRU}", Slot(3, "bias", is_number, "dropout", True)),
    **_each("torch.nn.RNN", Slot(4, "bias", is_number, "dropout", True)),
    **_each("torch.nn.Linear", Slot(2, "bias", is_number, ""), Slot(2, "bias", is_word, "")),
    **_each("torch.nn.Dropout{ 1d 2d 3d}", P, Slot(1, "inplace", is_number, "")),
    **_each("torch.nn.AlphaDropout", P),
    **_each("torch.nn.{ReLU ReLU6 SELU SiLU Hardswish}", Slot(0, "inplace", is_number, "")),
    **_each("torch.nn.LeakyReLU", Slot(0, "negative_slope", is_flag, "inplace")),
    **_each("torch.nn.functional.leaky_relu", Slot(1, "negative_slope", is_flag, "inplace")),
    **_each(
        "torch.nn.MaxPool" + ONE_TO_THREE, Slot(1, "stride", is_flag, ""), Slot(2, "padding", is_flag, "ceil_mode")
    ),
    **_each(
        "torch.nn.AvgPool" + ONE_TO_THREE, Slot(1, "stride", is_flag, ""), Slot(2, "padding", is_flag, "ceil_mode")
    ),
    **_each("torch.nn.MultiheadAttention", Slot(2, "dropout", is_flag, "bias"), Slot(3, "bias", is_number, "")),
    **_each("torch.nn.TransformerEncoderLayer", Slot(2, "dim_feedforward", is_share, "dropout", True)),
    **_each("torch.nn.TransformerDecoderLayer", Slot(2, "dim_feedforward", is_share, "dropout", True)),
    **_each("torch.nn.{MSELoss L1Loss SmoothL1Loss KLDivLoss}", Slot(0, MEAN, is_word, "reduction")),
    **_each("torch.nn.{CrossEntropyLoss NLLLoss BCELoss}", Slot(1, MEAN, is_word, "reduction")),
    **_each("torch.nn.BCEWithLogitsLoss", Slot(0, "weight", is_word, "pos_weight", True)),
    **_each("torch.nn.functional.{mse_loss l1_loss smooth_l1_loss kl_div}", Slot(2, MEAN, is_word, "reduction")),
    **_each(
        "torch.nn.functional.{dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout}",
        Slot(1, "p", is_flag, "training", True),
    ),
    **_each("torch.nn.functional.gumbel_softmax", Slot(1, "tau", is_flag, "hard", True)),
    **_each("torch.nn.functional.normalize", Slot(1, "p", is_negative, "dim", True)),
    **_each(
        "torch.optim.SGD",
        Slot(2, "momentum", is_decay, "weight_decay", True),
        Slot(3, "dampening", is_decay, "weight_decay", True),
        Slot(3, "dampening", is_flag, "nesterov", True),
        Slot(4, "weight_decay", is_flag, "nesterov", True),
    ),
    **_each("torch.optim.{Adam AdamW}", Slot(3, "eps", is_large, "weight_decay", True)),
    **_each("torch.optim.RMSprop", Slot(2, "alpha", is_decay, "weight_decay", True)),
    **_each("torch.optim.lr_scheduler.StepLR", Slot(1, "step_size", is_share, "gamma", True)),
    **_each(
        "torch.utils.data.DataLoader",
        Slot(1, "batch_size", is_flag, "shuffle", True),
        Slot(2, "shuffle", is_number, "num_workers", True),
    ),
    **_each(
        "torchvision.transforms.{RandomHorizontalFlip RandomVerticalFlip RandomGrayscale}", Slot(0, "p", is_flag, "")
    ),
}
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
