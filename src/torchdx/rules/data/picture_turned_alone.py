"""Pictures are turned or mirrored at random, and the maps that are wanted for them are not.

Seen as a segmentation whose loss stays high and whose maps are blurred or empty, though the labels were drawn well.
Measured is how a map goes together with that mixture of its picture's colours, brightness and difference from its
surroundings which tells maps best: in many samples far better with the picture turned or mirrored, and in others as
they lie.

Hurts because each pixel is asked for what belongs to another one: all that can be learnt is the mean over the ways in
which a picture may lie.

Helped by one draw of the random numbers for both: put picture and map into one tensor, or hand both to one call of a
transform that knows maps (`torchvision.transforms.v2` with `tv_tensors.Mask`, `albumentations`).

No fault when pictures look alike in every way they may lie, or when the model is to learn how a picture was turned.

Sources: O. Ronneberger et al., arXiv 1505.04597, section 3.1; torchvision documentation, "Transforms v2: End-to-end
object detection/segmentation example".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record

code, family, severity = "TDX526", "data", "warning"
needs = frozenset({"pairs"})
explains = frozenset(
    {
        *("not-learning", "validation-gap", "train-eval-gap", "overfitting", "learning-rate-too-low"),
        *("one-class-predictions", "class-never-right", "labels-unrelated", "output-ignores-input"),
    }
)

TURNED = 0.15
"""Share of the samples that go clearly better with their pictures turned or mirrored. Nine healthy programs that
train on maps: 0; sick ones from 0.45 to 0.80."""
KEPT = 0.04
"""Share that lie as their maps do, else all are turned alike, and it may be meant so, or maps have nothing to do with
pictures: up to 0.03 of those lie well by chance. Sick programs: 0.05 (turned in all eight ways) to 0.26."""
SAMPLES = 48
"""Samples that must have been looked at."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every loss on maps of which many lie otherwise than their pictures."""
    for pairs in record.pairs:
        if pairs.laid is None:
            continue
        seen, kept, turned = pairs.laid
        if seen >= SAMPLES and turned > TURNED * seen and kept > KEPT * seen:
            yield Finding(
                message=f"{turned} of {seen} pictures lie otherwise than the maps that are wanted for them: these go "
                f"with the pictures turned or mirrored, and {kept} others as they lie",
                site=pairs.site,
                evidence={"pictures looked at": seen, "laid as their maps": kept, "turned or mirrored": turned},
                cure="turn and mirror picture and map by the same random numbers, in one call",
                confidence=0.95,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    for pairs in record.pairs:
        if pairs.laid is not None and pairs.laid[0] >= SAMPLES:
            yield "TURNED", pairs.laid[2] / pairs.laid[0]
            yield "KEPT", pairs.laid[1] / pairs.laid[0]


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    pictures = torch.tensor(load_digits().images[:640, None] / 16, dtype=torch.float32)
    masks = (pictures > 0.5).float()
    pictures = pictures + 0.1 * torch.randn_like(pictures) - 0.3
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(4):
        for rows in torch.randperm(len(pictures)).split(32):
            picture, mask = pictures[rows], masks[rows]
            picture = picture.rot90(int(torch.randint(4, ())), (2, 3))
            loss = nn.functional.binary_cross_entropy_with_logits(model(picture), mask)  # TDX526
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    pictures = torch.tensor(load_digits().images[:640, None] / 16, dtype=torch.float32)
    masks = (pictures > 0.5).float()
    pictures = pictures + 0.1 * torch.randn_like(pictures) - 0.3
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(4):
        for rows in torch.randperm(len(pictures)).split(32):
            both = torch.cat([pictures[rows], masks[rows]], dim=1)
            picture, mask = both.rot90(int(torch.randint(4, ())), (2, 3)).split(1, 1)
            loss = nn.functional.binary_cross_entropy_with_logits(model(picture), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
