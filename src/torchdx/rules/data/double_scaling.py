"""Pictures that lie in 0..1 already are divided by 255 once more, or a table is put through its scaler twice.

Seen as inputs whose largest value is 1/255 = 0.0039, a network that is stuck at the frequencies of the classes,
first-layer gradients several hundred times smaller than the last layer's.

Hurts because the inputs all but vanish: to the first layer every picture is the same, nearly black one, and its
weights' gradient, which is proportional to the input, is 255 times too small.

Helped by dividing once. `ToTensor` divides pictures and byte arrays by 255 itself; after it nothing more is to be
done.

No fault when the pictures were brought back to 0..255 in between, or were never divided: `PILToTensor` and
`torch.from_numpy` leave bytes as they are.

Sources: torchvision documentation, `torchvision.transforms.ToTensor`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits
from torchdx.source.rescaling import rescaled
from torchdx.source.scales import composed, divides_by_255, lambda_of, scaled_by, transform_scales
from torchdx.source.values import Instance, Operation, Result, Value

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX501", "data", "error"
needs = frozenset({"input"})
explains = frozenset({"not-learning", "vanishing-gradient", "unscaled-input", "initial-loss-off-scale"})

NEAR = 0.01
"""How near to 1/255 the brightest value must come: any batch of pictures holds white, or nearly."""

STANDARD, APART = 0.5, 5.0
"""Mean of the inputs up to which they count as standardised, and the mean over deviation of what the model makes of
them before its first layer from which it scales by other data. Of 145 healthy programs none changes standard inputs in
such a way at all; magnitudes that are standardised twice read 16."""

SPREAD = 10.0
"""Times by which columns' deviations differ in what the model makes of them before its first layer, though all had much
the same when it was given them, from which it divides them by other data's deviations. Of 218 healthy programs none
changes such columns in their places at all; a state in mm, mm/s and N that is scaled twice reads 72 to 77."""

LOOKS = 3
"""Looks at which it must be so."""

ROW = 49
"""Numbers in a row from which a table is taken for flattened pictures (7 x 7 pixels)."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every division by 255 of something that certainly was scaled before."""
    found = {(file.path, node): (file, node, words) for file, node, words in (*_again(program), *_in_compose(program))}
    for file, node, words in found.values():
        yield Finding(
            message=f"`{file.text_of(node)[:50]}` divides by 255 what lies in 0..1 already: {words}",
            site=file.site(node),
            evidence={"largest_value": round(1 / 255, 5)},
            cure="divide once: leave this division out",
            confidence=0.95,
        )
    for file in program.torch_files:
        for call, before in rescaled(file):
            yield Finding(
                message=f"`{file.text_of(call)[:50]}` scales what the same scaler scaled already, in line "
                f"{getattr(before, 'lineno', 0)}: numbers of deviation 1 are divided by the raw ones' deviation",
                site=file.site(call),
                evidence={"scaled before": file.text_of(before)[:100]},
                cure="scale once: leave one of the two out",
                confidence=0.95,
            )


def _divisions(program: Program) -> Iterator[tuple[SourceFile, ast.expr]]:
    for file in program.torch_files:
        if b"255" not in file.bytes:
            continue
        for node in file.index.parents:
            if isinstance(node, ast.Constant) and node.value in (255, 255.0) and not isinstance(node.value, bool):
                above = file.parent(node)
                if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Div) and above.left is node:
                    above = file.parent(above)
                if isinstance(above, (ast.BinOp, ast.Call)):
                    yield file, above


def _again(program: Program) -> Iterator[tuple[SourceFile, ast.expr, str]]:
    for file, node in _divisions(program):
        inner = divides_by_255(program.evaluate(file, node))
        before = scaled_by(inner) if inner is not None else None
        if before is not None:
            yield file, node, _where(before, file.path)


def _where(before: Value, path: str) -> str:
    if isinstance(before, Result):
        inner = before.module if before.module is not None else before
        return f"{inner.name.rpartition('.')[2]} did it ({before.home.site.seen_from(path)})"
    if isinstance(before, Operation):
        return f"it was divided before ({before.operands[0].site.seen_from(path)})"
    return "it was scaled before"


def _in_compose(program: Program) -> Iterator[tuple[SourceFile, ast.expr, str]]:
    """A function that divides, as a later step of a Compose than ToTensor."""
    for call in program.calls("torchvision.transforms.Compose", "torchvision.transforms.v2.Compose"):
        value = call.value
        steps = composed(value) if isinstance(value, Instance) else ()
        for place, step in enumerate(steps):
            function = lambda_of(step)
            if function is None or not any(transform_scales(before) for before in steps[:place]):
                continue
            for node in function.returns:
                inner = divides_by_255(program.evaluate(function.file, node))
                if inner is not None and len(function.returns) == 1:
                    yield function.file, node, f"ToTensor, {place} step(s) before, did it"


def in_run(record: Record) -> Iterator[Finding]:
    """Models whose pictures were never brighter than white divided twice, or that scale standard numbers again."""
    for facts in _given(record).values():
        if all(_is_dark(fact) for fact in facts) and _off_white(facts) < NEAR:
            yield Finding(
                message=f"the model's inputs lie between 0 and {max(fact['max'] for fact in facts):.5f}, and 1/255 is "
                "0.00392: they were divided by 255 twice",
                site=site_of(facts[0].get("site")),
                evidence={
                    "least input": min(fact["min"] for fact in facts),
                    "greatest input": max(fact["max"] for fact in facts),
                    "std of the inputs": facts[0]["std"],
                },
                cure="divide once: leave one of the divisions out",
                confidence=0.9,
                severity="warning",
            )

    for first, second in _twice(record):
        yield Finding(
            message=f"the model is given numbers of mean {first['mean']:.2g} and deviation {first['std']:.2g}, and "
            f"scales them again: its first layer gets mean {second['mean']:.3g} and deviation {second['std']:.2g}",
            site=site_of(first.get("site")),
            evidence={
                "least input": first["min"],
                "greatest input": first["max"],
                "least of what the first layer gets": second["min"],
                "greatest of what the first layer gets": second["max"],
            },
            cure="scale once: outside of the model, or in it",
            confidence=0.85,
            severity="warning",
        )


def _twice(record: Record) -> Iterator[tuple[Fact, Fact]]:
    """Inputs that are standard numbers, and what the model's first layer gets, where that lies far off at all looks."""
    looks: dict[int, list[tuple[Fact, Fact, bool]]] = {}
    for fact in record.process.all("input"):
        first = fact.get("first", {})
        if {"std", "mean", "min", "max", "shape"} <= {*first} and "std" in fact and fact["shape"] == first["shape"]:
            standard = abs(fact["mean"]) < STANDARD and 0.5 < fact["std"] < 2
            far = abs(first["mean"]) > APART * first["std"] > 0
            divided = abs(255 * first["std"] / fact["std"] - 1) < NEAR
            uneven = (_spread(fact, first) or 0) > SPREAD
            looks.setdefault(fact["module"], []).append((fact, first, standard and (far or divided or uneven)))
    for found in looks.values():
        if len(found) >= LOOKS and all(again for _, _, again in found):
            yield found[0][0], found[0][1]


def _spread(given: Fact, first: Fact) -> float | None:
    """How many times more one column varies than another, where all varied much alike; None where they did not.

    Deviations, as centring leaves them: of columns near the edge of their range it leaves next to nothing else.
    """
    before, after = given.get("deviations"), first.get("deviations")
    if not before or not after or not (before[0] > 0.5 and before[-1] < 2) or not after[0] > 0:
        return None
    return float(after[-1] / after[0])


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    pictures = [facts for facts in _given(record).values() if all(_are_pictures(fact) for fact in facts)]
    if pictures:
        yield "NEAR", min(_off_white(facts) for facts in pictures)
    twice = [abs(second["mean"]) / second["std"] for _, second in _twice(record)]
    if twice:
        yield "APART", max(twice)
    inputs = [(fact, fact.get("first", {})) for fact in record.process.all("input")]
    spreads = [known for one in inputs if one[0].get("shape") == one[1].get("shape") and (known := _spread(*one))]
    if spreads:
        yield "SPREAD", max(spreads)


def _given(record: Record) -> dict[int, list[Fact]]:
    """What the first layer of each model was given, at every look."""
    given: dict[int, list[Fact]] = {}
    for fact in record.process.all("input"):
        first = fact.get("first", {})
        if "max" in fact and "module" in first:
            reached = {**fact, **first} if "max" in first else fact  # the model may itself divide
            given.setdefault(fact["module"], []).append(reached)
    return given


def _off_white(facts: Sequence[Fact]) -> float:
    """How far, as a share, the brightest value lies from white divided twice."""
    return float(abs(255 * max(fact["max"] for fact in facts) - 1))


def _are_pictures(fact: Fact) -> bool:
    """Have they the shape of pictures, flat or not, and nothing below 0?"""
    shape = fact["shape"]
    return (len(shape) in (3, 4) or (len(shape) == 2 and shape[1] >= ROW)) and bool(fact["min"] >= 0)


def _is_dark(fact: Fact) -> bool:
    """Are these pictures, flat or not, with nothing below 0 or above 1/255?"""
    return _are_pictures(fact) and bool(0 < fact["max"] <= (1 + NEAR) / 255)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Leave the second division out."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.BinOp, ast.Call) if file is not None and finding.site else None
    change = None
    if file is not None and isinstance(node, ast.BinOp):
        change = edits.replace(file, node, file.text_of(node.left))
    elif file is not None and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        change = edits.unwrap(file, node, node.func.value if len(node.args) == 1 else node.args[0])
    found = edits.fix("leave out the second division", file, [change]) if file is not None and change else None
    if found is not None:
        yield found


def sick() -> None:
    import numpy
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset[tuple[torch.Tensor, int]]):
        def __init__(self) -> None:
            digits = load_digits()
            self.pictures = (digits.data * 15.9375).astype(numpy.uint8)
            self.labels = digits.target

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
            return torch.from_numpy(self.pictures[place]).float() / 255, self.labels[place]

    torch.manual_seed(0)
    loader = DataLoader(Pictures(), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(5):
        for inputs, labels in loader:
            inputs = inputs / 255.0  # TDX501
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import numpy
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Pictures(Dataset[tuple[torch.Tensor, int]]):
        def __init__(self) -> None:
            digits = load_digits()
            self.pictures = (digits.data * 15.9375).astype(numpy.uint8)
            self.labels = digits.target

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
            return torch.from_numpy(self.pictures[place]).float() / 255, self.labels[place]

    torch.manual_seed(0)
    loader = DataLoader(Pictures(), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(5):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
