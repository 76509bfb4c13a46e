"""Functions of autograd that the program wrote itself: whether `backward` is the derivative of `forward`."""

from __future__ import annotations

import dis
import types
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from torchdx.watch.places import Place, absolute, is_user_code
from torchdx.watch.reach import are_contained
from torchdx.watch.session import Session
from torchdx.watch.tensors import SIMPLE, is_plain

MOST = 8
"""Functions that are tried, once each."""

_WIDTH = 1e-3
"""Half the width of a difference quotient: in double precision it is within 1e-6 of a smooth function's derivative."""

_ELEMENTS = 128
_FEWEST = 16
_CURVED = 1e-3
"""Second derivative, as a share of the greatest, from which on a function counts as curved at a point."""

_CLOSE, _TINY = 0.02, 1e-4

_SPREAD = 2.0
"""RMS of points that lie apart enough to show how a derivative goes; a first layer's outputs lie close to zero."""


class Derivatives:
    """Tries each function once on a small copy of what it is given, if it works on each number alone."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._seen: set[type] = set()
        session.weave(Function.__dict__["apply"].__func__, before=self._applied)

    def _applied(self, kind: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kind in self._seen or len(self._seen) >= MOST or self.session.compiled or not torch.is_grad_enabled():
            return
        given = [one for one in args if isinstance(one, Tensor)]
        backward = getattr(kind, "backward", None)
        if not isinstance(backward, types.FunctionType) or not is_user_code(backward.__code__):
            self._seen.add(kind)
            return
        if len(given) != 1 or not is_plain(given[0]) or given[0].device.type != "cpu" or not given[0].requires_grad:
            return
        with self.session.governor.look():
            self._seen.add(kind)
            if (
                not kwargs
                and all(isinstance(one, (*SIMPLE, Tensor)) for one in args)
                and are_contained(kind, "forward", "backward", "setup_context")
            ):
                told = tried(kind, args)
                if told is not None:
                    self.session.write(
                        "own_backward", step=self.session.step + 1, function=kind.__name__, site=_end(backward), **told
                    )


def tried(kind: Any, args: tuple[Any, ...]) -> dict[str, float] | None:
    """At how many points a function was tried, and of the share where it is `curved`, how far `backward` is off there.

    `right` is the share at which it is within 2 % of the difference quotient, `scaled` the RMS of what is left beside
    the best multiple of that, and `flat` the deviation of what `backward` gives, both over the RMS of the quotient.
    None where the function does not work on each number alone, or cannot be called.
    """
    place = next(k for k, one in enumerate(args) if isinstance(one, Tensor))
    points = args[place].detach().flatten()[:_ELEMENTS].double()
    if points.numel() < _FEWEST or not bool(torch.isfinite(points).all()):
        return None

    def at(x: Tensor) -> Tensor:
        result = kind.apply(*args[:place], x, *args[place + 1 :])
        if not isinstance(result, Tensor) or result.dtype != torch.float64 or result.shape != x.shape:
            raise TypeError("not one number for each")
        return result

    with torch.random.fork_rng(devices=[]):
        try:
            return _compared(at, torch.cat((points, points * max(1.0, _SPREAD / float(points.square().mean().sqrt())))))
        except Exception:  # whatever the function raises, it cannot be tried
            return None


def _with_slopes(at: Any, points: Tensor) -> tuple[Tensor, Tensor]:
    """The function's values, and what its `backward` says of them."""
    with torch.enable_grad():
        x = points.clone().requires_grad_()
        result = at(x)
        (slopes,) = torch.autograd.grad(result, x, torch.ones_like(result))
    return result.detach(), slopes.detach()


def _compared(at: Any, points: Tensor) -> dict[str, float] | None:
    here, slopes = _with_slopes(at, points)
    with torch.no_grad():
        up, down = at(points + _WIDTH), at(points - _WIDTH)
        every_other = torch.arange(points.numel()) % 2 == 0
        mixed = at(torch.where(every_other, points + _WIDTH, points))
    if not torch.equal(mixed, torch.where(every_other, up, here)):
        return None
    wanted, second = (up - down) / (2 * _WIDTH), (up - 2 * here + down) / _WIDTH**2
    if not bool(torch.isfinite(torch.stack((slopes, wanted, second))).all()):
        return None
    curved = second.abs() > _CURVED * float(wanted.abs().max())
    share, slopes, wanted = float(curved.double().mean()), slopes[curved], wanted[curved]
    size = float(wanted.square().mean().sqrt()) if slopes.numel() >= _FEWEST else 0.0
    if not size:
        return None
    ratio = float((slopes * wanted).sum() / wanted.square().sum())
    return {
        "points": points.numel(),
        "curved": share,
        "right": float(((slopes - wanted).abs() <= _CLOSE * wanted.abs() + _TINY * size).double().mean()),
        "scaled": float((slopes - ratio * wanted).square().mean().sqrt()) / size,
        "flat": float(slopes.std(correction=0)) / size,
    }


def _end(function: types.FunctionType) -> Place:
    """The line of its last `return`."""
    code = function.__code__
    starts = dict(dis.findlinestarts(code))
    line = last = code.co_firstlineno
    for step in dis.get_instructions(code):
        line = starts.get(step.offset) or line
        if step.opname.startswith("RETURN_"):
            last = line
    return [absolute(code.co_filename), last, 1, None, None]
