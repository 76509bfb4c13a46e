"""A sampler that draws by weight has fewer weights than there are samples, so that it never draws most of them.

Seen as training that overfits at once, on a handful of samples, while the loader is as long as ever. Compared are the
number of weights and the length of the data set; in the source, what is handed over is counts of classes, or as many
numbers as there are classes.

Hurts because `WeightedRandomSampler(weights, n)` draws n places out of 0 .. len(weights) - 1: its weights are those of
the samples, one each. Given [1 / 900, 1 / 100], for two classes, it draws the first two samples again and again, and
the model learns these two by heart.

Helped by a weight for each sample: `weights = class_weights[labels]`.

No fault when the sampler is asked for something else than places in a data set.

Sources: PyTorch documentation, `torch.utils.data.WeightedRandomSampler`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.values import Group, Instance, Item, Literal, Operation, Result

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program
    from torchdx.source.expressions import Expression
    from torchdx.source.values import Value

code, family, severity = "TDX523", "data", "error"
needs = frozenset({"loader"})
explains = frozenset(
    {
        "not-learning",
        "overfitting",
        "validation-gap",
        "one-class-predictions",
        "class-never-right",
        "loss-bounces",
        "labels-unrelated",
        "train-eval-gap",
        "vanishing-gradient",
        "output-ignores-input",
    }
)

SAMPLER, LOADER = "torch.utils.data.WeightedRandomSampler", "torch.utils.data.DataLoader"
COUNTS = ("bincount", "unique", "value_counts", "compute_class_weight")
SAME = ("tensor", "as_tensor", "array", "asarray", "float", "double", "clone", "numpy", "tolist", "list", "to", "cpu")
MOST_CLASSES = 20
"""Numbers written out one by one that may be of classes; a longer list may be of a tiny data set's samples."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every loader with more samples than its sampler has weights."""
    for loader in record.loaders:
        if loader.weights is not None and loader.samples is not None and 0 < loader.weights < loader.samples:
            yield Finding(
                message=f"the sampler has {loader.weights} weights for {loader.samples} samples: it draws the first "
                f"{loader.weights} of them, again and again, and never another",
                site=loader.weighted or loader.site,
                evidence={"weights": loader.weights, "samples": loader.samples},
                cure="give it one weight for each sample: `weights = class_weights[labels]`",
                confidence=0.98,
            )


def in_source(program: Program) -> Iterator[Finding]:
    """Every sampler of a loader that is given what was counted by class."""
    samplers = [*program.calls(SAMPLER)]
    used = {
        sampler.call.node
        for loader in (program.calls(LOADER) if samplers else ())
        for sampler in loader.argument_value(4, "sampler").alternatives()
        if isinstance(sampler, Instance) and sampler.call is not None
    }
    for call in samplers:
        weights, drawn = call.argument(0, "weights"), call.argument(1, "num_samples")
        if call.node not in used or weights is None or drawn is None or not _is_of_samples(drawn, weights):
            continue
        if all(_is_of_classes(value) for value in weights.value.alternatives()):
            yield Finding(
                message=f"`{weights.text}` has one number a class, and the sampler takes one a sample: it draws only "
                "as many of the first samples as there are classes",
                site=call.site,
                cure="give it one weight for each sample: `weights = class_weights[labels]`",
                confidence=0.9,
            )


def _is_of_samples(drawn: Expression, weights: Expression) -> bool:
    """Is the number to draw the length of something, and not that of the weights themselves?"""
    value = drawn.value
    return isinstance(value, Result) and value.dotted == "len" and weights.text not in drawn.text


def _is_of_classes(value: Value, depth: int = 0) -> bool:
    """Was it counted by class, or is it a few numbers written out?"""
    if depth > 12:
        return False
    if isinstance(value, Group):
        return not value.open and 1 < len(value.items) <= MOST_CLASSES and all(map(_is_number, value.items))
    if isinstance(value, Operation):
        sides = list(value.values())
        of_classes = [_is_of_classes(side, depth + 1) for side in sides]
        return any(of_classes) and all(
            own or isinstance(side, Literal) or _is_reduced(side) for own, side in zip(of_classes, sides, strict=True)
        )
    if isinstance(value, Item):
        counted = value.of if isinstance(value.key, int) and value.key > 0 else None
        return isinstance(counted, Result) and counted.call.method == "unique"
    if not isinstance(value, Result):
        return False
    word = value.dotted.rpartition(".")[2]
    return (word in COUNTS and word != "unique") or (word in SAME and _is_of_classes(value.input, depth + 1))


def _is_number(value: Value) -> bool:
    return isinstance(value, Literal) or (isinstance(value, Operation) and all(map(_is_number, value.values())))


def _is_reduced(value: Value) -> bool:
    """Is it one number: a sum, a length?"""
    return isinstance(value, Result) and value.dotted.rpartition(".")[2] in (
        "sum",
        "max",
        "min",
        "mean",
        "len",
        "numel",
    )


def sick() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target)
    class_weights = 1 / torch.bincount(labels)
    samples = TensorDataset(inputs, labels)
    sampler = WeightedRandomSampler(class_weights.tolist(), len(samples))  # TDX523
    loader = DataLoader(samples, batch_size=32, sampler=sampler)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for batch, wanted in loader:
            loss = nn.functional.cross_entropy(model(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target)
    class_weights = 1 / torch.bincount(labels)
    samples = TensorDataset(inputs, labels)
    sampler = WeightedRandomSampler(class_weights[labels].tolist(), len(samples))
    loader = DataLoader(samples, batch_size=32, sampler=sampler)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(4):
        for batch, wanted in loader:
            loss = nn.functional.cross_entropy(model(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
