"""What each layer gives out in one pass through a copy, in order, so that two passes can be compared layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.deep.episode import Episode
from torchdx.watch.deep.specimen import Specimen
from torchdx.watch.models import walk
from torchdx.watch.tensors import is_plain

Outputs = Mapping[str, Tensor]


def passage(specimen: Specimen, episode: Episode) -> Outputs:
    """The first output of each module, by name, in the order in which they were done."""
    seen: dict[str, Tensor] = {}
    hooks = []

    def watching(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if name not in seen and is_plain(first):
                seen[name] = first.detach().clone()

        return hook

    try:
        for name, module in walk(specimen.module):
            hooks.append(module.register_forward_hook(watching(name)))
        with torch.no_grad():
            specimen.judged(episode)
    finally:
        for one in hooks:
            one.remove()
    return seen


def parting(one: Outputs, other: Outputs, where: Callable[[Tensor], Tensor | None]) -> str | None:
    """The first layer whose outputs differ in the part that `where` gives; None if there is none."""
    for name, before in one.items():
        after = other.get(name)
        if after is None or after.shape != before.shape:
            continue
        parts = where(before), where(after)
        if parts[0] is not None and parts[1] is not None and not torch.equal(parts[0], parts[1]):
            return name
    return None
