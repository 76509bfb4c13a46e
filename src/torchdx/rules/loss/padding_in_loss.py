"""The padding at the end of sequences is counted in the loss as if it were an answer to be learnt.

Seen as a loss and an accuracy that look good from early on, a model that likes to stop, and figures that change with
the lengths that happen to be in a batch. Measured is how the rows of targets end: in runs of one and the same value, of
different lengths, which stands nowhere else and which the loss was not told to leave out. Where a small model is given
the lengths, or a mask, these tell which places are padding: a copy's loss is computed term by term at the end.

Hurts because padding is the easiest class of all, and may be the commonest: with a share s of it the gradient of the
real tokens is (1 - s) of what the mean pretends, the accuracy is at least s for knowing nothing, and a batch with one
long sequence counts the others' real tokens for less.

Helped by `ignore_index=` that value in the loss (a mean is then one over the real tokens alone), by padding targets
with -100, which is ignored as it is, or by selecting with a mask before the loss.

No fault when the value also stands within the sequences, as silence or background does, and no lengths are told, when
a model must learn where to stop and is padded with that very token once, when classes are weighted, or the loss is
masked after `reduction="none"`: then what is minimised is not the mean of all its terms.

Sources: PyTorch documentation, `torch.nn.CrossEntropyLoss`, `ignore_index`; `torch.nn.utils.rnn.pad_sequence`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import LossUse, Record

code, family, severity = "TDX621", "loss", "warning"
needs = frozenset({"loss"})
explains: frozenset[str] = frozenset()

SHARE = 0.2
"""Share of padding among the targets that are not left out from which it is told: below, the harm is small. Amazon
SageMaker Debugger's bound for padding that wastes time is a half. Eight sick programs read 0.34 to 0.51; of eight
healthy ones with sequences as targets, five of them written for this rule, none has a tail that is counted and stands
nowhere else."""

TOLD_SHARE = 0.1
"""The same where lengths or a mask tell which places are padding, so that there is no doubt. A tagger whose targets are
padded with the class of most words reads 0.2; healthy ones have no term there."""

LENGTHS = 3
"""Different lengths that the tails of a batch have, in the middle one of all looks: sequences that differ."""

LOOKS = 3
"""Looks, each at another batch, that must agree."""

SAME = 1e-5
"""How near the mean of all terms is to what is minimised, if they are one: rounding parts them, and where the padding
is left out they lie 0.001 apart before the first step, and farther after it."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every cross entropy whose rows of targets end in padding that it does not leave out."""
    found = False
    for use in record.losses_called("cross_entropy", "nll_loss"):
        tails = _tails(record, use)
        if len(tails) >= LOOKS and _lengths(tails) >= LENGTHS and _share(tails) > SHARE:
            found = True
            yield _finding(use, tails)
    told = _unmasked(record)
    if told and told["share"] > TOLD_SHARE and not found:
        yield Finding(
            message=f"{told['share']:.0%} of the targets are padding, as what the model is given tells (lengths or a "
            f"mask), and the loss counts them: they are all {told['target']}, as if that were the answer",
            site=site_of(record.experiments.replay.get("site")),
            evidence={"share of padding among the targets": told["share"], "value": told["target"]},
            cure="pad the targets with the loss's ignore_index (-100 where nothing is said), or mask the loss",
            confidence=0.9,
        )


def _unmasked(record: Record) -> Mapping[str, Any]:
    """What is known of the targets at padded places where the loss has a term for every one of them."""
    if any(use.option("weight") for use in record.losses):
        return {}
    told = [fact["unmasked"] for fact in record.process.all("padding") if fact.get("unmasked")]
    return told[-1] if told and told[-1]["counted"] == 1 else {}


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for use in record.losses_called("cross_entropy", "nll_loss"):
        tails = _tails(record, use)
        if len(tails) >= LOOKS:
            yield "LENGTHS", _lengths(tails)
            yield "SHARE", _share(tails)
    if told := _unmasked(record):
        yield "TOLD_SHARE", told["share"]


def _tails(record: Record, use: LossUse) -> list[dict[str, Any]]:
    """How the targets end at each look, if that is in one value, found nowhere else, that is counted."""
    by_term = use.option("reduction") == "none"
    looks = [look for look in use.calls() if not by_term or look["phase"] == "train"]
    tails = [_of_counted(use, look["target"]) for look in looks]
    values = {tail["value"] if tail else None for tail in tails}
    value = values.pop() if len(values) == 1 else None
    left_out = value is None or value < 0 or value == use.option("ignore_index")
    if left_out or use.option("weight") or (by_term and not all(_is_whole(record, look) for look in looks)):
        return []
    found = [tail for tail in tails if tail]
    return found if all(tail["elsewhere"] == 0 for tail in found) else []


def _of_counted(use: LossUse, target: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the targets end, with the tails' share of those targets that the loss does not leave out, as a prompt is."""
    tail, counts, ignored = target.get("tail"), target.get("counts"), str(use.option("ignore_index"))
    if not tail or not counts:
        return dict(tail) if tail else None
    counted = sum(count for label, count in counts.items() if label != ignored)
    return {**tail, "share": tail["share"] * math.prod(target["shape"]) / counted} if counted else None


def _is_whole(record: Record, look: Mapping[str, Any]) -> bool:
    """Is what training minimises the mean, or a sum, of all terms that the loss gave at a look, padding as well?"""
    value, objective, shape = look.get("value"), dict(record.objective).get(look["step"]), look["target"]["shape"]
    wholes = {1, math.prod(shape), math.prod(shape[1:])}
    return bool(value and objective and any(math.isclose(objective, value * n, rel_tol=SAME) for n in wholes))


def _lengths(tails: list[dict[str, Any]]) -> float:
    return float(median(tail["lengths"] for tail in tails))


def _share(tails: list[dict[str, Any]]) -> float:
    return fmean(tail["share"] for tail in tails)


def _finding(use: LossUse, tails: list[dict[str, Any]]) -> Finding:
    value, share = tails[0]["value"], _share(tails)
    return Finding(
        message=f"{share:.0%} of the targets that count are padding: the rows end in runs of {value}, which stands "
        f"nowhere else, and `{use.function}` counts them",
        site=use.site,
        evidence={
            "share of padding among the targets": share,
            "value": value,
            "ignore_index": use.option("ignore_index"),
            "looks": len(tails),
            "shares": [tail["share"] for tail in tails[:50]],
            "lengths of tails in a batch": _lengths(tails),
        },
        cure=f"tell the loss to leave it out: ignore_index={value}",
        confidence=0.9,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer, load_wine
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    torch.manual_seed(0)
    names = [*load_breast_cancer().feature_names, *load_wine().feature_names]
    letters = sorted(set("".join(names)))
    words = [torch.tensor([letters.index(letter) + 1 for letter in name]) for name in names]
    text = pad_sequence(words, batch_first=True)
    embedding, gru = nn.Embedding(len(letters) + 1, 16), nn.GRU(16, 32, batch_first=True)
    out = nn.Linear(32, len(letters) + 1)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam([*embedding.parameters(), *gru.parameters(), *out.parameters()], lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(text)).split(12):
            optimizer.zero_grad()
            states, _ = gru(embedding(text[rows, :-1]))
            loss = loss_of(out(states).flatten(0, 1), text[rows, 1:].flatten())  # TDX621
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer, load_wine
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    torch.manual_seed(0)
    names = [*load_breast_cancer().feature_names, *load_wine().feature_names]
    letters = sorted(set("".join(names)))
    words = [torch.tensor([letters.index(letter) + 1 for letter in name]) for name in names]
    text = pad_sequence(words, batch_first=True)
    embedding, gru = nn.Embedding(len(letters) + 1, 16), nn.GRU(16, 32, batch_first=True)
    out = nn.Linear(32, len(letters) + 1)
    loss_of = nn.CrossEntropyLoss(ignore_index=0)
    optimizer = torch.optim.Adam([*embedding.parameters(), *gru.parameters(), *out.parameters()], lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(text)).split(12):
            optimizer.zero_grad()
            states, _ = gru(embedding(text[rows, :-1]))
            loss = loss_of(out(states).flatten(0, 1), text[rows, 1:].flatten())
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer, load_wine
    from torch import nn
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    names = [*load_breast_cancer().feature_names, *load_wine().feature_names]
    letters = sorted(set("".join(names)))
    lengths = torch.tensor([len(name) for name in names])
    text = torch.zeros(len(names), int(lengths.max()), dtype=torch.long)
    for row, name in enumerate(names):
        text[row, : len(name)] = torch.tensor([letters.index(letter) for letter in name])
    embedding, gru, out = nn.Embedding(len(letters), 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, len(letters))
    optimizer = torch.optim.Adam([*embedding.parameters(), *gru.parameters(), *out.parameters()], lr=0.01)
    for _ in range(20):
        for rows in torch.randperm(len(text)).split(12):
            optimizer.zero_grad()
            scores = out(gru(embedding(text[rows, :-1]))[0])
            each = cross_entropy(scores.transpose(1, 2), text[rows, 1:], reduction="none")
            real = torch.arange(1, text.shape[1]) < lengths[rows, None]
            real_loss = each[real].mean()
            real_loss.backward()
            optimizer.step()
    print(f"{real_loss.item():.3f}")
