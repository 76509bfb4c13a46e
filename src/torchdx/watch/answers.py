"""What the arguments of a loss tell of its answers: which are right, by class, and whether rows end in padding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchdx.watch.places import Place
from torchdx.watch.session import Session

CLASSIFIERS = ("cross_entropy", "nll_loss")
MOST_CLASSES = 1000
PARTS = 32
"""Stretches that a batch's losses are told by: enough for a standard error, few enough for every evaluation's fact."""

SPACING = 1.15
"""How much later each telling of one place comes than the one before: five in the last half of any run."""

_LARGEST = 200_000
_MOST_TOKENS = 1 << 18
_MOST_SHARES = 50
_APART = {
    **{"cross_entropy": 6, "nll_loss": 6, "binary_cross_entropy": 5, "binary_cross_entropy_with_logits": 5},
    **{"mse_loss": 4, "l1_loss": 4, "smooth_l1_loss": 4, "huber_loss": 2},
}
"""Losses that can be taken again sample by sample, and the place of their `reduction`."""

_IGNORED = {"cross_entropy": 4, "nll_loss": 4}


def spaced(step: int) -> int:
    """The step from which on what was told at this one is due again."""
    return max(step + 1, math.ceil(SPACING * step))


class Answers:
    """Tells, from time to time until the very end, how the answers at each place are."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._next: dict[tuple[str, str, str], int] = {}

    def due(self, name: str, place: Place | None, phase: str) -> bool:
        """Is it time for the answers of this place?"""
        known = name in _IGNORED or name.startswith("binary") or name == "gaussian_nll_loss"
        return known and self.session.step >= self._next.get((name, str(place), phase), 0)

    def tell(self, name: str, arguments: tuple[Any, ...], value: float | None, place: Place | None, phase: str) -> None:
        """Write down the answers of one batch, where they can be read."""
        step = self.session.step
        self._next[name, str(place), phase] = spaced(step)
        if not isinstance(arguments[0], Tensor):
            return
        told: dict[str, Any] = {}
        if name == "gaussian_nll_loss":
            told = standardised(arguments[0], arguments[1], arguments[2], arguments[4])
        else:
            ignored = arguments[_IGNORED[name]] if name in _IGNORED else None
            both = answers(name, arguments[0], arguments[1], ignored)
            told = dict(by_class(*both)) if both is not None else {}
        if told:
            now = step + (phase == "train")
            self.session.write("answers", step=now, fn=name, site=place, phase=phase, value=value, **told)


def answers(name: str, given: Tensor, target: Any, ignored: object) -> tuple[Tensor, Tensor] | None:
    """The class given the best score and the class that is right, one of each for every answer that counts.

    None where the loss is no classifier's, or has several scores for a sample that are answers of their own.
    """
    if not isinstance(target, Tensor) or given.device.type != "cpu" or not 0 < given.numel() <= _LARGEST:
        return None
    given, target = given.detach(), target.detach()
    if name in CLASSIFIERS:
        if given.dim() != target.dim() + 1 or given.dim() < 2 or not 1 < given.shape[1] <= MOST_CLASSES:
            return None
        best, counts = given.argmax(1), (target >= 0) & (target != ignored)
        return best[counts], target[counts].long()
    if not name.startswith("binary_cross_entropy") or given.shape != target.shape:
        return None
    if (given.dim() > 1 and given.shape[1] > 1) or not bool(((target == 0) | (target == 1)).all()):
        return None
    return (given > (0.0 if name.endswith("logits") else 0.5)).flatten().long(), target.flatten().long()


def by_class(best: Tensor, right: Tensor) -> dict[str, dict[str, int]]:
    """How often each class was the answer, was wanted, and was both."""
    return {"predicted": _counted(best), "wanted": _counted(right), "right": _counted(right[best == right])}


def _counted(labels: Tensor) -> dict[str, int]:
    counts = torch.bincount(labels).tolist() if labels.numel() else []
    return {str(label): count for label, count in enumerate(counts) if count}


def tail(given: Any, target: Tensor) -> dict[str, Any] | None:
    """The one value that rows of class indices end in, and how large a share of them that is; None if there is none.

    Rows that were laid end to end are told from the view that the scores were taken of. `elsewhere` is the share of the
    other places that hold this value too, `lengths` how many different lengths the tails have.
    """
    if target.is_floating_point() or target.device.type != "cpu" or not 0 < target.numel() <= _MOST_TOKENS:
        return None
    rows = _rows(given, target.detach())
    if rows is None or min(rows.shape) < 2 or _is_sorted(rows):
        return None
    found = [told for one in (rows, rows.T) if (told := _tail(one)) is not None]
    return min(found, key=lambda told: told["elsewhere"], default=None)


def _rows(given: Any, target: Tensor) -> Tensor | None:
    if target.dim() == 2:
        return target
    node = given.grad_fn if isinstance(given, Tensor) else None
    sizes: tuple[int, ...] = tuple(getattr(node, "_saved_self_sym_sizes", ()))
    if target.dim() != 1 or len(sizes) != 3 or sizes[0] * sizes[1] != target.numel():
        return None
    return target.view(sizes[0], sizes[1])


def _is_sorted(rows: Tensor) -> bool:
    """Is every row in order, and so ends in its greatest or least value because of that?"""
    changes = rows.diff(dim=1)
    return bool(((changes >= 0).all(1) | (changes <= 0).all(1)).all())


def _tail(rows: Tensor) -> dict[str, Any] | None:
    last = rows[:, -1]
    value = last.mode().values
    same = rows == value
    padded = same.flip(1).cumprod(1).bool().flip(1)
    share, count = float(padded.float().mean()), padded.numel()
    rest = count - int(padded.sum())
    if not 0 < share < 1:
        return None
    lengths = int(padded.sum(1).unique().numel())
    return {
        "value": int(value),
        "share": share,
        "lengths": lengths,
        "elsewhere": int((same & ~padded).sum()) / rest if rest else 0.0,
    }


def standardised(given: Tensor, target: Any, variance: Any, eps: Any) -> dict[str, Any]:
    """Of a Gaussian likelihood: squared errors over the variance, and the share of variances at or below `eps`."""
    if not (isinstance(target, Tensor) and isinstance(variance, Tensor)) or given.device.type != "cpu":
        return {}
    if variance.numel() == 0 or given.numel() > _LARGEST:
        return {}
    given, target, variance = given.detach(), target.detach(), variance.detach()
    if variance.dim() == given.dim() - 1:
        variance = variance.unsqueeze(-1)
    squares = (given - target).square() / variance.clamp(min=float(eps))
    spread, mean = torch.std_mean(squares.float(), correction=0)
    floor = float((variance <= float(eps)).float().mean())
    return {"squares": mean.item(), "spread": spread.item(), "terms": squares.numel(), "floor": floor}


def blind(name: str, arguments: tuple[Any, ...]) -> dict[str, float]:
    """The loss of answering 0 each time, of a loss for which that is no simple formula of the targets."""
    target, place = arguments[1], _APART.get(name, len(arguments))
    if name not in ("l1_loss", "smooth_l1_loss", "huber_loss") or place >= len(arguments):
        return {}
    if target.device.type != "cpu" or not 1 < target.numel() <= _LARGEST or arguments[place] == "none":
        return {}
    told = getattr(functional, name)(torch.zeros_like(target), target.detach(), *arguments[2:])
    return {"blind": float(told)} if told.numel() == 1 else {}


def shares(name: str, target: Tensor) -> dict[str, list[float]]:
    """How often each of the few answers that a row holds is yes, of a loss of answers that are yes or no."""
    if not name.startswith("binary") or target.dim() != 2 or target.device.type != "cpu" or not target.numel():
        return {}
    return {"shares": target.detach().float().mean(0).tolist()} if 1 < target.shape[1] <= _MOST_SHARES else {}


def parts(name: str, arguments: tuple[Any, ...]) -> list[float]:
    """The loss of each of up to 32 stretches of a batch, for a standard error; empty where it cannot be taken again."""
    place = _APART.get(name, len(arguments))
    if place >= len(arguments) or arguments[place] != "mean":
        return []
    given, target = arguments[0], arguments[1]
    if not (isinstance(given, Tensor) and isinstance(target, Tensor)) or given.device.type != "cpu":
        return []
    if given.numel() > _LARGEST or (name not in CLASSIFIERS and given.shape != target.shape):
        return []
    apart = getattr(functional, name)(*arguments[:place], "none", *arguments[place + 1 :])
    each = apart.detach().float().reshape(apart.shape[0] if apart.dim() else 1, -1).mean(1)
    if each.numel() < 4:
        return []
    told = [part.mean().item() for part in each.tensor_split(min(PARTS, each.numel() // 2))]
    return [float(f"{value:.6g}") for value in told] if all(map(math.isfinite, told)) else []
