"""Modules that can be copied without copying, or calling, anything but a model."""

from __future__ import annotations

import argparse
import types
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.tensors import SIMPLE

_OWN = frozenset(vars(nn.Module()))
_HARMLESS = (*SIMPLE, complex, bytes, type, types.FunctionType, Tensor, nn.Module, torch.dtype, torch.device)
_ROOMS = (argparse.Namespace, types.SimpleNamespace)
_MOST = 64


def is_plain(module: nn.Module) -> bool:
    """Can it be copied without copying, or calling, anything but the model?"""
    if type(module).__module__.startswith("torch.nn."):
        return True
    ways = ("__deepcopy__", "__getstate__", "__reduce_ex__")
    own = any(getattr(type(module), way, None) is not getattr(nn.Module, way, None) for way in ways)
    return not own and all(_is_harmless(thing) for name, thing in vars(module).items() if name not in _OWN)


def _is_harmless(thing: Any, depth: int = 0) -> bool:
    if isinstance(thing, _HARMLESS):
        return True
    if depth > 2:
        return False
    if isinstance(thing, list | tuple | set | frozenset):
        return len(thing) <= _MOST and all(map(partial(_is_harmless, depth=depth + 1), thing))
    if isinstance(thing, dict):
        return len(thing) <= _MOST and all(map(partial(_is_harmless, depth=depth + 1), thing.values()))
    if type(thing) in _ROOMS or hasattr(type(thing), "__dataclass_fields__"):
        return _is_harmless(vars(thing), depth)
    return type(thing) is types.BuiltinFunctionType
