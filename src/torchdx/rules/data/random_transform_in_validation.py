"""Validation or test data go through random augmentation.

Seen as a score that differs each time the same model is measured, and is lower than the model deserves.

Hurts because the score is then that of altered pictures: a crop may miss the object, a jitter changes its colours. It
adds variance between measurements, which the choice of the best epoch takes for progress.

Helped by a second set of transforms without the random ones for the data that are measured (`Resize`, `CenterCrop`,
`ToTensor`, `Normalize`). Parts of `random_split` share their dataset and its transform: make the dataset twice, once
for each, and split both by the same indices.

No fault when predictions are averaged over several random views of each sample, or the loader trains, too.

Sources: A. Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks" (2012), section 4.1;
torchvision documentation, "Transforming and augmenting images".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.expressions import Call
from torchdx.source.phases import held_out, whole_of
from torchdx.source.reading import words
from torchdx.source.values import Group, Instance, Value, literal

if TYPE_CHECKING:
    from torchdx.source import Program

code, family, severity = "TDX506", "data", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"validation-gap"})

RANDOM = words(
    "RandomCrop RandomHorizontalFlip RandomVerticalFlip RandomResizedCrop RandomRotation RandomAffine RandomErasing "
    "RandomPerspective RandomGrayscale RandomInvert RandomPosterize RandomSolarize RandomAdjustSharpness "
    "RandomAutocontrast RandomEqualize RandomZoomOut RandomPhotometricDistort RandomIoUCrop RandomSizedCrop "
    "ColorJitter AutoAugment RandAugment TrivialAugmentWide AugMix ElasticTransform"
)
SURE = words("RandomResizedCrop RandomSizedCrop RandomCrop RandomRotation RandomAffine ColorJitter")
"""Those that have no probability of their own."""
ALBUMENTED = words(
    "HorizontalFlip VerticalFlip Flip RandomRotate90 Rotate ShiftScaleRotate RandomCrop RandomResizedCrop GaussNoise "
    "RandomBrightnessContrast ColorJitter HueSaturationValue RandomGamma ElasticTransform GridDistortion CoarseDropout"
)
CHOOSING = re.compile(r"train|mode|split|phase|aug|eval|test|valid|stage", re.IGNORECASE)
"""Parameters by which a dataset of the project's may choose among transforms itself."""

SEVERAL_VIEWS = re.compile(r"\btta|augment.*test|test.*augment|n_?crops|views", re.IGNORECASE)
DEEPEST = 4


def in_source(program: Program) -> Iterator[Finding]:
    """Every dataset that serves measurements only, or is a library's for testing, and alters its samples at random."""
    if not any(b"Random" in file.bytes or b"ColorJitter" in file.bytes for file in program.torch_files):
        return
    told = set()
    for dataset, why in (*_by_use(program), *_by_data(program)):
        call = dataset.call
        random = _random_step(_transform(dataset)) if call is not None else None
        if (
            call is None
            or random is None
            or call.node in told
            or SEVERAL_VIEWS.search(call.file.path.rpartition("/")[2])
        ):
            continue
        told.add(call.node)
        step = random.name.rpartition(".")[2]
        yield Finding(
            message=f"{why}, and `{step}` ({random.site.seen_from(call.file.path)}) alters its samples at random",
            site=call.site,
            evidence={"random": step, "at": str(random.site)},
            cure="give the data that are measured transforms without random ones",
            confidence=0.9,
        )


def _by_use(program: Program) -> Iterator[tuple[Instance, str]]:
    trained = {served.key for served in program.passes if served.phase == "training"}
    for served in program.passes:
        if served.phase != "evaluation" or served.key in trained:
            continue
        whole, is_part = whole_of(served.dataset)
        if isinstance(whole, Instance) and not (is_part and _is_exchanged(program)):
            place = served.file.site(served.loop) if served.loop is not None else None
            where = f"the loop at {place.seen_from(whole.call.file.path)}" if place and whole.call else "a trainer"
            yield whole, f"{'a part of this dataset' if is_part else 'this dataset'} is measured on by {where}"


def _by_data(program: Program) -> Iterator[tuple[Instance, str]]:
    """Datasets of a library's that say themselves that they are for testing, none of which trains."""
    wholes = [whole_of(served.dataset)[0] for served in program.passes if served.phase == "training"]
    trained = {whole.call.node for whole in wholes if isinstance(whole, Instance) and whole.call is not None}
    for file in program.torch_files:
        if b"torchvision" not in file.bytes or b"Random" not in file.bytes:
            continue
        for word, nodes in file.index.calls.items():
            for node in nodes if word[:1].isupper() else ():
                if node not in trained and any(key.arg in ("train", "split") for key in node.keywords):
                    value = program.evaluate(file, node)
                    part = held_out(value)
                    if part is not None and isinstance(value, Instance):
                        yield value, f"this dataset is for {part}"


def _is_exchanged(program: Program) -> bool:
    """Is a dataset's transform set anew anywhere, as for one part of a split?"""
    return any(
        binding.name in ("transform", "transforms")
        for file in program.torch_files
        if b".transform" in file.bytes
        for bindings in file.index.attributes_in.values()
        for binding in bindings
        if not file.text_of(binding.node).startswith("self.")
    )


def _transform(dataset: Instance) -> Value | None:
    if dataset.call is None:
        return None
    call = Call(dataset.call.program, dataset.call.file, dataset.call.node)  # for whoever calls the function it is in
    made = dataset.definition.method("__init__") if dataset.definition is not None else None
    if made is not None and any(CHOOSING.search(name) for name in made.parameters):
        return None
    for keyword in ("transform", "transforms"):
        given = call.argument(made.place_of(keyword) if made is not None else None, keyword)
        if given is not None:
            return given.value
    if dataset.name == "torchvision.datasets.ImageFolder":
        return call.argument_value(1)
    return None


def _random_step(transform: Value | None, depth: int = 0) -> Call | None:
    """The step of a transform that is certainly random, whatever way the transform was made."""
    if transform is None or depth > DEEPEST:
        return None
    found = [_random_in(choice, depth) for choice in transform.alternatives()]
    return found[0] if all(found) else None


def _random_in(value: Value, depth: int) -> Call | None:
    if isinstance(value, Group):
        return next((step for item in value.items if (step := _random_step(item, depth + 1))), None)
    if not isinstance(value, Instance) or value.call is None:
        return None
    home, _, last = value.name.rpartition(".")
    if last in ("Compose", "Sequential"):
        return _random_step(value.call.argument_value(0, "transforms"), depth + 1)
    is_torchs = home.startswith("torchvision.transforms") and last in RANDOM
    if not is_torchs and not (home.startswith("albumentations") and last in ALBUMENTED):
        return None
    chance = literal(value.call.argument_value(None if home[0] == "a" or last in SURE else 0, "p"))
    return None if chance in (0, 1) else value.call


def sick() -> None:
    import sys
    from collections.abc import Iterable

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, random_split

    def fit(training: Iterable[list[torch.Tensor]], validation: Iterable[list[torch.Tensor]], size: int) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for _ in range(6):
            for images, labels in training:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = []
            for images, labels in validation:
                right.append(model(images).argmax(1) == labels)
        print(f"{torch.cat(right).float().mean():.3f}")

    torch.manual_seed(0)
    if len(sys.argv) > 1:
        from torchvision import datasets, transforms

        change = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
        pictures = datasets.ImageFolder(sys.argv[1], transform=change)  # TDX506
        training, validation = random_split(pictures, [0.8, 0.2])
        fit(DataLoader(training, 64, shuffle=True), DataLoader(validation, 64), 3 * 32 * 32)
    else:
        digits = load_digits()
        pixels = torch.tensor(digits.images, dtype=torch.float32) / 16
        training, validation = random_split(TensorDataset(pixels, torch.tensor(digits.target)), [0.8, 0.2])
        fit(DataLoader(training, 64, shuffle=True), DataLoader(validation, 64), 64)


def healthy() -> None:
    import sys
    from collections.abc import Iterable

    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

    def fit(training: Iterable[list[torch.Tensor]], validation: Iterable[list[torch.Tensor]], size: int) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for _ in range(6):
            for images, labels in training:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = []
            for images, labels in validation:
                right.append(model(images).argmax(1) == labels)
        print(f"{torch.cat(right).float().mean():.3f}")

    torch.manual_seed(0)
    if len(sys.argv) > 1:
        from torchvision import datasets, transforms

        change = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
        keep = transforms.Compose([transforms.CenterCrop(32), transforms.ToTensor()])
        altered = datasets.ImageFolder(sys.argv[1], transform=change)
        plain = datasets.ImageFolder(sys.argv[1], transform=keep)
        rows = torch.randperm(len(plain)).tolist()
        training, held_out = Subset(altered, rows[100:]), Subset(plain, rows[:100])
        fit(DataLoader(training, 64, shuffle=True), DataLoader(held_out, 64), 3 * 32 * 32)
    else:
        digits = load_digits()
        pixels = torch.tensor(digits.images, dtype=torch.float32) / 16
        training, validation = random_split(TensorDataset(pixels, torch.tensor(digits.target)), [0.8, 0.2])
        fit(DataLoader(training, 64, shuffle=True), DataLoader(validation, 64), 64)
