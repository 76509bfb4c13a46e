"""What numbers a value ends as: logits, probabilities, log-probabilities, something cut off at a bound, or unknown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from torchdx.source.reading import words
from torchdx.source.ready_made import is_output
from torchdx.source.values import UNKNOWN, Group, Item, Method, Operation, Result, Value
from torchdx.source.values import Literal as LiteralValue
from torchdx.source.walks import walk

Kind = Literal["logits", "log-probabilities", "probabilities", "bounded", "unknown"]


@dataclass(frozen=True)
class Ending:
    """The kind of numbers, the operation that makes them so ("softmax"), and where that stands."""

    kind: Kind
    operation: str = ""
    by: tuple[Result, ...] = ()


UNKNOWN_ENDING = Ending("unknown")
OPERATIONS: dict[str, tuple[Kind, str]] = {
    "softmax": ("probabilities", "softmax"),
    "Softmax": ("probabilities", "softmax"),
    "Softmax2d": ("probabilities", "softmax"),
    "sigmoid": ("probabilities", "sigmoid"),
    "sigmoid_": ("probabilities", "sigmoid"),
    "expit": ("probabilities", "sigmoid"),
    "Sigmoid": ("probabilities", "sigmoid"),
    "log_softmax": ("log-probabilities", "log_softmax"),
    "LogSoftmax": ("log-probabilities", "log_softmax"),
    "logsigmoid": ("log-probabilities", "logsigmoid"),
    "LogSigmoid": ("log-probabilities", "logsigmoid"),
    "tanh": ("bounded", "tanh"),
    "Tanh": ("bounded", "tanh"),
    "Hardtanh": ("bounded", "hardtanh"),
    "hardtanh": ("bounded", "hardtanh"),
    "Hardsigmoid": ("probabilities", "hardsigmoid"),
    "hardsigmoid": ("probabilities", "hardsigmoid"),
    "relu": ("bounded", "relu"),
    "relu_": ("bounded", "relu"),
    "ReLU": ("bounded", "relu"),
    "relu6": ("bounded", "relu6"),
    "ReLU6": ("bounded", "relu6"),
}
LINEAR = re.compile(r"^torch\.nn\.((Lazy)?(Linear|Bilinear|Conv(Transpose)?[123]d)|functional\.(linear|conv[123]d))$")
SAME = words(
    "view reshape flatten squeeze unsqueeze permute transpose t contiguous float double half bfloat16 to "
    "cuda cpu clone detach expand expand_as repeat type type_as view_as reshape_as gather index_select "
    "masked_select narrow select swapaxes movedim requires_grad_ dropout dropout2d dropout3d "
    "alpha_dropout Dropout Dropout1d Dropout2d Dropout3d AlphaDropout Identity Flatten Unflatten clamp "
    "clip clamp_min squeeze_ unsqueeze_ chunk split unbind Variable take_along_dim rearrange diagonal ravel flip roll"
)
DROPOUTS = words("dropout dropout2d dropout3d alpha_dropout Dropout Dropout1d Dropout2d Dropout3d AlphaDropout")
LIMITING = words("clamp clip clamp_min")
TORCH = re.compile(
    r"^(torch|torch\.nn|torch\.nn\.functional|torch\.Tensor|torch\.special|torch\.autograd|\?|einops)\.\w+$"
)


@walk(UNKNOWN_ENDING)
def ending_of(value: Value) -> Ending:
    """What a value's numbers are; known only where everything that it may be agrees."""
    found = [_one(choice) for choice in value.alternatives()]
    first = found[0]
    if len(found) == 1:
        return first
    if first.kind == "unknown" or any((e.kind, e.operation) != (first.kind, first.operation) for e in found):
        return UNKNOWN_ENDING
    return Ending(first.kind, first.operation, tuple(dict.fromkeys(result for e in found for result in e.by)))


def _one(value: Value) -> Ending:
    if isinstance(value, Method | Item):
        owner, word = (value.receiver, value.method) if isinstance(value, Method) else (value.of, value.key)
        if is_output(owner) and word == "logits":
            return Ending("logits", "logits", (owner,))
    if isinstance(value, Item):
        inner = ending_of(value.of)
        return inner if inner.by else UNKNOWN_ENDING
    if isinstance(value, Operation):
        return _arithmetic(value)
    if not isinstance(value, Result) or not TORCH.match(value.dotted):
        return UNKNOWN_ENDING
    last = value.dotted.rpartition(".")[2]
    if last in OPERATIONS:
        kind, operation = OPERATIONS[last]
        return Ending(kind, operation, (value,))
    if LINEAR.match(value.dotted):
        return Ending("logits", "linear", (value,))
    if last in ("LSTM", "GRU", "RNN"):
        return Ending("bounded", "recurrent", (value,))
    if last in SAME:
        inner = ending_of(value.input)
        limited = last in LIMITING and inner.kind == "logits"
        return Ending("bounded", "clamp", (value,)) if limited else inner
    if last in ("log", "log_") or last == "exp":
        return _logarithm(value, last)
    return UNKNOWN_ENDING


def _logarithm(value: Result, last: str) -> Ending:
    inner = ending_of(value.input)
    if last == "exp":
        return Ending("probabilities", "exp", (value,)) if inner.kind == "log-probabilities" else UNKNOWN_ENDING
    return Ending("log-probabilities", "log", (value,)) if inner.kind == "probabilities" else UNKNOWN_ENDING


def _arithmetic(value: Operation) -> Ending:
    operands = list(value.values())
    if value.operator == "MatMult":
        return UNKNOWN_ENDING
    if len(operands) != 2:
        return UNKNOWN_ENDING
    left, right = operands
    if value.operator == "Add":
        return _shifted(left, right)
    if value.operator == "Sub" and isinstance(left, LiteralValue) and left.value == 1:
        inner = ending_of(right)
        return inner if inner.kind == "probabilities" else UNKNOWN_ENDING
    if value.operator in ("Mult", "Div") and isinstance(right, LiteralValue):
        inner = ending_of(left)
        return inner if inner.kind == "logits" else UNKNOWN_ENDING
    return UNKNOWN_ENDING


def _shifted(left: Value, right: Value) -> Ending:
    """A tiny number added, to keep a logarithm finite, leaves probabilities what they are."""
    tiny = next((v for v in (left, right) if isinstance(v, LiteralValue)), None)
    other = left if tiny is right else right
    inner = ending_of(other)
    small = tiny is not None and isinstance(tiny.value, float) and abs(tiny.value) < 1e-3
    return inner if small or (tiny is not None and inner.kind == "logits") else UNKNOWN_ENDING


@walk(())
def makers_of(value: Value) -> tuple[Result, ...]:
    """What makes a value's numbers, looked up behind changes of shape and type alone; nothing where it is not known."""
    found: list[Result] = []
    for choice in value.alternatives():
        inner = choice.of if isinstance(choice, Item) else None
        if isinstance(choice, Result) and TORCH.match(choice.dotted):
            last = choice.dotted.rpartition(".")[2]
            if last not in SAME - DROPOUTS - LIMITING:
                found.append(choice)
                continue
            inner = choice.input
        makers = makers_of(inner) if inner is not None else ()
        if not makers:
            return ()
        found += makers
    return tuple(dict.fromkeys(found))


def first_output(value: Value) -> Value:
    """The first of what a model returns, where it returns several things."""
    if isinstance(value, Group):
        return value.items[0] if value.items else UNKNOWN
    return value
