"""The future import in the first line, dataclasses and typing: nothing is read or compiled in another way."""

from __future__ import annotations

import dataclasses
import typing

import torch


@dataclasses.dataclass
class Config:
    width: int = 8
    model: torch.nn.Module | None = None


print(typing.get_type_hints(Config), Config.__annotations__, __builtins__ is not None)
config = Config(model=torch.nn.Linear(8, 8))
config.model(torch.ones(1, 8)).sum().backward()
print(config)
