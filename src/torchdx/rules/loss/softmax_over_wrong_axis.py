"""A softmax, or the choice of the best class, goes along the batch in place of the classes, or along an axis left open.

Seen as a loss that starts at the logarithm of the batch's size, predictions that change with the other samples of the
batch, a last batch of another size that behaves differently; or as the warning "Implicit dimension choice for softmax".

Hurts because a softmax makes what lies along its axis sum to 1. Along the batch, samples compete for a class: the
probability of one depends on what else is in the batch, and `nll_loss` reads numbers that are no distribution over
classes. Left open, the axis is 1 for two dimensions or four, and 0 for one or three: of a sequence (N, T, C) the batch.

In an attention, weights that are a softmax along queries, heads or samples do not sum to 1 over the keys that they
weigh, and along an axis of one element they are all 1. In a run, the autograd graph shows both axes, as it does of
squared errors of probabilities that are summed over the classes of each sample.

Helped by `dim=-1`, or `dim=1` for the classes of pictures (N, C, H, W).

No fault when there is one sample and no batch, or samples shall compete, as in some attentions and pointers.

Sources: PyTorch documentation, `torch.nn.functional.softmax`: "Calling softmax without dim is deprecated".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Edit, Finding, Fix
from torchdx.record.likelihoods import odd_likelihoods
from torchdx.source import edits, ending_of
from torchdx.source.axes import axis_of, first_axis_of, is_compared, mixtures
from torchdx.source.index import word_of
from torchdx.source.ranks import rank_of
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.source import Program

code, family, severity = "TDX609", "loss", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {"not-learning", "initial-loss-off-scale", "overfitting", "batch-mixing", "future-leak", "padding-counts"}
)

FUNCTIONS = ("softmax", "log_softmax", "softmin")
LAYERS = ("Softmax", "LogSoftmax", "Softmin")
LOOKS = 4
"""Looks that must all agree: sums over a batch that are all 1, within 1e-2, are no accident even once."""

MIXTURES = 2
"""Looks at which a weighted sum was seen: what the graph shows is exact, and two are no single odd batch."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every softmax along the batch before a likelihood, every choice along it, and every softmax with no axis."""
    yield from _along_batch(program)
    yield from _weights_along_batch(program)
    yield from _chosen_along_batch(program)
    yield from _open(program)


def in_run(record: Record) -> Iterator[Finding]:
    """Every loss over classes that was given what sums to 1 over a batch, and every mean with weights of no use."""
    yield from _idle_weights(record)
    found = [*_along_samples(record)]
    yield from found or _picked_along(record)


def _picked_along(record: Record) -> Iterator[Finding]:
    """Every likelihood picked among what a softmax along another axis made, as the graph shows it."""
    for odd in odd_likelihoods(record, "axis"):
        yield Finding(
            message=f"the loss picks the true one of {odd.shape[odd.classes]} classes along axis {odd.classes}, and "
            f"the softmax of shape {odd.shape} before it sums to 1 along axis {odd.axis}",
            site=odd.site,
            layer=odd.layer,
            evidence={"shape": str(odd.shape), "softmax": odd.axis, "classes": odd.classes, "looks": odd.looks},
            cure=f"write dim={odd.classes}",
            confidence=0.95,
        )


def _along_samples(record: Record) -> Iterator[Finding]:
    """Every loss of torch's over classes whose rows do not sum to 1, and whose columns do."""
    for use in record.losses_called("nll_loss", "kl_div", "cross_entropy"):
        for side in ("input", "target"):
            looks = [look for look in use.calls() if look[side].get("shape")]
            if len(looks) < LOOKS or not all(look[side].get("along_batch") for look in looks):
                continue
            if all(_is_meant(look, side) for look in looks):
                continue
            shape = looks[0][side]["shape"]
            rows = looks[0][side].get("of") or shape[0]
            yield Finding(
                message=f"the {side} of `{use.function}`, of shape {tuple(shape)}, sums to 1 over the {rows} "
                f"samples of a batch, and not over the {shape[1]} classes of a sample, at all {len(looks)} looks",
                site=use.site,
                evidence={"shape": str(tuple(shape)), "looks": len(looks)},
                cure="write dim=1",
                confidence=0.97,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """At how many looks a loss over classes was given distributions over the batch."""
    uses = record.losses_called("nll_loss", "kl_div", "cross_entropy")
    found = [
        sum(bool(look[side].get("along_batch")) for look in u.calls()) for u in uses for side in ("input", "target")
    ]
    if found:
        yield "LOOKS", max(found)
    yield "MIXTURES", len(record.process.all("mixture"))


def _idle_weights(record: Record) -> Iterator[Finding]:
    """Every sum weighted by a softmax that was taken along another axis, wherever the graph shows that it was."""
    places: dict[tuple[object, ...], list[Fact]] = {}
    for fact in record.process.all("mixture"):
        places.setdefault((fact["axis"], fact["summed"], len(fact["shape"]), fact.get("after")), []).append(fact)
    for (axis, summed, _, after), looks in places.items():
        told = _why(record, looks)
        if told is None or len(looks) < MIXTURES:
            continue
        before = next((p for p in record.parameters if p.id == after), None)
        shape = tuple(looks[0]["shape"])
        yield Finding(
            message=f"{_what(looks)}, a softmax of shape {shape}, sum to 1 along axis {axis}, {told}, "
            f"and the sum goes along axis {summed}",
            site=before.site if before is not None else None,
            layer=before.layer if before is not None else None,
            evidence={"shape": str(shape), "softmax": axis, "sum": summed, "looks": len(looks)},
            cure=f"write dim={summed}",
            confidence=0.93,
            severity="warning",
        )


def _what(looks: Sequence[Fact]) -> str:
    errors = looks[0]["why"] == "errors"
    return "probabilities whose squared errors are summed" if errors else "the weights of a weighted sum"


def _why(record: Record, looks: Sequence[Fact]) -> str | None:
    """What is wrong with the axis, the same at all looks; None where it may be meant."""
    axis, whys = looks[0]["axis"], {look["why"] for look in looks}
    if whys == {"single"}:
        return "which has one element, so that all are 1"
    if whys == {"errors"}:
        return "over separate samples"
    if axis == 0:
        return "over separate samples" if "single" not in whys and _is_batch(record, looks) else None
    return {"apart": "where separate samples or heads lie", "product": "over the queries"}.get("".join(whys))


def _is_batch(record: Record, looks: Sequence[Fact]) -> bool:
    """Is the first axis as long, at all looks, as there are targets of the loss at that step?"""
    targets: dict[int, set[int]] = {}
    for use in record.losses:
        for call in use.calls():
            targets.setdefault(call["step"], set()).update(call["target"].get("shape", ())[:1])
    return all(look["shape"][0] in targets.get(look["step"], ()) for look in looks)


def _is_meant(look: Fact, side: str) -> bool:
    """Do samples compete on both sides alike, or each with each, as where pairs are matched within a batch?"""
    shape, other = look[side]["shape"], look["target" if side == "input" else "input"]
    return shape[0] == shape[1] or bool(other.get("along_batch"))


def _along_batch(program: Program) -> Iterator[Finding]:
    for use in program.losses("nll_loss", "kl_div", "cross_entropy"):
        for result in use.ending.by:
            axis = axis_of(result)
            rank = rank_of(result.input) if axis is not None and literal(axis.value) == 0 else None
            if axis is not None and rank is not None and rank > 1:
                yield Finding(
                    message=f"`{use.kind}` needs a distribution over the classes, and the {use.ending.operation} "
                    f"({axis.site.seen_from(use.site.path)}) has dim=0, the batch",
                    site=axis.site,
                    evidence={"dim": 0, "dimensions": rank},
                    cure="write dim=1",
                    confidence=0.97,
                )


def _weights_along_batch(program: Program) -> Iterator[Finding]:
    """Weights of an attention that sum to 1 along the batch, or the heads, and not along what they are summed over."""
    told = set()
    for product in mixtures(program):
        axis = axis_of(product.softmax)
        if axis is not None and axis.node not in told:
            told.add(axis.node)
            yield Finding(
                message=f"`{product.text[:40]}` sums over dimension {product.summed} of its weights, and the softmax "
                f"has made them sum to 1 along dimension {product.axis}, where separate samples or heads lie",
                site=axis.site,
                evidence={"softmax": product.axis, "sum": product.summed},
                cure=f"write dim={product.meant}",
                confidence=0.9,
                severity="warning",
            )


def _chosen_along_batch(program: Program) -> Iterator[Finding]:
    for call in program.calls_named("argmax", "max"):
        axis = first_axis_of(call)
        if axis is None or call.name not in ("", "torch.argmax", "torch.max"):
            continue
        scores = call.argument(0, "input") if call.name else call.receiver
        if scores is None or not is_compared(call) or rank_of(scores.value) != 2:
            continue
        ending = ending_of(scores.value)
        if ending.operation in ("linear", "softmax", "log_softmax"):
            yield Finding(
                message=f"`{call.text[:50]}` takes the best sample for every class, and is compared as if it were the "
                "best class for every sample",
                site=axis.site,
                evidence={"dim": 0, "dimensions": 2},
                cure="write dim=1",
                confidence=0.9,
                severity="warning",
            )


def _open(program: Program) -> Iterator[Finding]:
    functions = program.calls(*(f"torch.nn.functional.{name}" for name in FUNCTIONS))
    for call in (*functions, *program.calls(*(f"torch.nn.{name}" for name in LAYERS))):
        place = 1 if call.name.startswith("torch.nn.functional") else 0
        unsure = any(keyword.arg in (None, "dim") for keyword in call.node.keywords)
        if unsure or len(call.node.args) > place or not call.is_certain:
            continue
        given = call.argument(0, "input") if place else None
        rank = rank_of(given.value) if given is not None else None
        yield Finding(
            message=f"`{' '.join(call.text.split())[:40]}` has no `dim`: "
            + (
                "of three dimensions it takes the first"
                if rank == 3
                else "which it takes depends on how many there are"
            ),
            site=call.site,
            evidence={"dimensions": rank} if rank is not None else {},
            cure="write `dim=-1` (or `dim=1` for the classes of pictures)",
            confidence=0.97,
            severity="warning" if rank == 3 else "note",
        )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Name the axis."""
    file = program.file(finding.site.path) if finding.site else None
    if file is None or finding.site is None:
        return
    node = file.node_at(finding.site, ast.Constant, ast.Call)
    change: Edit | None = None
    if isinstance(node, ast.Constant):
        change = edits.replace(file, node, finding.cure.removeprefix("write dim="))
    elif isinstance(node, ast.Call) and "dim" not in finding.evidence and word_of(node.func) in FUNCTIONS + LAYERS:
        change = edits.insert_keyword(file, node, "dim=-1")
    found = edits.fix("name the axis of the classes", file, [change]) if change is not None else None
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    layers = nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    model = nn.Sequential(*layers, nn.LogSoftmax(dim=0))  # TDX609
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    layers = nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    model = nn.Sequential(*layers, nn.LogSoftmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.nll_loss(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Linear(64, 64)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.hidden(x.flatten()))
            return F.log_softmax(self.out(x), dim=0)

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model, right = Net(), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for row in torch.randperm(len(inputs))[:1000].tolist():
        optimizer.zero_grad()
        scores = model(inputs[row])
        loss = F.nll_loss(scores, labels[row])
        loss.backward()
        optimizer.step()
        right += int(scores.argmax(0) == labels[row])
    print(right / 1000)
