"""What is done to weights in vain, as far as reading can tell."""

import pytest

from torchdx.rules.loop import update_thrown_away
from torchdx.source import Program

AROUND = """
import torch
def follow(average, model, decay, kept):
    with torch.no_grad():
        for a, b in zip(average.parameters(), model.parameters()):
            {}
"""
IN_VAIN = [
    "a.lerp(b, decay)",
    "a.data.mul(decay).add_(b.data, alpha=1 - decay)",
    "a.data.mul_(decay).add(b.data, alpha=1 - decay)",
    "a = decay * a + (1 - decay) * b",
    "a = b.detach().clone()",
    "torch.lerp(a, b, decay)",
    "average.state_dict()['weight'] = b",
    "average.load_state_dict(average.state_dict())",
]
IN_ORDER = [
    "a.lerp_(b, decay)",
    "a.copy_(decay * a + (1 - decay) * b)",
    "a.data = decay * a.data + (1 - decay) * b.data",
    "a *= decay; a += (1 - decay) * b",
    "a = decay * a + b; kept.append(a)",
    "a = a.mul_(decay)",
    "a.view(-1).add_(b.view(-1))",
    "torch.lerp(a, b, decay, out=a)",
    "kept.add(a)",
    "average.state_dict()['weight'].copy_(b)",
    "average.load_state_dict(model.state_dict())",
    "mine = average.state_dict(); mine['weight'] = b; average.load_state_dict(mine)",
]


def told(line: str) -> int:
    return len(list(update_thrown_away.in_source(Program.of({"train.py": AROUND.format(line)}))))


@pytest.mark.parametrize("line", IN_VAIN)
def test_an_update_that_nothing_keeps_is_told(line: str) -> None:
    assert told(line) == 1


@pytest.mark.parametrize("line", IN_ORDER)
def test_an_update_in_place_or_kept_is_in_order(line: str) -> None:
    assert told(line) == 0
