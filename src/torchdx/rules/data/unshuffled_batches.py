"""Each training batch holds only a few of the classes, because the data are sorted by label and never shuffled.

Seen as a loss that is near zero within a batch and leaps at the next, and a model that says what it saw last; measured
is the entropy of the labels in a batch beside what random batches of the same size would have.

Hurts because each step follows the gradient of one class alone: the model learns to answer it to everything, and
unlearns it at the next. Stochastic gradient descent rests on batches whose gradient is, on average, that of all data.

Helped by `shuffle=True` in the training loader (or `torch.randperm` where batches are cut by hand).

No fault when a sampler of the user's own makes up the batches, when each batch is so small that chance explains it, or
when the loader serves evaluation.

Sources: Y. Bengio, "Practical Recommendations for Gradient-Based Training of Deep Architectures" (2012), section 3;
PyTorch documentation, `torch.utils.data.DataLoader`.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix, NotEnough
from torchdx.record import CLASSIFIERS
from torchdx.record.answers import by_label
from torchdx.source import edits
from torchdx.source.phases import unshuffled
from torchdx.source.reading import words
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.finding import Site
    from torchdx.record import Loader, Record
    from torchdx.source import Program
    from torchdx.source.phases import Pass

code, family, severity = "TDX503", "data", "warning"
needs = frozenset({"loss"})
explains = frozenset(
    {
        *("not-learning", "diverged", "validation-gap", "train-eval-gap"),
        *("exploding-gradient", "learning-rate-too-high", "labels-unrelated", "class-never-right", "loss-bounces"),
    }
)

BY_CLASS = words("torchvision.datasets.ImageFolder torchvision.datasets.DatasetFolder torchvision.datasets.Caltech101")
"""Datasets that list one class after the other."""

PURE = 0.5
"""Entropy of a batch over that of a random one, in the middle look (catalogue, row 33): the healthy zoo and forty other
programs read 0.98 to 1.05 (single batches 0.59 and up), data sorted by class 0 to 0.35."""

LOOKS = 5
"""Looks that are needed to know the classes of the whole data and the middle batch."""

MIXED = 0.3
"""Nats that random batches must have to be told from pure ones: batches of one sample never have any."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every loader that trains a classifier on a folder of classes, in the folder's order."""
    for served in unshuffled(program):
        if is_by_class(served) and _uses_labels(served):
            yield Finding(
                message="this loader trains on data stored class by class and does not shuffle them",
                site=served.made.site,
                cure="give the training DataLoader shuffle=True",
                confidence=0.95,
            )


def is_by_class(served: Pass) -> bool:
    """Are the data certainly in the order of their labels?"""
    return isinstance(served.dataset, Instance) and served.dataset.name in BY_CLASS


def _uses_labels(served: Pass) -> bool:
    target = served.loop.target if isinstance(served.loop, ast.For) else None
    if isinstance(target, ast.Tuple) and isinstance(target.elts[-1], ast.Tuple):  # for number, (images, labels) in
        target = target.elts[-1]
    if not isinstance(target, ast.Tuple):
        return target is not None
    last = target.elts[-1]
    return not (isinstance(last, ast.Name) and last.id.startswith("_"))


def in_run(record: Record) -> Iterator[Finding | NotEnough]:
    """A classifier whose batches are far purer than chance."""
    loader = _loader(record)
    if loader is not None and loader.order != "sequential":
        return
    for site, labels in _batches(record):
        if len(labels) < LOOKS:
            yield NotEnough(needs=f"at least {LOOKS} looks at the labels")
            continue
        ratios = _purities(labels)
        if len(ratios) < LOOKS or median(ratios) >= PURE:
            continue
        classes, whole = median(map(len, labels)), len(_whole(labels))
        yield Finding(
            message=f"the middle training batch holds {classes:.0f} of {whole} classes: the data are sorted and not "
            "shuffled",
            site=loader.site if loader is not None else site,
            evidence={
                "entropy of a batch over that of a random one": median(ratios),
                "classes in a batch": classes,
                "classes in all": whole,
                "commonest label of each batch": [max(batch, key=batch.__getitem__) for batch in labels[:50]],
            },
            cure="give the training DataLoader shuffle=True",
            confidence=0.95,
        )
        return


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    read = [median(ratios) for _, labels in _batches(record) if len(ratios := _purities(labels)) >= LOOKS]
    if read:
        yield "PURE", min(read)


def _batches(record: Record) -> Iterator[tuple[Site | None, list[dict[int, int]]]]:
    """For each loss of a classifier with one label a sample: the labels of its training batches, all over the run."""
    for group in record.answers:
        uses = [use for use in record.losses_called(group.function) if use.site == group.site]
        told = [fact["wanted"] for fact in group.told if fact.get("wanted")]
        looks = [look["target"].get("shape", ()) for use in uses for look in use.calls()]
        drawn = group.function in CLASSIFIERS or _loader(record) is not None  # each of a discriminator's has one label
        single = all(len(shape) == 1 or [*shape[1:]] == [1] for shape in looks)
        if group.phase == "train" and told and looks and drawn and single:
            yield group.site, [by_label(counts) for counts in told]


def _whole(labels: Sequence[Mapping[int, int]]) -> Counter[int]:
    """How often each label was seen, over all batches."""
    counts: Counter[int] = Counter()
    for batch in labels:
        counts.update(batch)
    return counts


def _purities(labels: Sequence[Mapping[int, int]]) -> list[float]:
    """The entropy of each batch over that of a random one, where chance can be told."""
    whole = _whole(labels)
    ratios = (_purity(batch, whole) for batch in labels)
    return [ratio for ratio in ratios if ratio is not None]


def _loader(record: Record) -> Loader | None:
    """The loader that the first training phase drew from."""
    number = next((phase.loader for phase in record.phases("train")), None)
    return next((loader for loader in record.loaders if loader.id == number), None)


def _purity(labels: Mapping[int, int], whole: Mapping[int, int]) -> float | None:
    """The batch's entropy over the mean entropy of random batches of its size; None where chance cannot be told."""
    size, total = sum(labels.values()), sum(whole.values())
    usual = sum(_expected(size, count / total) for count in whole.values())
    if usual < MIXED:
        return None
    return sum(_term(count / size) for count in labels.values()) / usual


def _expected(size: int, share: float) -> float:
    """The mean of -f log f for the frequency f of a class among `size` random draws."""
    if size > 512:  # then hardly below the entropy itself
        return _term(share)
    chances = (math.comb(size, k) * share**k * (1 - share) ** (size - k) for k in range(size + 1))
    return sum(chance * _term(k / size) for k, chance in enumerate(chances))


def _term(share: float) -> float:
    return -share * math.log(share) if share > 0 else 0.0


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Shuffle in the loader."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call) or not file.text_of(node.func).endswith("DataLoader"):
        return
    given = next((keyword.value for keyword in node.keywords if keyword.arg == "shuffle"), None)
    if given is not None:
        change = edits.replace(file, given, "True")
    elif len(node.args) > 2:
        change = edits.replace(file, node.args[2], "True")
    else:
        change = edits.insert_keyword(file, node, "shuffle=True")
    found = edits.fix("shuffle the training data", file, [change])
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    wine = load_wine()
    table = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    loader = DataLoader(TensorDataset(table, torch.tensor(wine.target)), batch_size=16)  # TDX503
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(10):
        for rows, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(rows), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    wine = load_wine()
    table = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    loader = DataLoader(TensorDataset(table, torch.tensor(wine.target)), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(10):
        for rows, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(rows), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()  # in no order of labels to begin with
    pictures = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    loader = DataLoader(TensorDataset(pictures, torch.tensor(digits.target)), batch_size=8)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
