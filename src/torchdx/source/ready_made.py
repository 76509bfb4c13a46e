"""Models that a library makes: the head that a program puts on them, and what they give."""

from __future__ import annotations

import ast
import re
from typing import TypeGuard

from torchdx.source.expressions import Call
from torchdx.source.frameworks import TRAINERS
from torchdx.source.index import Binding
from torchdx.source.values import Argument, Result, Value, either

CLASSIFIERS = re.compile(
    r"^torchvision\.models\.(\w+\.)?(resne[xt]+|wide_resnet|densenet|vgg|alexnet|mobilenet|efficientnet|convnext|regnet|"
    r"shufflenet|mnasnet|swin|vit)[a-z0-9_]*$"
)
"""Those whose output is that of their head; the nets with auxiliary outputs, and squeezenet, are not among them."""
HEADS = ("fc", "classifier", "head", "heads")
LAST = {"vgg": 6, "alexnet": 6, "mobilenet_v2": 1, "mobilenet_v3": 3, "efficientnet": 1, "convnext": 2}
"""The place of the last layer, where the head is a Sequential."""
FEATURES = "torchvision.models.features"
LOADED = re.compile(r"^transformers\.\w+\.from_(pretrained|config)$")
OUTPUT = "transformers.ModelOutput"


def is_ready_made(value: Value) -> bool:
    """Is it a model as torchvision or transformers makes it?"""
    return isinstance(value, Result) and bool(CLASSIFIERS.match(value.dotted) or LOADED.match(value.dotted))


def output_of(model: Value, call: Call) -> Result | None:
    """What the call of a transformers model gives, also of that which its Trainer hands to `compute_loss`."""
    if isinstance(model, Result) and LOADED.match(model.dotted):
        return Result(OUTPUT, call)
    if isinstance(model, Argument) and model.parameter == "model" and model.function.name == "compute_loss":
        owner = model.function.owner
        if owner is not None and not owner.ancestry.isdisjoint(TRAINERS):
            return Result(OUTPUT, call)
    return None


def head_of(model: Value) -> Value | None:
    """What a program puts in place of the last layers of a classifier of torchvision's, where it does."""
    if not isinstance(model, Result) or not CLASSIFIERS.match(model.dotted):
        return None
    made = model.call
    index, scope = made.file.index, made.file.scope_of(made.node).node
    found: list[Value] = []
    for binding in (*index.attributes_in.get(scope, ()), *index.items_in.get(scope, ())):
        base = _headless(binding, model) if binding.how == "assign" and not binding.steps else None
        if base is None or binding.value is None:
            continue
        owner = made.program.evaluate(made.file, base, made.frame)
        if any(isinstance(one, Result) and one.call.node is made.node for one in owner.alternatives()):
            found.append(made.program.evaluate(made.file, binding.value, made.frame))
    return either(found) if found else None


def _headless(binding: Binding, model: Result) -> ast.expr | None:
    """The model's name in `model.fc = ...`, or in `model.classifier[6] = ...` where that is its last layer."""
    node = binding.node
    if isinstance(node, ast.Subscript):
        name = model.dotted.rpartition(".")[2]
        last = next((place for start, place in LAST.items() if name.startswith(start)), None)
        index = node.slice.operand if isinstance(node.slice, ast.UnaryOp) else node.slice
        place = index.value if isinstance(index, ast.Constant) else None
        is_last = place == 1 if isinstance(node.slice, ast.UnaryOp) else last is not None and place == last
        node = node.value if is_last else node
    return node.value if isinstance(node, ast.Attribute) and node.attr in HEADS else None


def features_of(model: Result) -> Result:
    """What goes into the head: a row of numbers for each picture."""
    return Result(FEATURES, model.call, model)


def is_output(value: Value) -> TypeGuard[Result]:
    """Is it what a transformers model gives, whose `logits` are raw scores?"""
    return isinstance(value, Result) and value.dotted == OUTPUT
