"""Which modules are in training mode when training goes on, and dropout that goes on when the model is measured."""

from __future__ import annotations

import linecache
import re
import sys
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchdx.watch.models import Models, walk
from torchdx.watch.places import Place, is_user_code, user_place
from torchdx.watch.session import DENSE, Session
from torchdx.watch.tensors import is_plain, sample

DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_DEEPEST = 12
_MOST_TOLD, _MOST_CHECKED = 32, 1024
_SAID = re.compile(r"\btraining\s*=|,\s*True\s*[,)]")
"""A call that says itself whether it drops."""
_ALWAYS = re.compile(r"\btraining\s*=\s*True\b|,\s*True\s*[,)]")
_WANTED = re.compile(
    r"monte|bayes|uncertain|\bmc|mc_|_mc|(?-i:MC[A-Z_])|(?<!torch\.)generat(?!or\s*=)|stochastic|always|passes|sampl|noise|augment|ensemble"
    r"|purpose|stay|keep|even (in|at|when|while)|infer|regardless",
    re.IGNORECASE,
)
"""What a file speaks of, above all or near the call, in which dropout may be meant to go on."""

_NEAR = 20
"""Lines of its beginning, and before and after the call: further off, the same words are of something else."""


class Modes:
    """Notes the modes at backward passes, whenever they have changed, and dropout of models in evaluation mode."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._counted: object = None
        self._told: dict[str, list[int]] = {}
        self._changes = 0
        self._touched = 0
        self._drops = 0
        self._inputs: set[str] = set()
        self._inputs_at = -1
        self._derived = False
        self._dropping: set[tuple[str, float]] = set()
        session.weave(torch.autograd.backward, before=self._backward)
        session.weave(torch.autograd.grad, before=self._derives)
        for name in DROPOUTS:
            session.weave_bare(getattr(functional, name), self._called)
        self._drops_guarded = session.guarded(self._drops_in_evaluation)
        self._drops_here_guarded = session.guarded(self._drops_in_training)

    # --- modes in training

    def _backward(self, *_: Any) -> None:
        touched = self.models.modes() is not self._counted
        if not touched and not self.session.looking:
            return
        self._counted = self.models.modes()
        told: dict[str, list[int]] = {}
        for module in self.models.mode_sensitive():
            number = self.models.known_number(module)
            if number is not None:
                counts = told.setdefault(str(self.models.model_of(number)), [0, 0])
                counts[0] += module.training
                counts[1] += 1
        if told == self._told:
            self._touched += touched
        elif told and (self._changes < DENSE or self.session.keeps_step):
            self._told = told
            self._changes += 1
            self.session.write("modes", step=self.session.step + 1, models=told, touched=self._touched)

    def _derives(self, *_: Any) -> None:
        """Gradients are asked for by hand: losses that no backward pass reaches may be wanted for them."""
        if not self._derived:
            self._derived = True
            self.session.write("derivative", step=self.session.step)

    # --- dropout in evaluation

    def _called(self, _: Any, given: Any, rate: Any, training: Any, *__: Any) -> None:
        if training and rate and self._drops < _MOST_CHECKED and not torch.is_grad_enabled():
            self._drops_guarded(given, rate)
        elif training and rate and self.session.looking and len(self._dropping) < _MOST_TOLD:
            self._drops_here_guarded(rate)

    def _drops_in_training(self, rate: float) -> None:
        """Dropout that is called as a function: of modules it is known already."""
        with self.session.governor.look():
            frame: FrameType | None = sys._getframe(1)
            while frame is not None and frame.f_globals.get("__name__") != functional.__name__:
                frame = frame.f_back
            caller = frame.f_back if frame is not None else None
            place = user_place(3)
            if caller is None or not is_user_code(caller.f_code) or (str(place), rate) in self._dropping:
                return
            self._dropping.add((str(place), rate))
            self.session.write("dropping", step=self.session.step + 1, site=place, rate=rate)

    def _drops_in_evaluation(self, given: Any, rate: float) -> None:
        """Dropout inside a user's module that is in evaluation mode, though not one that was put into training mode."""
        with self.session.governor.look():
            inner, outer = _modules_around()
            if inner is None or outer is None or outer.training or not is_plain(given):
                return
            made = isinstance(inner, nn.modules.dropout._DropoutNd)
            if made and any(module is inner for _, module in walk(outer)):
                return
            self._drops += 1
            again = self._is_again(given)
            if again or self._drops <= _MOST_TOLD:
                self._tell(rate, made, again)

    def _tell(self, rate: float, made: bool, again: bool) -> None:
        if again:
            self._drops = _MOST_CHECKED  # that settles it: nothing else need be known
        place = user_place(3)
        said = False if made else _says_so(place)
        how = "made" if made else "called"
        self.session.write("dropout", step=self.session.step, site=place, how=how, rate=rate, said=said, again=again)

    def _is_again(self, given: Tensor) -> bool:
        """Was the very same thing dropped from at this step before, as when several samples are wanted?"""
        if given.device.type != "cpu":
            return True
        if self._inputs_at != self.session.step:
            self._inputs_at = self.session.step
            self._inputs.clear()
        key = str(sample(given, 32).tolist())
        if key in self._inputs:
            return True
        if len(self._inputs) < _MOST_TOLD:
            self._inputs.add(key)
        return False


def _modules_around() -> tuple[nn.Module | None, nn.Module | None]:
    """The module whose method calls dropout, and the user's module around it: the same where the user calls it."""
    frame: FrameType | None = sys._getframe(1)
    inner: nn.Module | None = None
    for _ in range(3 * _DEEPEST):
        if frame is None:
            break
        code = frame.f_code
        owner = frame.f_locals.get(code.co_varnames[0]) if _is_method(code) else None
        if isinstance(owner, nn.Module):
            inner = inner or owner
            if is_user_code(code):
                return inner, owner
        frame = frame.f_back
    return None, None


def _is_method(code: CodeType) -> bool:
    """Is it a class's own function? Others may run as long as the program, and to read a frame's locals keeps them."""
    if not code.co_argcount:
        return False
    if sys.version_info < (3, 11):
        return code.co_varnames[0] == "self"
    return code.co_qualname.rpartition(".")[0].rpartition(".")[2] not in ("", "<locals>")


def _says_so(place: Place | None) -> bool | None:
    """Does the call itself say that it drops? None where its text is not known."""
    if place is None or place[3] is None:
        return None
    _, line, column, end, end_column = place
    lines = linecache.getlines(str(place[0]))[int(line or 1) - 1 : int(end or 1)]
    if not lines:
        return None
    around = linecache.getlines(str(place[0]))
    first = max(int(line or 1) - _NEAR, 0)
    spoken = "".join([*around[: min(_NEAR, first)], *around[first : int(end or 1) + _NEAR]])
    lines[-1] = lines[-1][: int(end_column or 1) - 1]
    lines[0] = lines[0][int(column or 1) - 1 :]
    return bool(_SAID.search("".join(lines))) and (not _ALWAYS.search("".join(lines)) or bool(_WANTED.search(spoken)))
