"""A loss is built from the predictions and labels instead of being called with them.

Seen as `RuntimeError: Boolean value of Tensor with more than one value is ambiguous`, or as `AttributeError:
'CrossEntropyLoss' object has no attribute 'backward'`, in the first round.

Hurts because `nn.CrossEntropyLoss(...)` makes the loss, an object, and takes its options: `weight`, `size_average`,
`reduction`. The predictions end up as options, and no loss is computed. It has to be made first and called then.

Helped by a second pair of parentheses, `nn.CrossEntropyLoss()(logits, labels)`, by keeping the loss in a name that is
called, or by the function, `nn.functional.cross_entropy(logits, labels)`.

No fault when what it is built from are options, such as a tensor with a weight for each class.

Sources: PyTorch documentation, `torch.nn.CrossEntropyLoss` ("Parameters" and "Shape").
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.losses import LIKELY
from torchdx.source.reading import words
from torchdx.source.tensors import is_tensor
from torchdx.source.values import Instance, Item, Reference

if TYPE_CHECKING:
    from torchdx.source import Call, Program
    from torchdx.source.values import Value

code, family, severity = "TDX214", "gradients", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

WEIGHTED = words("CrossEntropyLoss NLLLoss BCELoss BCEWithLogitsLoss MultiLabelSoftMarginLoss")
PLAIN = words("MSELoss L1Loss SmoothL1Loss HuberLoss KLDivLoss SoftMarginLoss MultiLabelMarginLoss PoissonNLLLoss")


def in_source(program: Program) -> Iterator[Finding]:
    """Every construction of a loss with two things, at least one of them certainly no option."""
    for call in _built(program):
        name = _class(call)
        if name and (_has_tensors(call, name) or _is_run_backward(call)):
            yield Finding(
                message=f"`{call.text[:60]}` makes a loss with these as its options and computes nothing",
                site=call.site,
                evidence={"loss": name},
                cure=f"make the loss first, then call it: `{name}()(predictions, targets)`",
                confidence=0.98,
            )


def _built(program: Program) -> Iterator[Call]:
    """Every call with two arguments of what may be the class of a loss."""
    kinds = WEIGHTED | PLAIN
    likely = sorted(word for word in program.called_words if LIKELY.search(word) and word not in kinds)
    for call in (*program.calls(*(f"torch.nn.{kind}" for kind in sorted(kinds))), *program.calls_named(*likely)):
        args = call.node.args
        if len(args) == 2 and call.is_certain and not any(isinstance(arg, ast.Constant) for arg in args):
            yield call


def _class(call: Call) -> str:
    """The loss whose class is called, itself or under a name of the user's; empty if it is none."""
    value = call.program.evaluate(call.file, call.node.func)
    last = value.name.rpartition(".")[2]
    known = isinstance(value, Reference) and value.definition is None and value.dotted == f"torch.nn.{last}"
    return last if known and last in WEIGHTED | PLAIN else ""


def _has_tensors(call: Call, name: str) -> bool:
    """Is the second argument a tensor, or for a loss without weights the first?"""
    first, second = (argument.value for argument in list(call.arguments())[:2])
    return _is_batch(second) or (name in PLAIN and _is_batch(first))


def _is_batch(value: Value) -> bool:
    """Is it certainly a tensor, or a part of what a loader gives?"""
    if is_tensor(value):
        return True
    while isinstance(value, Item):
        value = value.of
    return isinstance(value, Instance) and value.is_loader


def _is_run_backward(call: Call) -> bool:
    """Is the object that it makes used, here or by a caller, as if it were the loss that was computed?"""
    program = call.program
    above = call.file.parent(call.node)
    if isinstance(above, ast.Attribute):
        return above.attr in ("backward", "item")
    here = call.file.scope_of(call.node).node
    used = [use for use in program.calls_in(call.file, here) if use.method == "item"]
    for use in (*used, *program.calls_named("backward")):
        value = use.receiver.value if use.receiver is not None else None
        if isinstance(value, Instance) and value.call is not None and value.call.node is call.node:
            return True
    return False


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Make the loss, then call it."""
    call = next((call for call in _built(program) if call.site == finding.site), None)
    if call is not None:
        options = ", ".join(call.file.text_of(keyword) for keyword in call.node.keywords)
        given = ", ".join(call.file.text_of(arg) for arg in call.node.args)
        text = f"{call.file.text_of(call.node.func)}({options})({given})"
        found = edits.fix(
            "make the loss, then call it", call.file, [edits.replace(call.file, call.node, text)], safe=True
        )
        if found is not None:
            yield found


def sick() -> None:
    import sys
    from typing import Any

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            if len(sys.argv) > 1:
                loss: Any = nn.CrossEntropyLoss(model(inputs[rows]), labels[rows])  # TDX214
            else:
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss()(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    weights = torch.ones(10)
    average = None
    loss_of = nn.CrossEntropyLoss(weights, average)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
