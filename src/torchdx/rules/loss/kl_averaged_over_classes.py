"""The Kullback-Leibler divergence is divided by the number of classes as well as by that of the samples.

Seen as a divergence that is ten times too small for 10 classes, a distillation in which the teacher hardly counts, and
PyTorch's warning "reduction: 'mean' divides the total loss by both the batch size and the support size".

Hurts because a divergence is a sum over the classes, p * (log p - log q), and only the samples are to be averaged. The
default, `reduction="mean"`, averages over everything, so that with C classes the loss and its gradient are C times
smaller; its weight beside another loss changes with C, and the number is no divergence.

Helped by `reduction="batchmean"`; where a weight was tuned for the small value, divide that by the number of classes.

No fault when the loss stands alone, under an optimizer such as Adam, to which its scale does not matter.

Sources: PyTorch documentation, `torch.nn.KLDivLoss`: "reduction='mean' doesn't return the true KL divergence value".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Call, LossUse, Program

code, family, severity = "TDX611", "loss", "note"
needs = frozenset({"loss"})
explains: frozenset[str] = frozenset()


def in_source(program: Program) -> Iterator[Finding]:
    """Every divergence with the default reduction, "mean", or a mean of all after it, told where that is chosen."""
    for home in {use.site: _home(use) for use in program.losses("kl_div") if _is_averaged(use)}.values():
        yield Finding(
            message=f"`{' '.join(home.text.split())[:50]}` averages over the classes, too: it is the divergence "
            "divided by their number",
            site=home.site,
            evidence={"reduction": "mean"},
            cure='write reduction="batchmean"',
            confidence=0.95,
        )

    for use in program.losses("kl_div"):
        if _is_averaged_after(use):
            yield Finding(
                message=f"`{' '.join(use.call.text.split())[:50]}` is averaged over the classes, too: it is the "
                "divergence divided by their number",
                site=use.site,
                evidence={"reduction": "none, then mean()"},
                cure='sum over the classes, and average over the samples: `.sum(-1).mean()`, or reduction="batchmean"',
                confidence=0.95,
            )


def in_run(record: Record) -> Iterator[Finding]:
    """Every divergence over several classes that was averaged over them, too, where its scale matters."""
    if len({use.function for use in record.losses}) < 2 and all(one.is_scale_free for one in record.optimizers):
        return
    for use in record.losses_called("kl_div"):
        shape: Sequence[int] = next((look["input"].get("shape", ()) for look in use.calls()), ())
        if use.option("reduction") == "mean" and len(shape) > 1 and shape[-1] > 1:
            yield Finding(
                message=f"`kl_div` averages over the {shape[-1]} classes, too: it is the divergence divided by their "
                "number",
                site=use.site,
                evidence={"reduction": "mean", "input shape": str(tuple(shape))},
                cure='write reduction="batchmean"',
                confidence=0.9,
            )


def _home(use: LossUse) -> Call:
    """Where the loss's options are given."""
    return use.loss.call if use.loss is not None and use.loss.call is not None else use.call


def _is_averaged(use: LossUse) -> bool:
    home = _home(use)
    places = 0 if use.loss is not None else 2
    if len(home.node.args) > places or not home.is_certain or home.gives("size_average") or home.gives("reduce"):
        return False
    if any(keyword.arg is None for keyword in home.node.keywords):
        return False
    chosen = use.option("reduction")
    return chosen is None or literal(chosen) == "mean"


def _is_averaged_after(use: LossUse) -> bool:
    """Are the divergences of single classes averaged, all of them alike?"""
    chosen, above = use.option("reduction"), use.call.file.parent(use.call.node)
    if chosen is None or literal(chosen) != "none" or not isinstance(above, ast.Attribute) or above.attr != "mean":
        return False
    mean = use.call.file.parent(above)
    return isinstance(mean, ast.Call) and mean.func is above and not mean.args and not mean.keywords


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Average over the samples alone."""
    for use in program.losses("kl_div"):
        home = _home(use)
        if home.site == finding.site and _is_averaged(use):
            given = home.argument(None, "reduction")
            change = (
                edits.replace(home.file, given.node, '"batchmean"')
                if given is not None
                else edits.insert_keyword(home.file, home.node, 'reduction="batchmean"')
            )
            found = edits.fix("average over the samples alone", home.file, [change])
            if found is not None:
                yield found
            return


def sick() -> None:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    teacher = F.softmax(inputs @ torch.randn(8, 5), dim=1)
    student = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = F.kl_div(F.log_softmax(student(inputs[rows]), dim=1), teacher[rows])  # TDX611
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    teacher = F.softmax(inputs @ torch.randn(8, 5), dim=1)
    student = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = F.kl_div(F.log_softmax(student(inputs[rows]), dim=1), teacher[rows], reduction="batchmean")
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    inputs = torch.randn(512, 8)
    teacher = F.softmax(inputs @ torch.randn(8, 5), dim=1)
    student = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
    divergence = nn.KLDivLoss(reduction="none")
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = divergence(F.log_softmax(student(inputs[rows]), dim=1), teacher[rows]).sum(1).mean()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
