"""The best epoch is chosen by the score on the test data, and no other data are held out.

Seen as a reported test score that is the best of many looks at the test set.

Hurts because the maximum over E epochs of a noisy score is too high even if all epochs are equally good: by about s
sqrt(2 ln E) for a standard error s of one score. What was chosen on data can no longer be measured on them.

Helped by a validation set split off the training data for choosing (`random_split`), and one look at the test set at
the end.

No fault when the "test" data are a validation set by another name, and the final score comes from elsewhere.

Sources: T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning" (2009), section 7.2; G. Cawley
and N. Talbot, "On Over-fitting in Model Selection and Subsequent Selection Bias", JMLR 11 (2010).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.index import FUNCTIONS, last_word
from torchdx.source.phases import held_out
from torchdx.source.reading import words

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile
    from torchdx.source.phases import Pass

code, family, severity = "TDX803", "generalisation", "note"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

BEST = re.compile(r"best|lowest|highest|(^|_)(min|max)(_|$)", re.IGNORECASE)
OTHERS = re.compile(rb"valid|\bval_|_val\b|dev_|random_split|SubsetRandomSampler|Subset\(|KFold|train_test_split")
KEEPING = words("save save_checkpoint state_dict deepcopy save_model save_weights")


def in_source(program: Program) -> Iterator[Finding]:
    """Every comparison with the best so far, of a score on a library's test data, that decides what is kept."""
    told: set[ast.AST] = set()
    for served in program.passes:
        if served.phase != "evaluation" or served.loop is None or held_out(served.dataset) != "test":
            continue
        if OTHERS.search(served.file.bytes) or OTHERS.search(served.made.file.bytes):
            continue
        for file, choice in _choices(program, served):
            if choice not in told and not OTHERS.search(file.bytes):
                told.add(choice)
                yield Finding(
                    message=f"`{file.text_of(choice.test)}` chooses by the score on the test data "
                    f"({served.made.site.seen_from(file.path)}), and no validation data are held out",
                    site=file.site(choice.test),
                    cure="split validation data off the training data, choose by them, and test once at the end",
                    confidence=0.85,
                )


def _choices(program: Program, served: Pass) -> Iterator[tuple[SourceFile, ast.If]]:
    """The decisions after the loop, and after the calls of the function it stands in."""
    file, loop = served.file, served.loop
    assert loop is not None
    scope = file.scope_of(loop)
    summed = {name for name, found in scope.bindings.items() if any(_stands_in(b.node, loop) for b in found)}
    yield from ((file, choice) for choice in _kept_best(file, scope.node, loop, summed))
    if not isinstance(scope.node, FUNCTIONS):
        return
    for call in program.callers(program.function(file, scope.node)):
        statement = call.file.statement(call.node)
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        names = {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        if statement is not None and names:
            home = call.file.scope_of(statement).node
            yield from ((call.file, choice) for choice in _kept_best(call.file, home, statement, names, derived=False))


def _stands_in(node: ast.AST, loop: ast.AST) -> bool:
    return getattr(loop, "lineno", 0) < getattr(node, "lineno", 0) <= (getattr(loop, "end_lineno", 0) or 0)


def _kept_best(
    file: SourceFile, home: ast.AST, after: ast.stmt, names: set[str], derived: bool = True
) -> Iterator[ast.If]:
    """Conditions, further down, that compare something made of these names with the best, and keep weights."""
    names = set(names)
    for node in sorted(_statements(home), key=lambda node: node.lineno):
        if node.lineno <= (after.end_lineno or after.lineno):
            continue
        if derived and isinstance(node, ast.Assign) and _named(node.value) & names:
            names |= {name for target in node.targets for name in _named(target)}
        if isinstance(node, ast.If) and _is_better(node.test, names):
            kept = (last_word(inner) for inner in ast.walk(node) if isinstance(inner, ast.Call))
            if not KEEPING.isdisjoint(kept):
                yield node


def _is_better(test: ast.expr, names: set[str]) -> bool:
    """Does the condition compare one of the names with the best so far?"""
    if isinstance(test, ast.BoolOp):
        return any(_is_better(part, names) for part in test.values)
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return False
    sides = [_named(test.left), _named(test.comparators[0])]
    best = [any(BEST.search(name) for name in side) for side in sides]
    return best.count(True) == 1 and bool(sides[best.index(False)] & names)


def _named(node: ast.expr) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _statements(home: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a scope's own code, however deep."""
    for name in ("body", "orelse", "finalbody", "handlers"):
        for node in getattr(home, name, []):
            if isinstance(node, ast.stmt) and not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                yield node
            if isinstance(node, (ast.stmt, ast.ExceptHandler)) and not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                yield from _statements(node)


def sick() -> None:
    import sys
    from collections.abc import Iterable
    from tempfile import TemporaryFile

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    def fit(learning: Iterable[list[torch.Tensor]], testing: Iterable[list[torch.Tensor]], size: int) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        best = 0
        for _ in range(6):
            for images, labels in learning:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
            right = 0
            with torch.no_grad():
                for images, labels in testing:
                    right += int((model(images).argmax(1) == labels).sum())
            if right > best:  # TDX803
                best = right
                with TemporaryFile() as file:
                    torch.save(model.state_dict(), file)
        print(f"{loss.item():.3f} {best}")

    torch.manual_seed(0)
    if len(sys.argv) > 1:
        from torchvision import datasets, transforms

        step = transforms.ToTensor()
        known = datasets.MNIST(sys.argv[1], train=True, transform=step)
        unseen = datasets.MNIST(sys.argv[1], train=False, transform=step)
        fit(DataLoader(known, 64, shuffle=True), DataLoader(unseen, 64), 28 * 28)
    else:
        digits = load_digits()
        pixels, labels = torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target)
        known, unseen = TensorDataset(pixels[:1400], labels[:1400]), TensorDataset(pixels[1400:], labels[1400:])
        fit(DataLoader(known, 64, shuffle=True), DataLoader(unseen, 64), 64)


def healthy() -> None:
    import sys
    from collections.abc import Iterable
    from tempfile import TemporaryFile

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, random_split

    def fit(learning: Iterable[list[torch.Tensor]], testing: Iterable[list[torch.Tensor]], size: int) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        best = 0
        for _ in range(6):
            for images, labels in learning:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
            right = 0
            with torch.no_grad():
                for images, labels in testing:
                    right += int((model(images).argmax(1) == labels).sum())
            if right > best:
                best = right
                with TemporaryFile() as file:
                    torch.save(model.state_dict(), file)
        print(f"{loss.item():.3f} {best}")

    torch.manual_seed(0)
    if len(sys.argv) > 1:
        from torchvision import datasets, transforms

        step = transforms.ToTensor()
        known = datasets.MNIST(sys.argv[1], train=True, transform=step)
        part, held_out = random_split(known, [0.9, 0.1])
        fit(DataLoader(part, 64, shuffle=True), DataLoader(held_out, 64), 28 * 28)
    else:
        digits = load_digits()
        pixels, labels = torch.tensor(digits.images, dtype=torch.float32) / 16, torch.tensor(digits.target)
        known, unseen = TensorDataset(pixels[:1400], labels[:1400]), TensorDataset(pixels[1400:], labels[1400:])
        fit(DataLoader(known, 64, shuffle=True), DataLoader(unseen, 64), 64)
