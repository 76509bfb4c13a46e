"""Small honest statistics of tensors: no random numbers, no graph, no change to what they are given."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

SAMPLE = 1024
"""Elements that stand for a tensor: a share is then known to 3 %, two standard errors, and a look costs little."""

_GOLDEN = 2654435769
_FULL_PASS = 1 << 20
_ROWS = 128
_COLUMNS = 256
_LEAST_ROWS = 4
_PLAIN = (Tensor, torch.nn.Parameter)
SIMPLE = (bool, int, float, str, type(None))
"""What an option may be to be written down as it is."""


def is_plain(thing: object) -> bool:
    """Is it an ordinary dense floating-point tensor that may be read: not fake, batched, traced, or a subclass?"""
    return (
        type(thing) in _PLAIN
        and thing.layout is torch.strided  # type: ignore[attr-defined]
        and thing.is_floating_point()  # type: ignore[attr-defined]
        and not thing.is_nested  # type: ignore[attr-defined]
        and thing.numel() > 0  # type: ignore[attr-defined]
        and thing.device.type != "meta"  # type: ignore[attr-defined]
    )


def is_free() -> bool:
    """May operations be run here without being traced, compiled, captured or counted by somebody?"""
    return (
        not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
    )


def has_graph(result: object, *_: object) -> bool:
    """Was it computed so that it may be trained on?"""
    return isinstance(result, Tensor) and result.grad_fn is not None


@lru_cache(maxsize=512)
def positions(count: int, device: torch.device, wanted: int = SAMPLE) -> Tensor:
    """Flat positions of `wanted` elements of `count`: one in each equal stretch, at a golden-ratio offset.

    A plain stride falls in step with rows and channels and is off by up to a standard deviation; this is not.
    Where `count < wanted` every element is taken about equally often.
    """
    k = torch.arange(wanted, dtype=torch.int64, device=device)
    jitter = (k * _GOLDEN) % (1 << 32)
    offset = (jitter.double() + 0.5) / (1 << 32)
    return ((k.double() + offset) * (count / wanted)).long().clamp_(max=count - 1)


def sample(tensor: Tensor, wanted: int = SAMPLE) -> Tensor:
    """`wanted` elements of the tensor as float32, shape (wanted,), off the graph."""
    tensor = tensor.detach()
    return torch.take(tensor, positions(tensor.numel(), tensor.device, wanted)).float()


def root_of(tensors: Any) -> Tensor | None:
    """What `backward` begins at: the tensor it was called on, or the first of several."""
    root = tensors if isinstance(tensors, Tensor) else next(iter(tensors), None)
    return root if isinstance(root, Tensor) else None


def saved(node: Any, attribute: str) -> Tensor | None:
    """What an autograd node kept; None where it is freed or overwritten, or reading it would set off somebody's hook.

    Checkpointing runs a forward pass again when what it saved is read, and offloading copies.
    """
    try:
        if getattr(getattr(node, f"_raw{attribute}", None), "unpack_hook", None) is not None:
            return None
        kept = getattr(node, attribute, None)
    except RuntimeError:
        return None
    return kept if isinstance(kept, Tensor) else None


def number(value: Tensor) -> float:
    """A one-element tensor as a number."""
    return float(value.detach().item())


def describe(tensor: Tensor) -> dict[str, Any]:
    """Shape, dtype, range, mean, std, share of zeros and of non-finite values; of a sample where it is large.

    On an accelerator only shape and dtype are told, as reading values would wait for the device.
    """
    if tensor.is_nested:
        return {"shape": [], "dtype": str(tensor.dtype).removeprefix("torch.")}
    told: dict[str, Any] = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    if tensor.device.type != "cpu" or tensor.numel() == 0 or tensor.is_complex() or tensor.layout is not torch.strided:
        return told
    flat = tensor.detach()
    flat = sample(flat) if flat.numel() > _FULL_PASS else flat.float()
    low, high = torch.aminmax(flat)
    told["min"], told["max"] = low.item(), high.item()
    spread, mean = torch.std_mean(flat, correction=0)
    told["mean"], told["std"] = mean.item(), spread.item()
    told["zero"] = float((flat == 0).float().mean())
    if not math.isfinite(told["mean"]):
        told["nonfinite"] = 1.0 - float(torch.isfinite(flat).float().mean())
    return told


def column_scales(tensor: Tensor) -> dict[str, Any]:
    """Whether all values are whole numbers and, of a table, how its columns differ in size.

    `columns` holds the least, the middle and the greatest RMS of a column that is not constant, of a share of the rows;
    `deviations` the same of what lies off their means.
    """
    if tensor.device.type != "cpu" or not is_plain(tensor) or tensor.numel() > _FULL_PASS:
        return {}
    values = tensor.detach()
    told: dict[str, Any] = {"whole": bool((values == values.round()).all())}
    if values.dim() != 2 or values.shape[0] < 2:
        return told
    rows = values[:_ROWS].float()
    apart = rows.std(0)
    varies = apart > 0
    for name, of in (("columns", rows.square().mean(0).sqrt()), ("deviations", apart)):
        sizes = of[varies].sort().values
        if sizes.numel() > 1:
            told[name] = [sizes[0].item(), sizes[sizes.numel() // 2].item(), sizes[-1].item()]
    return told


def across(tensor: Tensor) -> dict[str, float]:
    """How far samples differ: the RMS over a share of rows and columns of what lies off the mean of the rows."""
    if tensor.is_nested or tensor.is_complex() or tensor.layout is not torch.strided:
        return {}
    if tensor.device.type != "cpu" or not tensor.dim() or tensor.shape[0] < _LEAST_ROWS or tensor.numel() == 0:
        return {}
    rows = tensor.detach()[:: max(1, tensor.shape[0] // _ROWS)]
    rows = rows.flatten(1) if rows.dim() > 1 else rows[:, None]
    rows = rows[:, :: max(1, rows.shape[1] // _COLUMNS)].float()
    return {"across": (rows - rows.mean(0)).square().mean().sqrt().item()}


def likeness(tensor: Tensor, dim: int) -> str:
    """What the rows along `dim` look like: "probabilities", "log-probabilities", "unit" (within [0, 1]) or "logits"."""
    if tensor.device.type != "cpu" or not is_plain(tensor):
        return "unknown"
    rows = tensor.detach()[:256].float() if tensor.dim() else tensor.detach().float()
    low, high = (end.item() for end in torch.aminmax(rows))
    summed = rows.dim() > dim and rows.shape[dim] > 1
    if low >= 0.0 and high <= 1.0 + 1e-6:
        return "probabilities" if summed and _is_one(rows.sum(dim)) else "unit"
    if high <= 1e-6 and summed and _is_one(rows.exp().sum(dim)):
        return "log-probabilities"
    return "logits"


def _is_one(sums: Tensor) -> bool:
    return bool(((sums - 1.0).abs() < 1e-2).all())
