"""Does a value carry a graph, so that backward() through it could reach a parameter? Yes, no, or unknown."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from torchdx.source.effects import is_scaler, without_gradient
from torchdx.source.expressions import Call, Expression, held_as
from torchdx.source.index import word_of
from torchdx.source.reading import words
from torchdx.source.values import (
    UNKNOWN,
    Either,
    Group,
    Instance,
    Item,
    Literal,
    Method,
    Nothing,
    Operation,
    Result,
    Setting,
    Value,
)
from torchdx.source.walks import DEEPEST, MOST, reached

OBJECTS = ("torch.nn.Module", "torch.optim", "torch.utils")
CUTTING = words(
    "detach detach_ item tolist numpy argmax argmin argsort nonzero size dim numel nelement long int short byte bool "
    "char eq ne gt lt ge le isnan isinf isfinite multinomial bernoulli one_hot data_ptr bincount get_device "
    "count_nonzero searchsorted bucketize histc is_contiguous"
)
"""Functions and methods of tensors whose result has no gradient towards what went in."""
CUT_ATTRIBUTES = words("data shape dtype device ndim is_cuda layout grad grad_fn is_leaf requires_grad names")
ALONE = words(
    "to cuda cpu xpu float double half bfloat16 type type_as view view_as reshape reshape_as expand expand_as permute "
    "transpose flatten unflatten squeeze unsqueeze contiguous clone repeat sum mean std var norm"
)
"""Methods whose result has a gradient towards the tensor itself and nothing else: the rest are sizes and devices."""
SAME_ATTRIBUTES = words("T mT H mH real imag")
CREATING = words(
    "tensor as_tensor from_numpy zeros ones empty full eye arange linspace logspace rand randn randint randperm normal "
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_tensor new_zeros new_ones "
    "new_full new_empty FloatTensor LongTensor Tensor DoubleTensor IntTensor BoolTensor ByteTensor"
)
NUMBERS = words("float int len bool str numpy math random time")
WITHOUT_WEIGHTS = words(
    "ReLU ReLU6 LeakyReLU ELU SELU GELU SiLU Mish Sigmoid Tanh Softmax Softmax2d LogSoftmax LogSigmoid Softplus "
    "Softsign Hardtanh Hardsigmoid Hardswish Dropout Dropout1d Dropout2d Dropout3d AlphaDropout MaxPool1d MaxPool2d "
    "MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d "
    "AdaptiveMaxPool2d Flatten Unflatten Identity Upsample PixelShuffle CosineSimilarity PairwiseDistance"
)


COMPARISONS = words("Gt Lt GtE LtE Eq NotEq")


def carries_graph(value: Value) -> bool | None:
    """Would backward() through it reach something that requires gradients? None where that is not known."""
    roots = roots_of(value)
    return True if any(root is not UNKNOWN for root in roots) else None if roots else False


def roots_of(value: Value) -> list[Value]:
    """What backward() through it would reach: modules with weights, and tensors made to require gradients.

    `UNKNOWN` stands among them where there may be others, or none; nothing at all is the answer of a value that is cut
    off from everything.
    """
    return _Roots().of(value)


class _Roots:
    """One search for roots, in which each value is looked at once."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Value, list[Value]]] = {}
        self.depth = 0

    def of(self, value: Value) -> list[Value]:
        known = self.known.get(id(value))
        if known is None:
            self.known[id(value)] = value, [UNKNOWN]
            self.depth += 1
            found = self.find(value) if len(self.known) < MOST and self.depth < DEEPEST else [UNKNOWN]
            self.depth -= 1
            known = self.known[id(value)] = value, list({id(root): root for root in found}.values())
        return known[1]

    def find(self, value: Value) -> list[Value]:
        if isinstance(value, Either):
            each = [self.of(choice) for choice in value.choices if not isinstance(choice, Nothing)]
            return [root for roots in each for root in roots] if all(each) or not any(each) else [UNKNOWN]
        if isinstance(value, (Literal, Setting)):
            return []
        if isinstance(value, Method):
            return self.of_attribute(value)
        if isinstance(value, Item):
            return [] if _is_from_loader(value) else self.of(value.of)
        if isinstance(value, Group):
            return self.together(value.items, closed=not value.open)
        if isinstance(value, Operation):
            return [] if value.operator in COMPARISONS else self.together(value.values())
        if isinstance(value, Instance):
            return [] if value.is_loader else [UNKNOWN]
        return self.of_result(value) if isinstance(value, Result) else [UNKNOWN]

    def together(self, values: Iterable[Value], closed: bool = True) -> list[Value]:
        found = [root for value in values for root in self.of(value)]
        return found if closed else [*found, UNKNOWN]

    def of_attribute(self, value: Method) -> list[Value]:
        if value.method in CUT_ATTRIBUTES:
            return []
        return self.of(value.receiver) if value.method in SAME_ATTRIBUTES else [UNKNOWN]

    def of_result(self, value: Result) -> list[Value]:
        last = value.dotted.rpartition(".")[2]
        if value.dotted in ("torch.nn.Parameter", "torch.Tensor.requires_grad_"):
            return [value]
        if is_cut(value):
            return [] if not _is_written_into(value.call) else [UNKNOWN]
        if last in CREATING or value.dotted == "torch.autograd.Variable":
            needs = value.call.argument(None, "requires_grad")
            if needs is not None and needs.literal is not False:
                return [value]
            return [] if not _is_written_into(value.call) else [UNKNOWN]
        if value.module is not None:
            if not value.dotted.startswith("torch.nn."):
                return [UNKNOWN]
            if not value.module.is_loss and last not in WITHOUT_WEIGHTS:
                return [value.module]
        elif value.dotted.startswith("?"):
            return self.of(value.given) if value.given is not None else [UNKNOWN]
        elif not value.dotted.startswith("torch.") or value.dotted.startswith(OBJECTS):
            return [UNKNOWN]
        if value.given is not None and value.module is None and last in ALONE:
            return self.of(value.given)
        return self.together(_inputs(value), closed=value.call.is_certain)


def _is_from_loader(value: Item) -> bool:
    """Is it a part of a batch?"""
    of: Value = value
    while isinstance(of, Item):
        of = of.of
    return isinstance(of, Instance) and of.is_loader


def is_cut(value: Value) -> bool:
    """Does a graph end here, whatever goes in: at an integer, a number, a detached tensor, without gradients?"""
    if isinstance(value, Method):
        return value.method in CUT_ATTRIBUTES
    if isinstance(value, Operation):
        return value.operator in COMPARISONS
    if not isinstance(value, Result):
        return False
    cut = value.dotted.rpartition(".")[2] in CUTTING or value.dotted.partition(".")[0] in NUMBERS
    return cut or any(without_gradient(call) for call in calls_around(value.call))


def _is_written_into(call: Call) -> bool:
    """Might something else be written into the tensor later, `x[0] = ...` or `x.add_(...)`?"""
    names = set(held_as(call))
    if not names:
        return False
    index = call.file.index
    places = [binding.node.value for bindings in index.items_in.values() for binding in bindings]  # type: ignore[attr-defined]
    receivers = [
        node.func.value
        for word, nodes in index.calls.items()
        if word.endswith("_") and word not in ("detach_", "zero_", "fill_")
        for node in nodes
        if isinstance(node.func, ast.Attribute)
    ]
    return any(_word(place) in names for place in (*places, *receivers))


def _word(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    return word_of(node)


def history_of(value: Value) -> Iterator[Value]:
    """The value and all that backward() through it comes to, as far as is known; where the graph is cut, the cut."""
    return reached(value, lambda one: () if is_cut(one) else parents(one))


def past_of(value: Value, but: Value | None = None) -> Iterator[Value]:
    """The value and all that it was computed from, whether a graph leads there or not; not by way of another one."""
    return reached(value, lambda one: () if one is but else parents(one))


def parents(value: Value) -> Iterable[Value]:
    """What a value was computed from, one step back."""
    if isinstance(value, Either):
        return value.choices
    if isinstance(value, Item):
        return (value.of,)
    if isinstance(value, Method):
        return (value.receiver,)
    if isinstance(value, Group):
        return value.items
    if isinstance(value, Operation):
        return value.values()
    return _inputs(value) if isinstance(value, Result) else ()


def _inputs(value: Result) -> Iterator[Value]:
    if value.given is not None:
        yield value.given
    if value.module is None or value.given is None or value.module.is_loss or len(value.call.node.args) > 1:
        for argument in value.call.arguments():
            yield argument.value


def calls_around(call: Call | None) -> Iterator[Call]:
    """A call, the call of the function that it stands in, and so on outwards, as far as is known."""
    while call is not None:
        yield call
        call = call.frame.call if call.frame is not None else None


def differentiated(backward: Call) -> Expression | None:
    """What backward is run through: before the dot, in the parentheses, or inside a gradient scaler's `scale(...)`."""
    receiver, first = backward.receiver, backward.argument(0, "tensors")
    if receiver is None or backward.name == "torch.autograd.backward":
        return first
    if backward.node.args and (backward.method == "manual_backward" or isinstance(receiver.value, Instance)):
        return first
    node = receiver.node
    inner = Call(receiver.program, receiver.file, node, receiver.frame) if isinstance(node, ast.Call) else None
    if inner is not None and inner.method == "scale" and inner.receiver is not None and is_scaler(inner.receiver):
        return inner.argument(0)
    return receiver
