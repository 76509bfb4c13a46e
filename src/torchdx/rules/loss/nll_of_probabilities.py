"""The negative log-likelihood is computed from probabilities, or from raw scores, where log-probabilities belong.

Seen as a loss that is negative (it falls towards -1 with probabilities, without bound with raw scores).

Hurts because `nll_loss` takes no logarithm: it only picks the number of the true class and changes its sign. With
probabilities that is -p in place of -log p: its gradient does not grow when the model is confidently wrong. With raw
scores nothing normalises, and all scores grow for ever.
`ctc_loss` sums over alignments, and takes the same.

Helped by `log_softmax` before `nll_loss`, or `cross_entropy` on the raw scores, which is the same in one.

In a run, a likelihood written by hand is judged by its graph: of each sample one score is picked, of a softmax or a
layer, and the objective holds nothing but their sum, with a minus.

No fault when the model ends in `log_softmax`.

Sources: PyTorch documentation, `torch.nn.NLLLoss`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record.likelihoods import odd_likelihoods
from torchdx.rules.loss.kl_divergence_of_probabilities import POSITIVE, greatest_input, in_log
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import LossUse, Program

code, family, severity = "TDX603", "loss", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        *("not-learning", "diverged", "non-finite", "class-never-right"),
        *("nonfinite-value", "loss-without-floor", "exploding-gradient", "learning-rate-too-high"),
    }
)


LIKELIHOODS = ("nll_loss", "ctc_loss")
"""The losses that take log-probabilities and no logarithm themselves."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every likelihood of something that is certainly no log-probability."""
    for use in program.losses(*LIKELIHOODS):
        if use.ending.kind in ("probabilities", "logits"):
            yield Finding(
                message=f"`{use.call.text[:50]}` needs log-probabilities, and these are "
                f"{'probabilities' if use.ending.kind == 'probabilities' else 'raw scores'} ({use.ending.operation})",
                site=use.site,
                evidence={"input": use.ending.kind, "operation": use.ending.operation},
                cure="use log_softmax before it"
                + (", or cross_entropy on the raw scores" if use.kind == "nll_loss" else ""),
                confidence=0.97,
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every likelihood that was given positive values at every look in training."""
    for use in record.losses_called("nll_loss"):
        looks = list(use.calls())
        highest = greatest_input(use)
        if highest <= POSITIVE:
            continue
        likely = use.input_is("probabilities") or use.input_is("unit")
        yield Finding(
            message="`nll_loss` needs log-probabilities, all below 0, and was given "
            f"{'probabilities' if likely else 'raw scores'}, up to {highest:.3g}",
            site=use.site,
            evidence={"greatest input": highest, "value": use.series().last, "looks": len(looks)},
            cure="use log_softmax before it, or cross_entropy on the raw scores",
            confidence=0.97,
        )

    for what, picked in (("unlogged", "probability"), ("raw", "raw score")):
        for odd in odd_likelihoods(record, what):
            yield Finding(
                message=f"the objective is less the {picked} of the true class, picked among {odd.classes}, and no "
                "logarithm of a softmax is taken of it",
                site=odd.site,
                layer=odd.layer,
                evidence={"classes": odd.classes, "looks": odd.looks},
                cure="take log_softmax of the scores before the true class is picked, or use cross_entropy",
                confidence=0.9,
                severity="warning",
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    highest = [greatest_input(use) for use in record.losses_called("nll_loss") if any(True for _ in use.calls())]
    if highest:
        yield "POSITIVE", max(highest)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the logarithm where the softmax is, or let the loss do both."""
    use = next((use for use in program.losses(*LIKELIHOODS) if use.site == finding.site), None)
    if use is None:
        return
    if use.ending.kind == "probabilities" and len(use.ending.by) == 1:
        result = use.ending.by[0]
        found = edits.fix("take the logarithm of the softmax", result.home.file, list(in_log(result)))
    else:
        found = _with_both(use) if use.kind == "nll_loss" else None
    if found is not None and found.edits:
        yield found


def _with_both(use: LossUse) -> Fix | None:
    made = use.loss.call if use.loss is not None else use.call
    func = made.node.func if made is not None else None
    if made is None or not isinstance(func, ast.Attribute):
        return None
    name = "CrossEntropyLoss" if use.loss is not None else "cross_entropy"
    change = edits.replace(made.file, func, f"{made.file.text_of(func.value)}.{name}")
    only_here = use.loss is None and use.ending.kind == "logits"  # a loss object may have other uses
    return edits.fix("let the loss apply log-softmax", made.file, [change], safe=only_here)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), nn.Softmax(dim=1))
    loss_of = nn.NLLLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])  # TDX603
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
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10), nn.LogSoftmax(dim=1))
    loss_of = nn.NLLLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
