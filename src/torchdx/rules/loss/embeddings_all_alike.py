"""Embeddings are only ever pulled together: the loss is least where all of them are the same, and they become so.

Seen as a contrastive loss that falls fast to its lowest value, while neighbours found with the embeddings get worse.
Found in the autograd graph: what is minimised is a sum of products of vectors of one length, all with a minus, or of
their distances, under nothing but what rises with them, and both sides of each are trained; measured is how long the
mean of these vectors is, over their own length.

Hurts because -cos(z_i, z_j) is least, -1, for z_i = z_j. With pairs that belong together alone, one and the same vector
for every input gives the least loss there is. It is the others, the negatives, in the denominator of
-log(e^(s_ij) / sum_k e^(s_ik)), that keep vectors apart.

Helped by negatives: `- torch.logsumexp(similarity, dim=1)`, or cross entropy of all similarities; without any by
`.detach()` on one side behind a predictor, as SimSiam and BYOL have it, or a penalty on what varies too little.

No fault when one side has no gradient, when another term stands in the loss, or the vectors stay apart.

Sources: T. Wang and P. Isola, arXiv 2005.10242; X. Chen and K. He, arXiv 2011.10566, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX634", "loss", "warning"
needs = frozenset({"pull"})
explains = frozenset(
    {
        "not-learning",
        "overfitting",
        "validation-gap",
        "vanishing-gradient",
        "signal-lost-in-depth",
        "output-ignores-input",
        "dead-relu",
        "loss-without-floor",
    }
)

LOOKS = 4
"""Times that nothing but such products was minimised."""

ALIKE = 0.75
"""Length of the vectors' mean over their own at the end: from 0.95 on where nothing keeps them apart, 0.88 and 0.89
where a sigmoid is content before. Programs with negatives, or with no gradient on one side, are not of this form."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every place where only likeness is asked for, and was reached."""
    for alike, facts in _readings(record):
        if len(facts) >= LOOKS and alike > ALIKE:
            yield Finding(
                message="what is minimised only pulls embeddings together, and nothing pushes any apart: the same "
                f"vector for every input is best, and their mean is {alike:.0%} as long as they are",
                site=site_of(facts[-1]["site"]),
                evidence={
                    "mean over length at first": facts[0]["alike"],
                    "mean over length": alike,
                    "objective": facts[-1]["objective"],
                },
                cure="compare with the others of the batch, too: cross entropy over all similarities; or `.detach()` "
                "one side behind a predictor",
                confidence=0.95,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The vectors that are most alike, and how often they were seen."""
    found = _readings(record)
    if found:
        alike, facts = max(found, key=lambda one: one[0])
        yield "ALIKE", alike
        yield "LOOKS", len(facts)


def _readings(record: Record) -> list[tuple[float, list[Fact]]]:
    """How alike the vectors of each place are at the end, and all that was told of it."""
    places: dict[str, list[Fact]] = {}
    for fact in record.process.all("pull"):
        places.setdefault(str(fact["site"]), []).append(fact)
    return [(median(fact["alike"] for fact in facts[-3:]), facts) for facts in places.values()]


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.functional import cosine_similarity

    torch.manual_seed(0)
    digits = torch.tensor(load_digits().data / 16, dtype=torch.float32) - 0.3
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for rows in torch.randperm(len(digits)).split(64):
            one, other = (model(digits[rows] + 0.3 * torch.randn(len(rows), 64)) for _ in range(2))
            loss = 1 - cosine_similarity(one, other).mean()
            optimizer.zero_grad()
            loss.backward()  # TDX634
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.nn.functional import cross_entropy, normalize

    torch.manual_seed(0)
    digits = torch.tensor(load_digits().data / 16, dtype=torch.float32) - 0.3
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for rows in torch.randperm(len(digits)).split(64):
            one, other = (model(digits[rows] + 0.3 * torch.randn(len(rows), 64)) for _ in range(2))
            similarity = normalize(one, dim=1) @ normalize(other, dim=1).t()
            loss = cross_entropy(similarity / 0.2, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
