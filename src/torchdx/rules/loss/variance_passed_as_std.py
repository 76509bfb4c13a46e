"""A variance is used where a standard deviation belongs, or the other way round.

Seen as samples that are too narrow where sigma < 1 and too wide where sigma > 1, uncertainties off by their own
square, a variational autoencoder whose samples do not match its KL term.

Hurts because the spread of a Gaussian goes by several names that are one step apart: the standard deviation sigma,
the variance sigma^2, its logarithm log sigma^2, the precision 1/sigma^2. `Normal(loc, scale)` and the
reparameterisation z = mu + sigma * eps want sigma = exp(log_var / 2); `gaussian_nll_loss` wants the variance.

Helped by one conversion in the right place: `std = torch.exp(0.5 * logvar)`, `var.sqrt()`, `std ** 2`.

No fault when what is called a variance has been turned into a standard deviation before it is used.

Sources: D. Kingma and M. Welling, arXiv 1312.6114; PyTorch documentation, `torch.distributions.Normal`,
`GaussianNLLLoss`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.expressions import Call
from torchdx.source.index import Binding
from torchdx.source.quantities import quantity_of
from torchdx.source.values import Result

if TYPE_CHECKING:
    from torchdx.source import Expression, Program

code, family, severity = "TDX604", "loss", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning"})

NORMALS = ("torch.distributions.Normal", "torch.distributions.LogNormal", "torch.distributions.normal.Normal")
NOISE = ("torch.randn", "torch.randn_like", "torch.Tensor.normal_", "?.normal_", "torch.normal")


def in_source(program: Program) -> Iterator[Finding]:
    """Every spread that is certainly of the other kind than its place wants, and every one that is taken for both."""
    told = set()
    for spread, wanted, place in _places(program):
        found = quantity_of(spread)
        wrong = {"std": ("variance", "log-variance"), "variance": ("std", "log-std", "log-variance")}[wanted]
        if found.kind in wrong:
            told.add(_origin(spread))
            yield Finding(
                message=f"`{spread.text[:40]}` is a {found.kind}, and {place} wants a "
                f"{'standard deviation' if wanted == 'std' else 'variance'}",
                site=spread.site,
                evidence={"given": found.kind, "wanted": wanted},
                cure={"std": "pass its square root: exp(0.5 * logvar)", "variance": "pass its square"}[wanted],
                confidence=0.95 if found.computed else 0.8,
                severity=None if found.computed else "warning",
            )

    yield from _taken_for_both(program, told)


def _taken_for_both(program: Program, told: Set[object]) -> Iterator[Finding]:
    """What one function returns at one place, if it is the variance here and the standard deviation elsewhere."""
    places = [(spread, wanted, place, _origin(spread)) for spread, wanted, place in _places(program)]
    for spread, wanted, place, origin in places:
        if wanted != "variance" or origin is None or origin in told:
            continue
        other = next((one for one in places if one[1] == "std" and one[3] == origin), None)
        if other is not None:
            yield Finding(
                message=f"`{spread.text[:40]}` is the variance for {place}, and the same is the standard deviation for "
                f"{other[2]} ({other[0].site.seen_from(spread.site.path)}): it cannot be both",
                site=spread.site,
                evidence={"given": "one and the same", "wanted": "variance and standard deviation"},
                cure="pass the square of a standard deviation here, or the square root of a variance there",
                confidence=0.9,
                severity="warning",
            )


def _origin(spread: Expression) -> object | None:
    """The functions that gave this name its value, and at which place of what they return."""
    node = spread.node
    found = spread.program.names.binding(spread.file, node) if isinstance(node, ast.Name) else None
    if not isinstance(found, Binding) or len(found.steps) != 1 or not isinstance(found.value, ast.Call):
        return None
    functions = spread.program.effects.targets(Call(spread.program, spread.file, found.value))
    where = frozenset((one.file.path, one.node) for one in functions)
    return (where, found.steps) if where else None


def _places(program: Program) -> Iterator[tuple[Expression, str, str]]:
    """Where a spread is asked for, which one, and the place in words."""
    for call in program.calls(*NORMALS):
        scale = call.argument(1, "scale")
        if scale is not None:
            yield scale, "std", f"`{call.name.rpartition('.')[2]}(loc, scale)`"
    for use in program.losses("gaussian_nll_loss"):
        variance = use.call.argument(2, "var")
        if variance is not None:
            yield variance, "variance", "`gaussian_nll_loss`"
    yield from _reparameterised(program)


def _reparameterised(program: Program) -> Iterator[tuple[Expression, str, str]]:
    """The other factor of a noise that is scaled and added to a mean."""
    for noise in program.calls_named("randn", "randn_like", "normal_"):
        file = noise.file
        scope = file.scope_of(noise.node).node
        for node in _products(scope):
            for factor, other in ((node.left, node.right), (node.right, node.left)):
                value = program.evaluate(file, factor)
                is_noise = isinstance(value, Result) and value.call.node is noise.node and value.dotted in NOISE
                if is_noise and _is_added(file.parent(node)):
                    yield noise.at(other), "std", "the noise it multiplies"


def _products(scope: ast.AST) -> Iterator[ast.BinOp]:
    """The multiplications in a scope's own code."""
    queue: list[ast.AST] = list(getattr(scope, "body", [])) if not isinstance(scope, ast.Lambda) else []
    for node in queue:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            queue.extend(ast.iter_child_nodes(node))


def _is_added(above: ast.AST | None) -> bool:
    return isinstance(above, ast.BinOp) and isinstance(above.op, ast.Add)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Convert in place."""
    file = program.file(finding.site.path) if finding.site else None
    for spread, wanted, _ in _places(program):
        if file is None or spread.site != finding.site or spread.file is not file:
            continue
        text = spread.text if isinstance(spread.node, (ast.Name, ast.Call, ast.Attribute)) else f"({spread.text})"
        kind = quantity_of(spread).kind
        ways = {
            ("variance", "std"): f"{text}.sqrt()",
            ("log-variance", "std"): f"({text} / 2).exp()",
            ("std", "variance"): f"{text}.square()",
            ("log-std", "variance"): f"({text} * 2).exp()",
            ("log-variance", "variance"): f"{text}.exp()",
        }
        changed = ways.get((kind, wanted))
        if changed is not None:
            proven = finding.severity == "error"
            change = edits.replace(file, spread.node, changed)
            found = edits.fix(f"turn the {kind} into a {wanted}", file, [change], safe=proven)
            yield from (found,) if found is not None else ()
            return


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    inputs = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            mean, logvar = encoder(inputs[rows]).chunk(2, dim=1)
            code = mean + torch.randn_like(mean) * torch.exp(logvar)  # TDX604
            error = (decoder(code) - inputs[rows]).square().sum(1).mean() / 0.1
            divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
            loss = error + divergence
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    inputs = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            mean, logvar = encoder(inputs[rows]).chunk(2, dim=1)
            code = mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)
            error = (decoder(code) - inputs[rows]).square().sum(1).mean() / 0.1
            divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
            loss = error + divergence
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
