"""`Normalize` stands where its numbers do not fit those of the picture.

Seen as "Input tensor should be a torch tensor", or as inputs that are all near -2, or as large as 1100.

Hurts because `Normalize` computes (x - mean) / deviation on tensors. Before `ToTensor` there is no tensor. `ToTensor`
divides by 255, so that a mean of 123.675 takes from every pixel the same: (0..1 - 123.675) / 58.395 is -2.1, for white
and black alike. `PILToTensor`, `ToImage` and `ToDtype` without `scale=True` do not divide: with a mean of 0.485 and a
deviation of 0.229 white becomes 1111.

Helped by the order `ToTensor`, `Normalize`, with statistics of 0..1; in the second version of the transforms by
`ToImage()`, `ToDtype(torch.float32, scale=True)`, `Normalize`.

No fault when something in between, such as a `Lambda`, scales the numbers itself, or the pictures are arrays of
floating point, which `ToTensor` leaves as they are.

Sources: torchvision documentation, `torchvision.transforms.Normalize`, `ToTensor` and `v2.ToDtype`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.scales import PLACING, compositions, step_name
from torchdx.source.values import Group, Instance, Value, literal

if TYPE_CHECKING:
    from torchdx.source import Call, Program

code, family, severity = "TDX509", "data", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

GEOMETRY = (
    r"(Random|Center|Five|Ten)?(Resize|Scale|Crop|HorizontalFlip|VerticalFlip|Rotation|ResizedCrop|Affine|Perspective)"
)
COLOUR = (
    r"ColorJitter|(Random)?Grayscale|Random(AutoContrast|Autocontrast|Equalize|Invert|AdjustSharpness)|GaussianBlur|Pad"
)
ON_PICTURES = re.compile(rf"{GEOMETRY}|{COLOUR}|(Auto|Rand|Trivial)Augment(Wide)?|AugMix")
LARGE, SMALL = 2.0, 1.0
"""Means from which they are those of 0..255, and up to which they are those of 0..1."""


class Fault(NamedTuple):
    """What is wrong with one step, and what the steps to be exchanged, or mended, are."""

    step: Instance
    words: str
    cure: str
    certain: bool = True
    partner: Instance | None = None


def in_source(program: Program) -> Iterator[Finding]:
    """Every `Normalize` in a Compose of known transforms that is given what it was not meant for."""
    for call, fault in _faults(program):
        node = _written(call, fault.step)
        yield Finding(
            message=f"`Normalize` {fault.words}",
            site=call.file.site(node) if node is not None else call.site,
            evidence={"steps": ", ".join(map(step_name, compositions(call.value)[0]))},
            cure=fault.cure,
            confidence=0.97 if fault.certain else 0.85,
            severity=None if fault.certain else "warning",
        )


def _faults(program: Program) -> Iterator[tuple[Call, Fault]]:
    for call in program.calls(*(f"{start}Compose" for start in PLACING)):
        faults = [_fault(steps) for steps in compositions(call.value)]
        if faults and faults[0] is not None and all(faults):
            yield call, faults[0]


def _fault(steps: tuple[Value, ...]) -> Fault | None:
    """Go through the steps, and say what the numbers are after each: until one of them is not known."""
    numbers, maker, early = "given", None, None
    for step in steps:
        name = step_name(step)
        if not isinstance(step, Instance):
            numbers, early = "unknown", None
        elif name == "Normalize":
            found = _misfit(step, numbers, maker)
            if found is not None:
                return found
            early = step if numbers in ("given", "picture") else None
            numbers = "normalised"
        elif name == "ToTensor":
            if early is not None:
                return Fault(
                    early, "stands before `ToTensor`, and needs a tensor", "put it after `ToTensor`", True, step
                )
            numbers, maker = ("unit" if numbers == "picture" else "unknown"), step
        elif name in ("PILToTensor", "ToImage", "ToImageTensor"):
            numbers, maker = ("bytes" if name == "PILToTensor" else "bytes?"), step
        elif name in ("ToDtype", "ConvertImageDtype", "ConvertDtype"):
            numbers, maker = _converted(step, name, numbers), step
        elif ON_PICTURES.fullmatch(name):
            numbers = "picture" if numbers == "given" else numbers
        else:
            numbers, early = "unknown", None
    return None


def _misfit(step: Instance, numbers: str, maker: Instance | None) -> Fault | None:
    """Are the statistics those of another range than the numbers', or the numbers none to compute with?"""
    means = _means(step)
    before = f"`{step_name(maker)}`" if maker is not None else ""
    if not means:
        return None
    if numbers == "unit" and min(means) > LARGE:
        words = f"is given means such as {means[0]:g}, those of 0..255, and {before} has brought the pictures to 0..1"
        return Fault(step, words, "divide its means and deviations by 255")
    if numbers.startswith("raw") and max(means) <= SMALL:
        words = f"is given means such as {means[0]:g}, those of 0..1, and {before} has left the pictures in 0..255"
        return Fault(
            step, words, "write `scale=True` there: ToDtype(torch.float32, scale=True)", numbers == "raw", maker
        )
    if numbers == "bytes":
        return Fault(step, f"needs numbers in floating point, and {before} leaves bytes", "use ToTensor in its place")
    return None


def _converted(step: Instance, name: str, numbers: str) -> str:
    """What a change of type makes of the numbers."""
    call = step.call
    kind = call.argument_value(0, "dtype") if call is not None else None
    if call is None or kind is None or not kind.name.startswith("torch.float") or not call.is_certain:
        return "unknown"
    scales = name != "ToDtype" or literal(call.argument_value(1, "scale")) is True
    if numbers not in ("bytes", "bytes?") or (name == "ToDtype" and call.gives("scale") and not scales):
        return "unknown"
    return "unit" if scales and numbers == "bytes" else "unknown" if scales else numbers.replace("bytes", "raw")


def _means(step: Instance) -> tuple[float, ...]:
    means = step.call.argument_value(0, "mean") if step.call is not None else None
    if not isinstance(means, Group) or means.open:
        return ()
    numbers = [literal(item) for item in means.items]
    known = tuple(float(number) for number in numbers if isinstance(number, int | float))
    return known if len(known) == len(numbers) else ()


def _written(call: Call, step: Instance) -> ast.expr | None:
    """Where a step stands in a list of the same file, by itself or by its name."""
    given = call.argument(0, "transforms")
    elements = given.node.elts if given is not None and isinstance(given.node, ast.List | ast.Tuple) else []
    by_name = next((node for node in elements if step in call.at(node).value.alternatives()), None)
    made = step.call
    inside = made is not None and made.file is call.file and isinstance(call.file.parent(made.node), ast.List)
    return by_name or (made.node if made is not None and inside else None)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Put the steps in order, or have the change of type scale."""
    for call, fault in _faults(program):
        node = _written(call, fault.step)
        if fault.partner is None or finding.site != (call.file.site(node) if node is not None else call.site):
            continue
        found = _scaling(fault.partner) if step_name(fault.partner) == "ToDtype" else _ordered(call, fault)
        if found is not None:
            yield found


def _scaling(change: Instance) -> Fix | None:
    made = change.call
    if made is None:
        return None
    return edits.fix("scale to 0..1", made.file, [edits.insert_keyword(made.file, made.node, "scale=True")])


def _ordered(call: Call, fault: Fault) -> Fix | None:
    first, last = _written(call, fault.step), _written(call, fault.partner) if fault.partner is not None else None
    around = call.file.parent(first) if first is not None else None
    if first is None or last is None or not isinstance(around, ast.List | ast.Tuple) or last not in around.elts:
        return None
    moved = around.elts[around.elts.index(first) : around.elts.index(last) + 1]
    texts = [call.file.text_of(node) for node in (*moved[1:], moved[0])]
    changes = [edits.replace(call.file, node, text) for node, text in zip(moved, texts, strict=True)]
    return edits.fix("normalise last", call.file, changes, safe=True)


def sick() -> None:
    import sys

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import default_collate

    torch.manual_seed(0)
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    pictures = list(zip(pixels, digits.target.tolist(), strict=True))
    if len(sys.argv) > 1:
        from torchvision import datasets, transforms

        steps = [transforms.Grayscale(), transforms.Resize((8, 8))]
        steps += [transforms.Normalize([0.5], [0.5]), transforms.ToTensor()]  # TDX509
        pictures = list(datasets.ImageFolder(sys.argv[1], transform=transforms.Compose(steps)))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(5):
        for rows in torch.randperm(len(pictures)).split(64):
            inputs, labels = default_collate([pictures[row] for row in rows])
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import sys

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import default_collate

    torch.manual_seed(0)
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    pictures = list(zip(pixels, digits.target.tolist(), strict=True))
    if len(sys.argv) > 1:
        from torchvision import datasets, transforms

        steps = [transforms.Grayscale(), transforms.Resize((8, 8))]
        steps += [transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        pictures = list(datasets.ImageFolder(sys.argv[1], transform=transforms.Compose(steps)))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(5):
        for rows in torch.randperm(len(pictures)).split(64):
            inputs, labels = default_collate([pictures[row] for row in rows])
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import sys

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import default_collate

    torch.manual_seed(0)
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    pictures = list(zip(pixels, digits.target.tolist(), strict=True))
    if len(sys.argv) > 1:
        from torchvision import datasets, transforms
        from torchvision.transforms import v2

        scaled = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean=[0.5], std=[0.5])]
        print(datasets.ImageFolder(sys.argv[1], transform=v2.Compose(scaled)))
        larger = transforms.Lambda(lambda picture: picture * 255)
        steps = [transforms.Grayscale(), transforms.Resize((8, 8)), transforms.ToTensor(), larger]
        steps.append(transforms.Normalize(mean=[123.675], std=[58.395]))
        pictures = list(datasets.ImageFolder(sys.argv[1], transform=transforms.Compose(steps)))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(5):
        for rows in torch.randperm(len(pictures)).split(64):
            inputs, labels = default_collate([pictures[row] for row in rows])
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
