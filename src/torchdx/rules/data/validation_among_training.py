"""Samples that are evaluated on stand among those that were trained on.

Seen as a validation score that is too good, and falls on data that are really new. Measured are the samples' digests in
both data sets: how many are equal number by number, and how many lie nearer to a training sample than one in ten of the
usual distance between neighbours, where training samples do not lie so near to each other.

Hurts because a network can know such samples by heart: the score tells what was remembered, and early stopping or the
choice of settings by it favours whatever remembers most.

Helped by splitting once, by whatever belongs together (patient, document, video), before copies are made, augmented or
drawn anew, and by removing equal samples first.

No fault when samples are few numbers of few values, such as short rows of flags, which agree by chance: training then
repeats itself as often; or when a second loader of the training data tells how well these were learnt.

Sources: Kaufman et al. 2012, "Leakage in data mining"; Barz and Denzler 2020, "Do we train on test data? Purging CIFAR
of near-duplicates", who find 3.3 % there; scikit-learn documentation, "Common pitfalls: data leakage".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Site

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program

code, family, severity = "TDX505", "data", "warning"
needs = frozenset({"overlap"})
explains: frozenset[str] = frozenset()

SHARE = 0.01
"""Of what is evaluated on, from which equal samples are no accident. CIFAR-10, which has 3.3 % near ones, has below."""
NEAR = 0.05
"""The same of samples that are nearly equal."""
TIMES = 3.0
"""So many times as often as training repeats itself must evaluation repeat training."""
ALL = 0.99
"""From here on the data are the training data: no split went wrong, one was forgotten, or is not wanted here."""


def in_audit(record: Record, program: Program | None) -> Iterator[Finding]:
    """Every data set for evaluation that holds samples of training."""
    names = {pipeline.id: pipeline for pipeline in record.pipelines}
    facts = record.process.all("overlap")
    apart = any(fact["exact"] < SHARE * fact["checked"][1] for fact in facts)
    for fact in facts:
        count, whole = fact["exact"], fact["checked"][1]
        share, own = count / max(whole, 1), fact.get("own", 0.0)
        near = fact["near"] / max(fact.get("near_checked", whole), 1)
        judged = names.get(fact["eval"])
        if share > ALL and apart:
            continue
        if share > max(SHARE, TIMES * own) and count > 1:
            what = f"{count:,} of {whole:,} samples that are evaluated on stand among the training samples, too"
            places = ", ".join(f"{there} is {here}" for here, there in fact.get("examples", ())[:3])
            yield _finding(judged.site if judged else None, what, {"the same samples": places or None}, 0.95)
        elif near > max(NEAR, TIMES * fact.get("near_own", 0.0)):
            what = f"{fact['near']:,} of {whole:,} samples that are evaluated on are nearly equal to training samples"
            yield _finding(judged.site if judged else None, what, {"as near within training": fact["near_own"]}, 0.75)


def _finding(site: Site | None, what: str, evidence: dict[str, object], confidence: float) -> Finding:
    return Finding(
        message=what,
        site=site,
        evidence=evidence,
        cure="split once, before samples are copied or augmented, and by what belongs together",
        confidence=confidence,
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs, targets = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    held = torch.randperm(len(inputs))[:400]
    train = DataLoader(TensorDataset(inputs[order[:1400]], targets[order[:1400]]), batch_size=50, shuffle=True)
    tests = DataLoader(TensorDataset(inputs[held], targets[held]), batch_size=100)  # TDX505
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        for batch, wanted in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            print(sum((model(batch).argmax(1) == wanted).sum().item() for batch, wanted in tests) / len(held))


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    inputs, targets = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    held = order[1400:]
    train = DataLoader(TensorDataset(inputs[order[:1400]], targets[order[:1400]]), batch_size=50, shuffle=True)
    tests = DataLoader(TensorDataset(inputs[held], targets[held]), batch_size=100)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        for batch, wanted in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), wanted)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            print(sum((model(batch).argmax(1) == wanted).sum().item() for batch, wanted in tests) / len(held))
