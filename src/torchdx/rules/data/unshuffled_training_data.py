"""The training data are taken in the same order in every epoch, because nothing shuffles them.

Seen as a training loss with the same ups and downs in each epoch; if the data happen to be stored by class, by source
or by date, as a model that says what it saw last.

Hurts because stochastic gradient descent rests on batches whose gradient is, on average, that of all data. In a fixed
order the errors of successive batches repeat from epoch to epoch instead of averaging out, batch normalisation always
sees the same samples together, and whatever order the data have becomes a bias of the last steps.

Helped by `shuffle=True` in the training loader.

No fault when the order means something (sequences, streams), when samples are drawn at random by the dataset, or when
one batch holds everything.

Sources: Y. Bengio, "Practical Recommendations for Gradient-Based Training of Deep Architectures" (2012), section 3;
L. Bottou, "Stochastic Gradient Descent Tricks" (2012), section 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.rules.data import unshuffled_batches
from torchdx.source.phases import unshuffled, whole_of
from torchdx.source.values import Instance, Item, Result

if TYPE_CHECKING:
    from torchdx.source import Program, UserClass

code, family, severity = "TDX508", "data", "note"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

INVENTED = re.compile(r"rand|dummy|fake|toy|synth|boring|mock|sample|gauss|noise", re.IGNORECASE)
ORDERED = re.compile(
    r"time|series|seq|stock|forecast|text|token|corpus|window|video|frame|stream|bptt|char|audio", re.I
)
CHANCE = re.compile(rb"rand|choice|sample\(|shuffle")
TRIAL = re.compile(r"(^|/)(tests?|bench\w*|profil\w*)/|(^|/)(test|bench)_[^/]*$|_test\.py$")


def in_source(program: Program) -> Iterator[Finding]:
    """Every loader that trains without shuffling, of a dataset with no order of its own and no chance in it."""
    for served in unshuffled(program):
        whole, _ = whole_of(served.dataset)
        made = served.made
        if not isinstance(whole, Instance) or TRIAL.search(made.file.path) or unshuffled_batches.is_by_class(served):
            continue
        if whole.name.startswith("torchvision.datasets."):
            if INVENTED.search(whole.name):
                continue
        elif whole.definition is None or not _is_plain(whole.definition) or _is_split(served.dataset):
            continue
        yield Finding(
            message="this loader trains and does not shuffle: each epoch has the same batches in the same order",
            site=made.site,
            cure="pass `shuffle=True`",
            confidence=0.85,
        )


def _is_split(dataset: object) -> bool:
    """A part drawn at random, whose order is at least no order of labels."""
    return isinstance(dataset, Item) and isinstance(dataset.of, Result)


def _is_plain(cls: UserClass) -> bool:
    """A dataset with an index whose samples neither follow each other nor are drawn at random."""
    if not cls.method("__getitem__") or not cls.method("__len__") or ORDERED.search(cls.name):
        return False
    start, end = cls.file.span(cls.node)
    return not INVENTED.search(cls.name) and not CHANCE.search(cls.file.bytes[start:end])


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Shuffle in the loader."""
    yield from unshuffled_batches.treat(program, finding)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Digits(Dataset[tuple[torch.Tensor, int]]):
        def __init__(self) -> None:
            self.digits = load_digits()

        def __len__(self) -> int:
            return len(self.digits.data)

        def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
            return torch.tensor(self.digits.data[row], dtype=torch.float32) / 16, int(self.digits.target[row])

    torch.manual_seed(0)
    loader = DataLoader(Digits(), batch_size=64)  # TDX508
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Digits(Dataset[tuple[torch.Tensor, int]]):
        def __init__(self) -> None:
            self.digits = load_digits()

        def __len__(self) -> int:
            return len(self.digits.data)

        def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
            return torch.tensor(self.digits.data[row], dtype=torch.float32) / 16, int(self.digits.target[row])

    torch.manual_seed(0)
    loader = DataLoader(Digits(), batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    class Drawn(Dataset[tuple[torch.Tensor, int]]):
        def __init__(self) -> None:
            self.digits = load_digits()

        def __len__(self) -> int:
            return len(self.digits.data)

        def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
            row = int(torch.randint(len(self.digits.data), ()))
            return torch.tensor(self.digits.data[row], dtype=torch.float32) / 16, int(self.digits.target[row])

    torch.manual_seed(0)
    loader = DataLoader(Drawn(), batch_size=64)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
