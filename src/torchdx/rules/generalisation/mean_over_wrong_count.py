"""A sum of losses is divided by a count of something else: batch means by samples, or sums over samples by batches.

Seen as a reported loss that is off by the batch size, smaller or larger than that of a comparable program, and that
changes when only the batch size does.

Hurts because a loss with `reduction="mean"` is the mean of its batch already. Over B batches of n samples the mean is
(1/B) sum of l_b; (1/(nB)) sum of l_b is n times too small. The other way round, (1/B) sum of n l_b is n times too
large. Training is not harmed; comparisons, early stopping over several sets, and whoever reads the number are.

Helped by `total += loss.item() * len(inputs)` divided by the number of samples, which is right for a smaller last
batch, too; or by dividing a sum of batch means by `len(loader)`.

No fault when the loss is a sum (`reduction="sum"`), when each batch holds one sample, or when the sum is weighted.

Sources: PyTorch documentation, `torch.nn.CrossEntropyLoss` (reduction).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.index import FUNCTIONS, last_word
from torchdx.source.phases import loaders_of
from torchdx.source.reading import words
from torchdx.source.values import Instance, Result, literal

if TYPE_CHECKING:
    from torchdx.source import LossUse, Program, SourceFile

code, family, severity = "TDX802", "generalisation", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

ADDED = re.compile(rb"\+=[^\n]*(item\(\)|loss|data\[0\])")
SAME = words("item detach cpu float double numpy clone tolist")
SIZE = re.compile(r"size|len\(|shape|batch|count|\bn\b|num", re.IGNORECASE)
SAMPLES = re.compile(r"^(\w+(\[\w+\])?\.(size\(0\)|shape\[0\]|num_graphs)|len\(\w+\))$")
"""The size of a batch."""

Unit = Literal["batch means", "samples", "batches"]


@dataclass(frozen=True, eq=False)
class Total:
    """A name that sums up losses over the batches of a loader, and the loop that does so."""

    file: SourceFile
    name: str
    statement: ast.AugAssign
    loop: ast.For
    drawn: ast.expr
    weighted: bool


def in_source(program: Program) -> Iterator[Finding]:
    """Every division of such a sum by the wrong count."""
    for total, division, divisor in _wrong(program, program.torch_files):
        yield _finding(total, division, divisor)


def _wrong(program: Program, files: Iterable[SourceFile]) -> Iterator[tuple[Total, ast.expr | ast.stmt, ast.expr]]:
    uses: dict[ast.AST, LossUse] | None = None
    for file in files:
        if not ADDED.search(file.bytes):
            continue
        uses = {use.call.node: use for use in program.loss_uses} if uses is None else uses
        for total in _totals(program, file, uses):
            for division, divisor in _divisions(total):
                if _counted(program, total, divisor) == ("batches" if total.weighted else "samples"):
                    yield total, division, divisor


def _finding(total: Total, division: ast.expr | ast.stmt, divisor: ast.expr) -> Finding:
    file = total.file
    line = file.site(total.statement).seen_from(file.path)
    text = file.text_of(divisor)
    if total.weighted:
        message = f"`{total.name}` sums up losses times batch sizes ({line}), but `{text}` counts batches: too large"
    else:
        message = f"`{total.name}` sums up means of batches ({line}), but `{text}` counts samples: too small"
    return Finding(
        message=f"{message} by the batch size",
        site=file.site(division),
        cure="divide a sum of batch means by the number of batches, a sum over samples by the number of samples",
        confidence=0.9,
    )


def _totals(program: Program, file: SourceFile, uses: dict[ast.AST, LossUse]) -> Iterator[Total]:
    for scope in file.index.scopes.values():
        for name, bindings in scope.bindings.items():
            for binding in bindings:
                node = binding.node
                if binding.how != "augment" or not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Add):
                    continue
                loop = next(file.loops_around(node), None)
                drawn = _drawn(loop) if isinstance(loop, ast.For) else None
                weighted = _is_weighted(program, file, node.value, uses) if drawn is not None else None
                if isinstance(loop, ast.For) and drawn is not None and weighted is not None:
                    yield Total(file, name, node, loop, drawn, weighted)


def _drawn(loop: ast.For) -> ast.expr:
    """What the loop draws from, out of `enumerate`, `tqdm` and the like."""
    node = loop.iter
    while isinstance(node, ast.Call) and node.args and last_word(node) in ("enumerate", "tqdm", "iter", "track"):
        node = node.args[0]
    return node


def _is_weighted(program: Program, file: SourceFile, node: ast.expr, uses: dict[ast.AST, LossUse]) -> bool | None:
    """Is a batch's mean loss added (False), or that times a size (True)? None where it is neither for certain."""
    node = _bare(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if SIZE.search(file.text_of(other)) and _is_weighted(program, file, one, uses) is False:
                return True
        return None
    if not isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
        return None
    values = program.evaluate(file, node).alternatives()
    found = [uses.get(value.call.node) if isinstance(value, Result) else None for value in values]
    return False if all(use is not None and _is_mean(use) for use in found) else None


def _bare(node: ast.expr) -> ast.expr:
    """Without `.item()`, `.data`, `[0]`, `float()`."""
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SAME:
            node = node.func.value
        elif isinstance(node, ast.Call) and last_word(node) == "float" and len(node.args) == 1:
            node = node.args[0]
        elif (isinstance(node, ast.Attribute) and node.attr == "data") or isinstance(node, ast.Subscript):
            node = node.value
        else:
            return node


def _is_mean(use: LossUse) -> bool:
    if any(use.might_have(word) for word in ("size_average", "reduce")) or (use.loss and use.loss.call is None):
        return False
    reduction = use.option("reduction")
    return not use.might_have("reduction") if reduction is None else literal(reduction) == "mean"


def _divisions(total: Total) -> Iterator[tuple[ast.expr | ast.stmt, ast.expr]]:
    """Where, in the same function, the sum is divided, and by what."""
    home = total.file.scope_of(total.statement).node
    for node in _own_nodes(home, total.loop.lineno):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            above = total.file.parent(node)
            times = isinstance(above, ast.BinOp) and isinstance(above.op, (ast.Mult, ast.Div))
            left = _bare(node.left)
            if isinstance(left, ast.Name) and left.id == total.name and not times:
                yield node, node.right
        elif (
            isinstance(node, ast.AugAssign)
            and isinstance(node.op, ast.Div)
            and isinstance(node.target, ast.Name)
            and node.target.id == total.name
        ):
            yield node, node.value


def _own_nodes(home: ast.AST, first: int) -> Iterator[ast.AST]:
    """The nodes of a scope's own code from a line on."""
    stack = [node for node in ast.iter_child_nodes(home) if (getattr(node, "end_lineno", 0) or 0) >= first]
    while stack:
        node = stack.pop()
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node
            stack.extend(ast.iter_child_nodes(node))


def _counted(program: Program, total: Total, divisor: ast.expr) -> Unit | None:
    """What the divisor counts, if it is the length of this loop's loader or of its data."""
    file, value = total.file, program.evaluate(total.file, divisor)
    loaders = list(loaders_of(program.evaluate(file, total.drawn)))
    if any(literal(loader.call.argument_value(1, "batch_size")) == 1 for loader in loaders if loader.call):
        return None
    if any(loader.call and not loader.call.argument(1, "batch_size") for loader in loaders):
        return None
    counter = _counter(total, divisor) if isinstance(divisor, ast.Name) else None
    if counter is not None or not isinstance(value, Result) or value.dotted != "len" or not value.call.node.args:
        return counter
    counted, drawn = value.call.node.args[0], file.text_of(total.drawn)
    text = value.call.file.text_of(counted)
    if text in (f"{drawn}.dataset", f"{drawn}.sampler"):
        return "samples"
    if text == drawn and loaders:
        return "batches"
    data = [loader.call.argument_value(0, "dataset") for loader in loaders if loader.call]
    known = program.evaluate(value.call.file, counted)
    if data and isinstance(known, Instance) and known.call and not known.is_loader:
        same = [d for d in data if isinstance(d, Instance) and d.call and d.call.node is known.call.node]
        return "samples" if len(same) == len(data) else None
    return None


def _counter(total: Total, divisor: ast.Name) -> Unit | None:
    """What a number counts that the same loop adds to: the samples of each batch, or one a batch."""
    bindings = total.file.scope_of(total.statement).bindings.get(divisor.id, [])
    added = [binding.node for binding in bindings if binding.how == "augment"]
    if len(added) != 1 or not isinstance(added[0], ast.AugAssign) or not isinstance(added[0].op, ast.Add):
        return None
    statement = added[0]
    if next(total.file.loops_around(statement), None) is not total.loop:
        return None
    if isinstance(statement.value, ast.Constant) and statement.value.value == 1:
        return "batches"
    return "samples" if SAMPLES.search(total.file.text_of(statement.value)) else None


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Divide a sum of batch means by the number of batches."""
    file = program.file(finding.site.path) if finding.site else None
    for total, division, divisor in _wrong(program, [file] if file is not None else []):
        if not total.weighted and total.file.site(division) == finding.site:
            change = edits.replace(total.file, divisor, f"len({total.file.text_of(total.drawn)})")
            found = edits.fix("divide by the number of batches", total.file, [change])
            if found is not None:
                yield found
            return


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(8):
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"{epoch} {total / len(data):.3f}")  # TDX802


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(8):
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"{epoch} {total / len(loader):.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(8):
        total = sums = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            sums += nn.functional.cross_entropy(model(images), labels, reduction="sum").item()
        print(f"{epoch} {total / len(data):.3f} {sums / len(data):.3f}")
