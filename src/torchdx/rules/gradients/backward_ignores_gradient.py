"""A hand-written `backward` does not use the gradient that it is given, or is not the derivative of its `forward`.

Seen as a network that hardly learns, or learns otherwise than with the same function left to autograd, and least in the
layers before it.

Hurts because `backward` is one link of the chain rule: given dL/dy it has to return dL/dx = dL/dy * dy/dx. Without the
first factor it returns dy/dx, which is the same whatever the loss is and however far off the answer: every layer
before follows a gradient of something else. In a loss the factor is 1 until somebody scales it: by a gradient scaler,
a weight, or the count of accumulated batches. A dy/dx that is not that of `forward` sends them as far astray.

In a run, a function of the program's own that works on each number alone is tried once, on a copy of some of what it is
given, against difference quotients.

Helped by multiplying with it: `return grad_output * derivative`. `torch.autograd.gradcheck` tells whether all is right.

No fault when it returns no gradients, or zeros, on purpose; nor, in a run, where `forward` is made of straight pieces,
as a rounding with a gradient straight through, a step with a stand-in, a reversed gradient; where `backward` is a
multiple of the derivative, a constant, or right at some points, as a clamped one.

Sources: PyTorch documentation, "Extending PyTorch: extending torch.autograd" and `torch.autograd.gradcheck`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import edits
from torchdx.source.index import word_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX230", "gradients", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "vanishing-gradient", "exploding-gradient", "learning-rate-too-high"})

FUNCTIONS = ("torch.autograd.Function", "torch.autograd.function.Function")
EMPTY = ("zeros", "zeros_like", "new_zeros")

CURVED = 0.25
"""Share of the points at which `forward` is curved: nearly all of a smooth activation's, half of one that is straight
or flat on one side, none where it is made of straight pieces, as where a gradient of another shape is meant."""

RIGHT = 0.1
"""Share of these at which `backward` is right: 1 where it is; 0.15 and more where it is clamped or an approximation on
purpose, 0 to 0.09 where its formula is another's, where the two happen to cross."""

SCALED = 0.15
"""Of what `backward` gives, what is no multiple of the derivative, over its size: 0 where it is scaled on purpose, to
0.11 where it is clamped, 0.17 to 5.6 where its formula is another's."""

FLAT = 0.05
"""Deviation of what `backward` gives, over the derivative's size: 0 straight through, from 0.1 on in other formulas."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every function of autograd whose backward names the gradients it is given, and then never reads one."""
    for file in program.torch_files:
        if b"backward" not in file.bytes or b"Function" not in file.bytes:
            continue
        for node in file.index.classes:
            backward = _backward(node)
            if backward is None or not any(base in FUNCTIONS for base in program.class_(file, node).bases):
                continue
            given = _gradients(backward)
            returned = _first_return(backward)
            if given and returned is not None and not _reads(backward, given):
                yield Finding(
                    message=f"`backward` of {node.name} returns `{' '.join(file.text_of(returned).split())[:50]}` and "
                    f"never reads `{given[0]}`, the gradient that comes back to it: the chain rule is cut there",
                    site=file.site(returned),
                    cure=f"multiply by `{given[0]}`",
                    confidence=0.9,
                )


def in_run(record: Record) -> Iterator[Finding]:
    """Every function that was tried and whose backward is the derivative of something else."""
    for fact in record.process.all("own_backward"):
        if _is_other(fact):
            yield Finding(
                message=f"`backward` of {fact['function']} is not the derivative of its `forward`: at "
                f"{1 - fact['right']:.0%} of {fact['points']} points tried, it differs from the difference quotient, "
                "and by no constant factor",
                site=site_of(fact["site"]),
                evidence={"points": fact["points"], "right": fact["right"], "off": fact["scaled"]},
                cure="return the derivative of what `forward` computes, times the gradient that is given; "
                "`torch.autograd.gradcheck` tells whether it is right",
                confidence=0.95,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold, of the function that is right at the fewest points."""
    tried = record.process.all("own_backward")
    if tried:
        worst = min(tried, key=lambda fact: float(fact["right"]))
        yield from ((name.upper(), worst[name]) for name in ("curved", "right", "scaled", "flat"))


def _is_other(fact: Fact) -> bool:
    differs = fact["curved"] >= CURVED and fact["right"] <= RIGHT
    return bool(differs and fact["scaled"] >= SCALED and fact["flat"] >= FLAT)


def _backward(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "backward"), None)


def _gradients(backward: ast.FunctionDef) -> list[str]:
    """The names of the gradients it is given, behind the context."""
    arguments = backward.args
    named = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)][1:]
    return named + ([arguments.vararg.arg] if arguments.vararg else [])


def _first_return(backward: ast.FunctionDef) -> ast.expr | None:
    """What it returns, if that is a gradient and every way out returns one."""
    values = [node.value for node in ast.walk(backward) if isinstance(node, ast.Return)]
    told = [value for value in values if value is not None and not _is_nothing(value)]
    return told[0] if told and len(told) == len(values) else None


def _is_nothing(value: ast.expr) -> bool:
    """None, a number, zeros, or a row of such."""
    if isinstance(value, ast.Tuple | ast.List):
        return all(_is_nothing(item) for item in value.elts)
    return isinstance(value, ast.Constant) or (isinstance(value, ast.Call) and word_of(value.func) in EMPTY)


def _reads(backward: ast.FunctionDef, given: list[str]) -> bool:
    names = {node.id for node in ast.walk(backward) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return bool(names.intersection((*given, "locals"))) or any(isinstance(n, ast.Raise) for n in backward.body)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Multiply the one gradient that is returned by the one that is given."""
    file = program.file(finding.site.path) if finding.site else None
    returned = file.node_at(finding.site, ast.expr) if file is not None and finding.site else None
    if file is None or not isinstance(returned, ast.expr) or isinstance(returned, ast.Tuple):
        return
    given = _given_around(file, returned)
    if given is not None:
        edit = edits.replace(file, returned, f"{given} * ({file.text_of(returned)})")
        fix = edits.fix("multiply by the gradient that is given", file, [edit])
        if fix is not None:
            yield fix


def _given_around(file: SourceFile, returned: ast.expr) -> str | None:
    """The one gradient that the function around is given."""
    functions = [above for above in file.ancestors(returned) if isinstance(above, ast.FunctionDef)]
    given = _gradients(functions[0]) if functions else []
    return given[0] if len(given) == 1 else None


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx, grad):  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return s + x * s * (1 - s)  # TDX230

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    hidden, head = nn.Linear(64, 32), nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*hidden.parameters(), *head.parameters()], lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(Swish.apply(hidden(inputs[rows]))), labels[rows])  # type: ignore[no-untyped-call]
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx, grad):  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            s = torch.sigmoid(x)
            return grad * (s + x * s * (1 - s))

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    hidden, head = nn.Linear(64, 32), nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*hidden.parameters(), *head.parameters()], lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(Swish.apply(hidden(inputs[rows]))), labels[rows])  # type: ignore[no-untyped-call]
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Sign(torch.autograd.Function):
        """Straight through, but for an input that shall not be moved."""

        @staticmethod
        def forward(ctx, x, scale):  # type: ignore[no-untyped-def]
            return torch.sign(x) * scale

        @staticmethod
        def backward(ctx, *gradients):  # type: ignore[no-untyped-def]
            return gradients[0], None

    class Silent(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            return None

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    hidden, head = nn.Linear(64, 96), nn.Linear(96, 10)
    optimizer = torch.optim.Adam([*hidden.parameters(), *head.parameters()], lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            scores = head(Sign.apply(torch.tanh(hidden(inputs[rows])), 0.2))  # type: ignore[no-untyped-call]
            loss = nn.functional.cross_entropy(scores + 0.0 * Silent.apply(scores), labels[rows])  # type: ignore[no-untyped-call]
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
