"""What one training step computed its loss from, kept so that it can be computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.deep.route import Step
from torchdx.watch.places import Place

_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice, range)


_SHUT = -1e4
"""What a mask adds, or less, to the scores of places that may not be seen."""


class CannotKeep(Exception):
    """Something in a call that cannot be kept, in words."""


@dataclass(frozen=True)
class Call:
    """One call of a model from outside: what it was given, and in what state the generators were before."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    training: tuple[bool, ...]
    generator: Tensor
    accelerator: Tensor | None
    autocast: tuple[str, torch.dtype] | None


@dataclass(frozen=True)
class Episode:
    """A call and the loss of its result: `function(*steps(output[path]), *arguments)`, or `output[path]` itself."""

    step: int
    call: Call
    path: tuple[Any, ...]
    steps: tuple[Step, ...]
    function: Callable[..., Tensor] | None
    name: str
    place: Place | None
    arguments: tuple[Any, ...]
    value: Tensor
    scale: Tensor

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors the model was given."""
        return [*tensors_in((self.call.args, self.call.kwargs))]

    @property
    def samples(self) -> int:
        """How many samples it holds: the first dimension of its first input."""
        return next((tensor.shape[0] for tensor in self.inputs if tensor.dim()), 1)

    @property
    def target(self) -> Tensor | None:
        """What the loss compares with."""
        return self.arguments[0] if self.arguments and isinstance(self.arguments[0], Tensor) else None

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return sum(t.numel() * t.element_size() for t in (*self.inputs, *tensors_in(self.arguments)))

    def kept(self) -> Episode:
        """The episode with copies of its tensors, which nobody can change any more."""
        args, kwargs = copied(self.call.args), copied(dict(self.call.kwargs))
        arguments = copied(self.arguments)
        return replace(self, call=replace(self.call, args=args, kwargs=kwargs), arguments=arguments)

    def changed(self, change: Callable[[Tensor], Tensor], target: Callable[[Tensor], Tensor] | None = None) -> Episode:
        """The episode with other inputs and, where asked for, another target."""
        args, kwargs = mapped(self.call.args, change), mapped(dict(self.call.kwargs), change)
        arguments = self.arguments
        if target is not None and self.target is not None:
            arguments = (target(self.target), *arguments[1:])
        return replace(self, call=replace(self.call, args=args, kwargs=kwargs), arguments=arguments)

    def part(self, wanted: int, skipped: int = 0) -> Episode:
        """Some of its samples, the first ones or those behind as many; whole if it has no more."""
        here = self.samples
        if wanted >= here:
            return self

        masks = masks_in(self.inputs)

        def cut(tensor: Tensor) -> Tensor:
            if any(tensor is mask for mask in masks):
                both = len(tensor) == here
                return tensor[skipped : skipped + wanted, skipped : skipped + wanted] if both else tensor
            each, rest = divmod(tensor.shape[0] if tensor.dim() else 0, here)
            return tensor[each * skipped : each * (skipped + wanted)] if each and not rest else tensor

        return self.changed(cut, cut)

    def pieces(self, count: int) -> list[Episode]:
        """The episode in so many pieces of one size."""
        size = self.samples // count
        return [self.part(size, size * k) for k in range(count)]


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and mappings."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for value in thing.values():
            yield from tensors_in(value)
    elif isinstance(thing, list | tuple):
        for value in thing:
            yield from tensors_in(value)


def masks_in(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Those that only say which places of a sequence may see which: square ones of nothing but 0, 1 and -inf."""
    sides = {size for tensor in inputs for size in tensor.shape[:2] if not _is_square(tensor)}
    return [tensor for tensor in inputs if _is_square(tensor) and len(tensor) in sides and _is_masking(tensor)]


def _is_square(tensor: Tensor) -> bool:
    return tensor.dim() == 2 and tensor.shape[0] == tensor.shape[1]


def _is_masking(tensor: Tensor) -> bool:
    if tensor.dtype is torch.bool:
        return True
    return tensor.is_floating_point() and bool(((tensor == 0) | (tensor == 1) | (tensor <= _SHUT)).all())


def paths_in(thing: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """Every tensor with the keys that lead to it."""
    if isinstance(thing, Tensor):
        yield path, thing
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from paths_in(value, (*path, key))
    elif isinstance(thing, list | tuple):
        for key, value in enumerate(thing):
            yield from paths_in(value, (*path, key))


def at(thing: Any, path: Sequence[Any]) -> Any:
    """What lies at the end of this path."""
    for key in path:
        thing = thing[key]
    return thing


def copied(thing: Any) -> Any:
    """The same with copies of its tensors, off the graph; raises CannotKeep for what is no plain data."""

    def copy(tensor: Tensor) -> Tensor:
        if type(tensor) is not Tensor and type(tensor) is not nn.Parameter:
            raise CannotKeep(f"a tensor of the class {type(tensor).__name__}")
        if tensor.grad_fn is not None or tensor.layout is not torch.strided:
            raise CannotKeep("an input that another model's graph leads to")
        return tensor.detach().clone().requires_grad_(tensor.requires_grad)

    return mapped(thing, copy)


def mapped(thing: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same with other tensors."""
    if isinstance(thing, Tensor):
        return change(thing)
    if isinstance(thing, dict):
        return {key: mapped(value, change) for key, value in thing.items()}
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(mapped(value, change) for value in thing))
    if type(thing) in (list, tuple):
        return type(thing)(mapped(value, change) for value in thing)
    if isinstance(thing, _SIMPLE):
        return thing
    raise CannotKeep(f"an argument of the class {type(thing).__name__}")
