"""How many dimensions a tensor has, where the program itself says so."""

from __future__ import annotations

from torchdx.source.endings import DROPOUTS, LINEAR, OPERATIONS, TORCH
from torchdx.source.reading import words
from torchdx.source.ready_made import FEATURES
from torchdx.source.values import Group, Literal, Operation, Result, Value, literal
from torchdx.source.walks import walk

KEEPING = DROPOUTS | words(
    "Linear linear BatchNorm1d LayerNorm layer_norm GELU gelu SiLU silu LeakyReLU leaky_relu ELU elu Identity "
    "contiguous float double half to cuda cpu clone detach clamp clip dropout_ Tanhshrink Softplus softplus"
)
MOVING = words("transpose swapaxes swapdims permute masked_fill tril triu")
MAKING = words("torch.randn torch.rand torch.zeros torch.ones torch.empty")


@walk(None)
def rank_of(value: Value) -> int | None:
    """The number of dimensions, where all that the value may be certainly has the same."""
    found = {_one(choice) for choice in value.alternatives()}
    return found.pop() if len(found) == 1 else None


def _one(value: Value) -> int | None:
    if isinstance(value, Operation):
        return _of_arithmetic(value.operator, list(value.values()))
    if isinstance(value, Literal):
        return 0 if isinstance(value.value, int | float) else None
    if not isinstance(value, Result):
        return None
    last = value.dotted.rpartition(".")[2]
    if value.dotted in MAKING:
        return _count(value, 0)
    if value.dotted == FEATURES:
        return 2
    if value.dotted.startswith("math.") or (last == "size" and value.call.node.args):
        return 0
    if not TORCH.match(value.dotted):
        return None
    if last in ("bmm", "matmul"):
        return 3 if last == "bmm" else _of_arithmetic("MatMult", _factors(value))
    if last in ("view", "reshape"):
        return _count(value, 0 if value.module is None and value.given is not None else 1)
    if last in ("flatten", "Flatten"):
        return _flattened(value)
    if (
        last in KEEPING
        or (value.module is None and last in MOVING)
        or last in OPERATIONS
        or (LINEAR.match(value.dotted) and "Conv" not in last)
    ):
        return rank_of(value.input)
    return None


def _factors(value: Result) -> list[Value]:
    """Both operands of a product that is written as a call."""
    return [value.input, value.call.argument_value(0 if value.given is not None else 1, "other")]


def _of_arithmetic(operator: str, operands: list[Value]) -> int | None:
    ranks = [rank_of(operand) for operand in operands]
    known = [rank for rank in ranks if rank is not None]
    if len(known) < len(ranks) or (operator == "MatMult" and min(known) < 2):
        return None
    return max(known)


def _count(value: Result, first: int) -> int | None:
    """How many sizes are given, one by one or as a tuple."""
    given = value.call.node.args[first:]
    if not given or not value.call.is_certain or value.module is not None:
        return None
    shape = value.call.argument_value(first)
    if len(given) > 1:
        return len(given)
    if isinstance(shape, Group):
        return None if shape.open else len(shape.items)
    return 1 if isinstance(literal(shape), int) else None


def _flattened(value: Result) -> int | None:
    """All dimensions from `start_dim` on become one."""
    call = value.module.call if value.module is not None else value.call
    if call is None or not call.is_certain or call.gives("end_dim"):
        return None
    place = 0 if value.module is not None or value.given is not None else 1
    if len(call.node.args) > place + 1:
        return None
    start = call.argument(place, "start_dim")
    first = literal(start.value) if start is not None else 1 if value.module is not None else 0
    return first + 1 if isinstance(first, int) and first >= 0 else None
