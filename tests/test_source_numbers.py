"""What tensors are made of: the operation that made their numbers, their dimensions, and what losses punish."""

from __future__ import annotations

import textwrap

import pytest

from torchdx.source import Call, Program, edits
from torchdx.source.ancestry import ancestry_of, losses_trained_on
from torchdx.source.endings import makers_of
from torchdx.source.losses import exchanged
from torchdx.source.ranks import rank_of
from torchdx.source.values import Result

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F

x = torch.randn(8, 4)
linear = nn.Linear(4, 3)
"""


def last_value(lines: str) -> Call:
    """The call in the last line, as read."""
    read = Program.of({"a.py": HEAD + textwrap.dedent(lines)})
    file = read.files[0]
    expression = read.expression(file, file.tree.body[-1].value)  # type: ignore[attr-defined]
    assert isinstance(expression, Call)
    return expression


@pytest.mark.parametrize(
    ("line", "maker"),
    [
        ("torch.relu(linear(x)).squeeze(1).float()", "torch.relu"),
        ("F.dropout(linear(x), 0.5).view(-1)", "torch.nn.functional.dropout"),
        ("linear(x).clamp(0, 1)", "torch.Tensor.clamp"),
        ("nn.Sequential(linear, nn.Tanh(), nn.Flatten())(x)", "torch.nn.Tanh"),
    ],
)
def test_the_maker_is_found_behind_changes_of_shape(line: str, maker: str) -> None:
    assert [result.dotted for result in makers_of(last_value(line).value)] == [maker]


@pytest.mark.parametrize(
    ("line", "rank"),
    [
        ("linear(x)", 2),
        ("torch.zeros((2, 3, 4)).to('cpu')", 3),
        ("F.relu(unknown.view(unknown.size(0), -1))", 2),
        ("torch.flatten(unknown, 1)", 2),
        ("unknown.flatten()", 1),
        ("nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Softmax(dim=1))(unknown)", 2),
        ("unknown.reshape(shape)", None),
        ("unknown.reshape(*shape)", None),
        ("nn.Conv2d(1, 2, 3)(unknown)", None),
    ],
)
def test_dimensions_are_counted_where_they_are_written(line: str, rank: int | None) -> None:
    assert rank_of(last_value(line).value) == rank


def test_losses_lead_back_to_what_they_punish() -> None:
    read = Program.of(
        {
            "a.py": HEAD
            + textwrap.dedent("""
            def penalty(p):
                return -(torch.log(p) * x).sum(1)

            total = penalty(linear(x).softmax(1)).mean() + 0.1 * linear.weight.pow(2).sum()
            unused = torch.exp(x)
            total.backward()
            """)
        }
    )
    (loss,) = losses_trained_on(read)
    names = {one.dotted for one in ancestry_of(loss) if isinstance(one, Result)}
    assert {"torch.log", "torch.Tensor.softmax"} <= names
    assert "torch.exp" not in names


def test_lightning_steps_are_trained_on() -> None:
    read = Program.of(
        {
            "a.py": "import torch\nimport lightning as L\n\nclass Net(L.LightningModule):\n"
            "    def training_step(self, batch, place):\n        return torch.exp(batch)\n"
        }
    )
    assert [value.name for value in losses_trained_on(read)] == ["torch.exp"]


def test_a_loss_is_exchanged_where_it_is_made() -> None:
    read = Program.of({"a.py": HEAD + "loss_of = nn.BCELoss(reduction='sum')\nloss_of(linear(x), x)\n"})
    (use,) = read.losses("binary_cross_entropy")
    fix = exchanged(use, "BCEWithLogitsLoss", "binary_cross_entropy_with_logits", "exchange")
    assert fix is not None
    assert b"nn.BCEWithLogitsLoss(reduction='sum')" in edits.applied(read.files[0], fix.edits)


def test_a_method_is_put_behind_an_expression() -> None:
    read = Program.of({"a.py": "a = b + c\nd = e\n"})
    file = read.files[0]
    values = [statement.value for statement in file.tree.body]  # type: ignore[attr-defined]
    changed = edits.applied(file, [edits.method_of(file, value, "sigmoid()") for value in values])
    assert changed == b"a = (b + c).sigmoid()\nd = e.sigmoid()\n"
