"""Derivatives of a model by its inputs that a loss punishes, where nothing leads through them to the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from torchdx.source.graphs import is_cut, parents, past_of
from torchdx.source.reading import words
from torchdx.source.values import Instance, Literal, Result
from torchdx.source.walks import reached

if TYPE_CHECKING:
    from torchdx.source.expressions import Call, Expression
    from torchdx.source.reading import words
from torchdx.source.values import Value

GRAD = "torch.autograd.grad"

OF_TENSORS = words(
    "norm mean sum square pow abs sqrt log exp clamp view reshape flatten squeeze unsqueeze add sub mul div"
)
"""Methods of tensors, whatever they are called on."""


def derivatives_without_graph(loss: Expression) -> Iterator[Result]:
    """The calls of `autograd.grad`, by a model's inputs, whose numbers are in the loss and whose graph was not made.

    Inputs are what gradients were asked for by hand: by weights, a gradient may well be wanted as a number. A
    derivative that a model is given, as of a step towards other samples, is not punished, and not told.
    """
    for value in reached(loss.value, _terms):
        if isinstance(value, Result) and value.dotted == GRAD and _makes_no_graph(value.call):
            by = past_of(value.call.argument_value(1, "inputs"))
            of = past_of(value.call.argument_value(0, "outputs"))
            if any(map(_is_asked_for, by)) and any(map(_has_weights, of)):
                yield value


def _terms(value: Value) -> Iterable[Value]:
    """What a value is computed from by torch's own arithmetic alone, not by a model, nor by what is not known."""
    return () if is_cut(value) or (isinstance(value, Result) and not _is_arithmetic(value)) else parents(value)


def _is_arithmetic(value: Result) -> bool:
    package, _, word = value.dotted.rpartition(".")
    return (package.startswith("torch") or word in OF_TENSORS) and value.dotted != GRAD and not _has_weights(value)


def _makes_no_graph(call: Call) -> bool:
    if not call.gives("create_graph") and len(call.node.args) < 5:
        return call.spread is None
    value = call.argument_value(4, "create_graph")
    return isinstance(value, Literal) and value.value is False


def _is_asked_for(value: Value) -> bool:
    """Was a gradient by it asked for: `x.requires_grad_()`, `torch.tensor(..., requires_grad=True)`?"""
    if not isinstance(value, Result):
        return False
    asked = value.call.argument_value(None, "requires_grad")
    return value.dotted == "torch.Tensor.requires_grad_" or (isinstance(asked, Literal) and asked.value is True)


def _has_weights(value: Value) -> bool:
    module = value.module if isinstance(value, Result) else None
    return isinstance(module, Instance) and module.is_module and not module.is_loss
