"""Questions about values end soon, however often one value stands inside another: told by counting, not by a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from torchdx.rules import SourceRule, all_rules
from torchdx.source import Program
from torchdx.source.values import UNKNOWN, Either, Group, Value
from torchdx.source.walks import DEEPEST, MOST, reached, walk

LEVELS = 40
HEAD = """
import torch
import torch.nn.functional as F
from elsewhere import anything, flag
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
"""
ASKED = """
F.cross_entropy(x, x)
F.nll_loss(x, x)
F.binary_cross_entropy(x, x)
F.kl_div(x, x).backward()
x.log()
x.to(3)
x.byte()
optimizer = torch.optim.SGD(x, 0.1)
for rows in DataLoader(datasets.MNIST(".", transform=x), 3):
    F.mse_loss(x(rows), rows).backward()
    optimizer.step()
"""
NESTED = {
    "sums": ("x = anything()", "x = x + x"),
    "alternatives": ("x = anything()", "x = torch.cat([x, x]) if flag else x + x.mean()"),
    "methods": ("x = torch.randn(3)", "x = x.view(x.mean()).float() if flag else x.reshape(x)"),
    "branches": ("x = anything()", "if flag:\n    x = x.relu() + x\nelse:\n    x = x * x.sigmoid()"),
    "lists joined": ("x = [nn.Linear(2, 2)]", "x = x + x"),
    "lists spread": ("x = [nn.Linear(2, 2)]", "x = [*x, *x]"),
    "lists in lists": ("x = [nn.Linear(2, 2).parameters()]", "x = [x, x]"),
    "modules": ("x = nn.ReLU()", "x = nn.Sequential(x, x)"),
    "transforms": ("x = transforms.ToTensor()", "x = transforms.Compose([x, x])"),
    "functions": ("def x0(a): return a\nx = x0", "def x{n}(a): return x{p}(a) + x{p}(a)\nx = x{n}"),
}
MOST_STEPS = 6_000_000
"""Calls that all rules may make for one program of forty such lines; two for one at each line would make 10^12."""


def counted(ask: Callable[[], object], limit: int) -> int:
    """How many functions are called to answer; too many are an error at once."""
    count = 0

    def seen(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call"
        if count > limit:
            sys.setprofile(None)
            raise AssertionError(f"more than {limit} steps")

    sys.setprofile(seen)
    try:
        ask()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", NESTED)
def test_values_inside_values_take_no_more_steps_than_there_are_values(name: str) -> None:
    first, again = NESTED[name]
    lines = [again.replace("{n}", str(n)).replace("{p}", str(n - 1)) for n in range(1, LEVELS + 1)]
    program = Program.of({"main.py": "\n".join((HEAD, first, *lines, ASKED))})
    rules = [rule for rule in all_rules() if isinstance(rule, SourceRule)]
    counted(lambda: [list(rule.in_source(program)) for rule in rules], MOST_STEPS)  # type: ignore[attr-defined]


def nested(levels: int) -> Value:
    """An alternative of two groups that hold the same alternative, and so on inwards."""
    value: Value = UNKNOWN
    for _ in range(levels):
        value = Either((Group((value,)), Group((value, value))))
    return value


def test_a_walk_asks_each_value_once_and_not_too_deep() -> None:
    asked: list[Value] = []

    @walk(0)
    def depth(value: Value) -> int:
        asked.append(value)
        inside = value.choices if isinstance(value, Either) else value.items if isinstance(value, Group) else ()
        return 1 + max(map(depth, inside), default=0)

    assert depth(nested(10)) == 21
    assert len(asked) == 1 + 3 * 10
    asked.clear()
    assert depth(nested(100)) == DEEPEST
    assert len(asked) <= MOST


def test_a_walk_asked_in_the_midst_of_itself_starts_anew() -> None:
    whole = Group((UNKNOWN,))

    @walk(-1)
    def size(value: Value) -> int:
        if isinstance(value, Either):
            return size.apart(value.choices[0]) * 10 + size(value.choices[0])
        return len(value.items) if isinstance(value, Group) else 0

    assert size(Either((whole, whole))) == 11


def test_everything_inside_comes_once() -> None:
    found = list(reached(nested(5), lambda one: one.items if isinstance(one, Group) else one.alternatives()))
    assert len(found) == len(set(map(id, found))) == 1 + 3 * 5
    assert len(list(reached(nested(1000), lambda one: getattr(one, "items", one.alternatives())))) == MOST
