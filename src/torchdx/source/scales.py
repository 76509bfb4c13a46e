"""Has a picture already been brought from 0..255 to 0..1? Followed through functions, transforms and loaders."""

from __future__ import annotations

from torchdx.source.contents import contents, contents_of_list
from torchdx.source.definitions import UserFunction
from torchdx.source.reading import words
from torchdx.source.values import Instance, Item, Literal, Operation, Reference, Result, Value
from torchdx.source.walks import MOST, walk

KEEPING = words(
    "view reshape flatten squeeze unsqueeze permute transpose contiguous float double half to cuda cpu clone detach "
    "expand repeat type tensor as_tensor from_numpy astype FloatTensor stack Tensor array asarray numpy copy"
)
SCALING = ("torchvision.transforms.ToTensor", "torchvision.transforms.v2.ToTensor")
SCALING_FUNCTIONS = ("torchvision.transforms.functional.to_tensor", "torchvision.transforms.v2.functional.to_tensor")
PLACING = ("torchvision.transforms.", "torchvision.transforms.v2.")


def divides_by_255(value: Value) -> Value | None:
    """What is divided, where the value is something divided by 255."""
    if isinstance(value, Operation) and value.operator in ("Div", "Mult"):
        operands = list(value.values())
        numbers = (255, 255.0) if value.operator == "Div" else (1 / 255,)
        if len(operands) == 2 and isinstance(operands[1], Literal) and operands[1].value in numbers:
            return operands[0]
    if isinstance(value, Result) and value.dotted.rpartition(".")[2] in ("div", "div_", "true_divide"):
        place = 0 if value.given is not None else 1
        number = value.call.argument_value(place, "other")
        if isinstance(number, Literal) and number.value in (255, 255.0):
            return value.input
    return None


@walk(None)
def scaled_by(value: Value) -> Value | None:
    """The operation that certainly brought the value to 0..1 before, or None."""
    found = [_one(choice) for choice in value.alternatives()]
    return found[0] if all(one is not None for one in found) else None


def _one(value: Value) -> Value | None:
    if divides_by_255(value) is not None:
        return value
    if isinstance(value, Item):
        return scaled_by(value.of)
    if not isinstance(value, Result):
        return None
    if value.dotted in SCALING_FUNCTIONS:
        return value
    if value.module is not None:
        return value if transform_scales(value.module) else None
    if value.dotted.rpartition(".")[2] in KEEPING:
        return scaled_by(value.input)
    return None


@walk(False)
def transform_scales(transform: Value) -> bool:
    """Does a transform of torchvision's certainly end with numbers in 0..1?"""
    if not isinstance(transform, Instance):
        return False
    if transform.dotted in SCALING:
        return True
    if transform.dotted.endswith(".Compose") and transform.dotted.startswith("torchvision."):
        steps = composed(transform)
        last = [step for step in steps if isinstance(step, Instance)]
        return len(last) == len(steps) and any(transform_scales(s) for s in last) and not any(_shifts(s) for s in last)
    return False


def composed(transform: Value) -> tuple[Value, ...]:
    """The steps of a Compose, where they are certain."""
    found = compositions(transform)
    return found[0] if len(found) == 1 else ()


def compositions(transform: Value) -> list[tuple[Value, ...]]:
    """All that the steps of a Compose may be; nothing where one of them is not known."""
    if not isinstance(transform, Instance) or transform.call is None:
        return []
    found = [contents_of_list(one) for one in transform.call.argument_value(0, "transforms").alternatives()]
    return found if all(found) else []


@walk([])
def steps_of(transform: Value) -> list[Value]:
    """The steps of a Compose or Sequential, those of one inside it in its place."""
    if not isinstance(transform, Instance):
        return []
    inner = contents(transform)[0] if transform.dotted == "torch.nn.Sequential" else composed(transform)
    found: list[Value] = []
    for step in inner:
        nested = isinstance(step, Instance) and step_name(step) == "Compose"
        found += steps_of(step) if nested and isinstance(step, Instance) else [step]
    return found[:MOST]


def step_name(step: Value) -> str:
    """The transform's name; "?" for what is not torchvision's."""
    return step.name.rpartition(".")[2] if isinstance(step, Instance) and step.name.startswith(PLACING) else "?"


def _shifts(step: Instance) -> bool:
    return step.dotted.rpartition(".")[2] in ("Normalize", "Lambda", "PILToTensor", "ToPILImage")


def lambda_of(step: Value) -> UserFunction | None:
    """The function inside a `Lambda` transform, or the function that is a step itself."""
    if isinstance(step, Instance) and step.dotted.endswith(".Lambda") and step.call is not None:
        step = step.call.argument_value(0, "lambd")
    return step.definition if isinstance(step, Reference) and isinstance(step.definition, UserFunction) else None
