"""Numbers in 0..1 are cut down to bytes without being multiplied by 255 first.

Seen as pictures that are black, all their numbers 0; or, where `ToPILImage` follows `Normalize`, as pictures in false,
speckled colours.

Hurts because a conversion to whole numbers drops everything after the point: of numbers in 0..1 only an exact 1
survives, and a sigmoid hardly ever gets there. `ToPILImage` computes `mul(255).byte()` itself, and a byte wraps around:
-0.1 becomes 231, and 1.1 becomes 24.

Helped by `x.mul(255).round().byte()`; by undoing a normalisation, x * deviation + mean, before it becomes a picture.

No fault when the numbers are 0 or 1 only, as in a mask, when they were rounded, compared or multiplied before, or when
nothing proves that they lie in 0..1: `a * b / 255` blends two pictures of bytes.

Sources: PyTorch documentation, `torch.Tensor.byte`; torchvision documentation, `torchvision.transforms.ToPILImage`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, Site
from torchdx.source import edits, ending_of
from torchdx.source.reading import words
from torchdx.source.scales import (
    KEEPING,
    PLACING,
    divides_by_255,
    scaled_by,
    step_name,
    steps_of,
    transform_scales,
)
from torchdx.source.values import Instance, Item, Operation, Result, Value
from torchdx.source.walks import walk

if TYPE_CHECKING:
    from torchdx.source import Call, Expression, Program, SourceFile

code, family, severity = "TDX504", "data", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

BYTES = {"torch.uint8", "torch.ByteTensor", "numpy.uint8", "numpy.ubyte", "uint8", "u1"}
SAYS_BYTE = re.compile(r"uint8|[Bb]yte|u1")
TYPES = {"numpy.uint8", "numpy.ubyte"}
MAKERS = {"numpy.array": 1, "numpy.asarray": 1, "torch.tensor": None, "torch.as_tensor": None}
"""Functions that convert, and the place of their `dtype`."""

READERS = words("open imread read_image decode_image decode_jpeg decode_png")
"""What reads a picture's bytes."""

MASKS = re.compile(r"mask|label|target|seg|annot|truth|binar|bool|valid|silhouette|alpha|(?<![a-z])gt(?![a-z])", re.I)
"""Names of things that are 0 or 255 in a file, hence exactly 0 or 1 after a division."""

KEEPS_RANGE = re.compile(r"(Random)?(Resize|Crop|HorizontalFlip|VerticalFlip|Rotation|ResizedCrop)|CenterCrop|Pad")


def in_source(program: Program) -> Iterator[Finding]:
    """Every conversion to bytes of what certainly lies in 0..1, and every picture made of what was normalised."""
    for call in program.calls_named(
        "byte", "to", "type", "astype", "uint8", "ubyte", "array", "asarray", "tensor", "as_tensor"
    ):
        given = _cast(call)
        made = _unit(given.value) if given is not None else None
        if made is None or _changed_in_place(program, call):
            continue
        way, maker, proven = made
        if proven or not _may_be_mask(call, maker):
            yield Finding(
                message=f"`{' '.join(call.text.split())[:50]}` drops everything after the point of numbers in 0..1 "
                f"({way}, {maker.seen_from(call.file.path)}): all below 1 become 0",
                site=call.site,
                evidence={"range": "0..1", "made_by": way, "made_at": str(maker)},
                cure="multiply by 255 and round before: `x.mul(255).round().byte()`",
                confidence=0.97 if proven else 0.85,
                severity=None if proven else "warning",
            )
    yield from _normalised_pictures(program)


def _cast(call: Call) -> Expression | None:
    """What is converted to bytes, where the call does that."""
    if call.method == "byte":
        return call.receiver if not call.node.args and not call.name else None
    if call.method in ("to", "type", "astype"):
        return call.receiver if any(_is_byte(kind) for kind in call.arguments()) and not call.name else None
    if call.method in ("uint8", "ubyte"):
        return call.argument(0) if call.name in TYPES else None
    if any(SAYS_BYTE.search(kind.text) for kind in islice(call.arguments(), 1, None)) and call.name in MAKERS:
        kind = call.argument(MAKERS[call.name], "dtype")
        return call.argument(0) if kind is not None and _is_byte(kind) else None
    return None


def _is_byte(kind: Expression) -> bool:
    if not SAYS_BYTE.search(kind.text):
        return False
    literal = kind.literal
    return kind.value.name in BYTES or (isinstance(literal, str) and literal in BYTES)


def _unit(value: Value) -> tuple[str, Site, bool] | None:
    """What brought the numbers to 0..1, where, and whether they surely lie between, not at, 0 and 1."""
    scaled = scaled_by(value)
    divided = divides_by_255(scaled) if scaled is not None else None
    if scaled is not None and (divided is None or _were_bytes(divided)):
        site = scaled.operands[0].site if isinstance(scaled, Operation) else None
        site = scaled.call.site if isinstance(scaled, Result) else site
        return ("divided by 255" if divided else scaled.name.rpartition(".")[2], site, False) if site else None
    while (isinstance(value, Result) and value.dotted.rpartition(".")[2] in KEEPING) or isinstance(value, Item):
        value = value.of if isinstance(value, Item) else value.input
    ending = ending_of(value)
    if ending.kind == "probabilities" and ending.by:
        return ending.operation, ending.by[0].call.site, True
    return None


@walk(False)
def _were_bytes(value: Value) -> bool:
    """Are these certainly the bytes of one picture, not a product or a sum of several?"""
    if isinstance(value, Item):
        return _were_bytes(value.of)
    if isinstance(value, Instance):
        return value.dotted.startswith("torchvision.datasets.")
    if not isinstance(value, Result):
        return False
    last = value.dotted.rpartition(".")[2]
    return last in READERS or _cast(value.call) is not None or (last in KEEPING and _were_bytes(value.input))


def _may_be_mask(call: Call, maker: Site) -> bool:
    """Do the names where it is scaled or converted speak of a mask?"""
    lines = [call.file.text_of(statement) for statement in [call.file.statement(call.node)] if statement is not None]
    scaling = call.program.file(maker.path)
    if scaling is not None:
        lines.append(scaling.line_bytes(maker.line).decode("utf-8", "replace"))
    return any(MASKS.search(line) for line in [*lines, call.function.name if call.function is not None else ""])


def _changed_in_place(program: Program, call: Call) -> bool:
    """Is anything in 0..1 written into in this scope, as by `x[x > 0.5] = 1`, `x.mul_(255)` or `out=x`?"""
    file = call.file
    scope = file.scope_of(call.node).node
    return any(_unit(program.evaluate(file, target)) for target in _written(program, file, scope))


def _written(program: Program, file: SourceFile, scope: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield node.value
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
            yield node.target
    for call in program.calls_in(file, scope):
        out = call.argument(None, "out")
        if out is not None:
            yield out.node
        elif call.method.endswith("_") and call.receiver is not None:
            yield call.receiver.node
        elif call.is_statement and getattr(program.resolve(file, call.node.func), "definition", None) is not None:
            yield from (argument.node for argument in call.arguments())


def _normalised_pictures(program: Program) -> Iterator[Finding]:
    """Every `ToPILImage` that is given what `ToTensor` and then `Normalize` made."""
    for call in program.calls(*(f"{start}Compose" for start in PLACING), "torch.nn.Sequential"):
        if b"ToPILImage" not in call.file.bytes or not isinstance(call.value, Instance):
            continue
        steps = steps_of(call.value)
        names = [step_name(step) for step in steps]
        for place, step in enumerate(steps):
            before = [word for word in names[:place] if not KEEPS_RANGE.fullmatch(word)]
            normalised = before[-1:] == ["Normalize"] and before.count("Normalize") == 1
            scaled = any(transform_scales(one) for one in steps[: names.index("Normalize")]) if normalised else False
            if names[place] == "ToPILImage" and scaled and isinstance(step, Instance) and step.call is not None:
                yield Finding(
                    message="`ToPILImage` is given what `Normalize` moved out of 0..1: the bytes wrap around",
                    site=step.call.site,
                    evidence={"steps": ", ".join(names)},
                    cure="leave `Normalize` out where a picture is wanted, or undo it before: x * deviation + mean",
                    confidence=0.95,
                    severity="warning",
                )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Multiply by 255 and round, right before the conversion."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call) or "made_at" not in finding.evidence:
        return
    func, text = node.func, file.text_of(node)
    if _is_receiver_cast(program, file, node) and isinstance(func, ast.Attribute):
        stem = file.text_of(func)
        stem = stem[: stem.rindex(".")].rstrip()
        times = f"({stem} * 255).round()" if func.attr == "astype" else f"{stem}.mul(255).round()"
        change = edits.replace(file, node, times + text[len(stem) :])
    else:
        given = file.text_of(node.args[0])
        simple = isinstance(node.args[0], ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        change = edits.replace(file, node.args[0], f"({given if simple else f'({given})'} * 255).round()")
    found = edits.fix("multiply by 255 and round before", file, [change])
    if found is not None:
        yield found


def _is_receiver_cast(program: Program, file: SourceFile, node: ast.Call) -> bool:
    called = program.resolve(file, node.func)
    return called is None or (called.name not in TYPES and called.name not in MAKERS)


def sick() -> None:
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    scanned = torch.from_numpy((load_digits().data * 15.9375).astype(np.uint8))
    pictures = scanned.float() / 255
    coder = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64), nn.Sigmoid())
    optimizer = torch.optim.Adam(coder.parameters(), lr=0.005)
    for _ in range(10):
        for rows in torch.randperm(len(pictures)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(coder(pictures[rows]), pictures[rows])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        drawn = coder(pictures).byte()  # TDX504
    print(f"brightness {scanned.float().mean().item():.1f}, drawn {drawn.float().mean().item():.1f}")


def healthy() -> None:
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    scanned = torch.from_numpy((load_digits().data * 15.9375).astype(np.uint8))
    pictures = scanned.float() / 255
    coder = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64), nn.Sigmoid())
    optimizer = torch.optim.Adam(coder.parameters(), lr=0.005)
    for _ in range(10):
        for rows in torch.randperm(len(pictures)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(coder(pictures[rows]), pictures[rows])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        drawn = coder(pictures).mul(255).round().byte()
    print(f"brightness {scanned.float().mean().item():.1f}, drawn {drawn.float().mean().item():.1f}")


def looks_like_it() -> None:
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.tensor(digits.data, dtype=torch.float32) / 16
    masks = np.where(digits.data > 8, 255, 0).astype(np.uint8)
    ink = torch.from_numpy(masks).float() / 255
    finder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.Adam(finder.parameters(), lr=0.005)
    for _ in range(10):
        for rows in torch.randperm(len(pictures)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(finder(pictures[rows]), ink[rows])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        shares = torch.sigmoid(finder(pictures))
        found, rounded = (shares > 0.5).byte(), shares.round().byte()
        shares[shares > 0.5] = 1
        cut = shares.byte()
    wanted = (masks / 255).astype(np.uint8)
    shaded = (masks.astype(int) * digits.data * 15.9375 / 255).astype(np.uint8)
    print((found == rounded).all().item(), (cut.numpy() == wanted).mean(), shaded.mean())
