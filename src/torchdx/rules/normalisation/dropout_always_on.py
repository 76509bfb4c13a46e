"""Dropout goes on in evaluation.

Seen as predictions that differ from call to call after `model.eval()`, and a validation score below what the model can
do.

Hurts because `F.dropout(x, p)` has `training=True` as its default and does not know of the model's mode, and a
`nn.Dropout` made in `forward` is new, and so in training mode, in every call: `model.eval()` reaches neither. With
attention, `scaled_dot_product_attention(..., dropout_p=p)` drops whenever p > 0. A share p of the activations is still
thrown away when the model is measured and used.

Helped by `F.dropout(x, p, training=self.training)`, or an `nn.Dropout` made in `__init__`.

No fault when the samples are wanted, as in Monte Carlo dropout; say so with `training=True`.

Sources: PyTorch documentation, `torch.nn.functional.dropout` and `scaled_dot_product_attention`; Y. Gal and Z.
Ghahramani, arXiv 1506.02142.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import Call, edits
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Expression, Program, UserFunction

code, family, severity = "TDX404", "normalisation", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"validation-gap"})

KINDS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
LAYERS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
WANTED = re.compile(
    r"monte|bayes|uncertain|(^|_)mc(_|$)|(?-i:MC[A-Z_])|always|train|augment|noise|sampl|loss", re.IGNORECASE
)


def in_source(program: Program) -> Iterator[Finding]:
    """Every dropout in a model's method that asks nothing about the mode."""
    for call in program.calls(*(f"torch.nn.functional.{kind}" for kind in KINDS)):
        if call.argument(2, "training") is None and _drops(call.argument(1, "p")) and _is_in_model(call):
            yield _finding(call, "drops in evaluation, too: nothing tells it the mode", "pass `training=self.training`")
    for call in program.calls(ATTENTION):
        if _is_constant(call) and _drops(call.argument(None, "dropout_p")) and _is_in_model(call):
            cure = "pass `dropout_p=p if self.training else 0.0`"
            yield _finding(call, "drops in evaluation, too: nothing tells it the mode", cure)
    for call in program.calls(*(f"torch.nn.{layer}" for layer in LAYERS)):
        if _is_applied_here(call) and _drops(call.argument(0, "p")) and _is_in_model(call):
            what = "is new, and in training mode, in every call: it drops in evaluation, too"
            yield _finding(call, what, "make it in `__init__`")


def in_run(record: Record) -> Iterator[Finding]:
    """Every place that dropped, while gradients were off, in a module that was in evaluation mode.

    Silent where the same thing was dropped from several times, or the call itself says that it drops.
    """
    drops = record.process.all("dropout")
    if any(fact["again"] for fact in drops):
        return
    told = set()
    for fact in drops:
        site, made = site_of(fact["site"]), fact["how"] == "made"
        if site not in told and (made or fact["said"] is False):
            told.add(site)
            yield Finding(
                message=f"the model was in evaluation mode, and a share {fact['rate']:g} of activations was dropped "
                "all the same",
                site=site,
                evidence={"times": sum(site_of(one["site"]) == site for one in drops), "rate": fact["rate"]},
                cure="make it in `__init__`" if made else "pass `training=self.training`",
                confidence=0.95,
                severity="error",
            )


def _finding(call: Call, what: str, cure: str) -> Finding:
    return Finding(message=f"`{call.text[:60]}` {what}", site=call.site, cure=cure, confidence=0.95)


def _drops(rate: Expression | None) -> bool:
    return rate is None or (literal(rate.value) not in (0, 0.0) and not _asks(rate.text))


def _is_applied_here(call: Call) -> bool:
    """Is it applied right away, or given a local name in `forward` and called by that?"""
    above, function = call.file.parent(call.node), call.function
    if isinstance(above, ast.Call) or function is None:
        return isinstance(above, ast.Call) and above.func is call.node
    if function.name != "forward" or not isinstance(above, ast.Assign) or not isinstance(above.targets[0], ast.Name):
        return False
    name = above.targets[0].id
    inside = call.file.index.calls_in.get(function.node, ())
    told = any(isinstance(node.func, ast.Attribute) and node.func.attr in ("eval", "train") for node in inside)
    return not told and any(isinstance(node.func, ast.Name) and node.func.id == name for node in inside)


def _asks(text: str) -> bool:
    return "training" in text or "eval" in text


def _is_constant(call: Call) -> bool:
    """Is the rate of attention's dropout a number that no mode changes: written, or an attribute set once?"""
    rate = call.argument(None, "dropout_p")
    function = call.function
    if rate is None or function is None or function.owner is None:
        return False
    if isinstance(rate.node, ast.Constant):
        return True
    node = rate.node
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == function.self_name:
        found = function.owner.attribute(node.attr)
        return len(found) == 1 and found[0][1] is not None and found[0][1].name == "__init__"
    return False


def _is_in_model(call: Call) -> bool:
    """Is it in a method of a model that serves training and evaluation, with no question about the mode around it?"""
    function = call.function
    if function is None or function.owner is None or not function.owner.is_model or not call.is_certain:
        return False
    if function.name == "__init__" or WANTED.search(function.name) or WANTED.search(function.owner.name):
        return False
    return not any(_asks(guard.text) for guard in call.guards()) and not _has_left(call, function)


def _has_left(call: Call, function: UserFunction) -> bool:
    """Did the method ask for the mode above, and perhaps return?"""
    body = function.node.body
    above = body if isinstance(body, list) else []
    return any(
        isinstance(node, ast.If) and node.lineno < call.node.lineno and _asks(call.file.text_of(node.test))
        for node in above
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Pass the mode."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    call = Call(program, file, node)
    this = call.function.self_name if call.function is not None else None
    rate = call.argument(None, "dropout_p")
    if this is None:
        return
    if rate is not None:
        edit = edits.replace(file, rate.node, f"{rate.text} if {this}.training else 0.0")
    elif call.method in KINDS:
        edit = edits.insert_keyword(file, node, f"training={this}.training")
    elif call.name.startswith("torch.nn.") and isinstance(file.parent(node), ast.Call):
        edit = edits.replace(file, node, f"{file.text_of(node)}.train({this}.training)")
    else:
        return
    fix = edits.fix("drop in training only", file, [edit])
    if fix is not None:
        yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.dropout(torch.relu(self.enter(x)), 0.3)  # TDX404
            logits: torch.Tensor = self.leave(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        model.train()
        for rows in torch.randperm(1500).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = model(inputs[1500:]).argmax(1) == labels[1500:]
    print(f"{loss.item():.3f} {right.float().mean():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.dropout(torch.relu(self.enter(x)), 0.3, training=self.training)
            logits: torch.Tensor = self.leave(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        model.train()
        for rows in torch.randperm(1500).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = model(inputs[1500:]).argmax(1) == labels[1500:]
    print(f"{loss.item():.3f} {right.float().mean():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x: torch.Tensor, samples: int = 1) -> torch.Tensor:
            x = torch.relu(self.enter(x))
            if self.training:
                x = F.dropout(x, 0.2)
            elif samples > 1:
                x = F.dropout(x, 0.2, training=True)
            logits: torch.Tensor = self.leave(x)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            noisy = F.dropout(inputs[rows], 0.05)
            loss = F.cross_entropy(model(noisy), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
