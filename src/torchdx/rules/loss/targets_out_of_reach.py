"""The last activation cannot give what the targets are.

Seen as a regression that never predicts below zero, or beyond one, and stays far from targets that lie there. Measured
is the operation of autograd that made the compared output, and the share of the same call's targets outside its range.
Of an activation of the program's own, in a small model, the range is what comes out of a copy at the end, whatever the
weights of its last layer are.

Hurts because relu(x) >= 0, 0 < sigmoid(x) < 1, -1 < tanh(x) < 1: a target beyond is never met, whatever is learnt. The
error there pushes the layer before on and on, to where the activation is flat and its gradient is lost; half of
standardised targets are negative.

In a GAN the targets are the data: what the generator's last activation cannot give gives it away at a glance.

Helped by no activation after the last layer, or by targets that are scaled into its range.

No fault when all but a few targets lie within the range.

Sources: I. Goodfellow, Y. Bengio and A. Courville, "Deep Learning" (2016), section 6.2.2 on output units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.record import site_of

if TYPE_CHECKING:
    from torchdx.record import Fact, Record

code, family, severity = "TDX614", "loss", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        "not-learning",
        "dead-relu",
        "forget-gate-shut",
        "initial-loss-off-scale",
        "learning-rate-too-high",
        "output-ignores-input",
        "saturated-activation",
        "vanishing-gradient",
    }
)

SHARE = 0.1
"""Mean share of targets out of reach: 0 in healthy programs whose last activation fits, from 0.3 on, standardised
targets after a tanh, in sick ones; a few stray ones may be cut off on purpose."""

LOOKS = 3
"""Looks that the mean is of."""


MOST = 0.25
"""Share of one batch's targets, of TARGETS and more, outside the range of an activation of the program's own: 0.69
where standardised targets are compared with levels from 0 to 1; what only one batch tells has the wider margin."""

TARGETS = 16
"""Targets in that batch."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every regression that compares what comes out of a bounded activation with targets that often lie beyond."""
    for looks in _uses(record):
        share = fmean(look["beyond"] for look in looks)
        if len(looks) >= LOOKS and share > SHARE:
            yield _finding(record, looks, share)
    own = record.experiments.result("output_bounds")
    if not _uses(record) and own and own["beyond"] > MOST and own["targets"] >= TARGETS:
        yield _of_its_own(record, own)


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The greatest mean share of targets out of reach, and of how many looks it is."""
    uses = [(fmean(look["beyond"] for look in looks), len(looks)) for looks in _uses(record)]
    if uses:
        yield "SHARE", max(uses)[0]
        yield "LOOKS", max(uses)[1]
    own = record.experiments.result("output_bounds")
    if own:
        yield "MOST", own["beyond"]
        yield "TARGETS", own["targets"]


def _uses(record: Record) -> list[Sequence[Fact]]:
    """The looks at each activation that ends in a regression."""
    uses: dict[tuple[object, ...], list[Fact]] = {}
    for fact in record.process.all("bound"):
        uses.setdefault((fact["by"], fact.get("after"), fact.get("rival")), []).append(fact)
    return list(uses.values())


def _finding(record: Record, looks: Sequence[Fact], share: float) -> Finding:
    by, low, high = looks[0]["by"], looks[0]["low"], looks[0].get("high")
    before = next((p for p in record.parameters if p.id == looks[0].get("after")), None)
    reach = f"nothing below {low:g}" + ("" if high is None else f" or above {high:g}")
    after = f" after `{before.layer}`" if before is not None and before.layer else ""
    compared, theirs = "compared with the targets", "targets"
    if looks[0].get("rival"):
        compared, theirs = "to pass for the data that another model is given", "data's values"
    return Finding(
        message=f"the output that is {compared} is that of a {by}{after}, which gives {reach}, and {share:.0%} of the "
        f"{theirs} lie there",
        site=before.site if before is not None else None,
        layer=before.layer if before is not None else None,
        evidence={"activation": by, "targets out of reach": share, "looks": len(looks)},
        cure=f"leave out the {by} after the last layer, or scale the targets into its range",
        confidence=0.95,
    )


def _of_its_own(record: Record, own: Fact) -> Finding:
    """Of an activation that torch does not know by name."""
    low, high = own["low"], own["high"]
    reach = " or ".join(f"{how} {end:g}" for how, end in (("below", low), ("above", high)) if end is not None)
    return Finding(
        message=f"whatever the last weights are, the output that is compared, that of {own['by']}, gives "
        f"nothing {reach}, and {own['beyond']:.0%} of a batch's targets lie there",
        site=site_of(record.experiments.replay.get("site")),
        evidence={"activation": own["by"], "targets out of reach": own["beyond"], "targets": own["targets"]},
        cure="leave out the activation after the last layer, or scale the targets into its range",
        confidence=0.9,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    diabetes = load_diabetes()
    inputs = torch.tensor(diabetes.data / diabetes.data.std(0), dtype=torch.float32)
    targets = torch.tensor(diabetes.target, dtype=torch.float32)[:, None]
    targets = (targets - targets.mean()) / targets.std()
    model = nn.Sequential(
        nn.Linear(10, 32),
        nn.ReLU(),
        nn.Linear(32, 1),  # TDX614
        nn.ReLU(),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    diabetes = load_diabetes()
    inputs = torch.tensor(diabetes.data / diabetes.data.std(0), dtype=torch.float32)
    targets = torch.tensor(diabetes.target, dtype=torch.float32)[:, None]
    targets = (targets - targets.mean()) / targets.std()
    model = nn.Sequential(
        nn.Linear(10, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(12):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    pictures = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    decoder = nn.Sequential(nn.ReLU(), nn.Linear(16, 64), nn.Sigmoid())
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(pictures)).split(64):
            optimizer.zero_grad()
            made = decoder(encoder(pictures[rows]))  # targets from 0 to 1, ends included
            loss = (made - pictures[rows]).square().mean() + 0.001 * torch.relu(made - 0.5).square().mean()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
