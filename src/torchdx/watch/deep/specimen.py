"""A copy of a model to experiment on, with what its loss was computed from; the model itself is never touched."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import math
import random
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.deep.diary import Subject, state_of
from torchdx.watch.deep.episode import Episode, at, tensors_in
from torchdx.watch.models import walk

EXACT = 1e-5
"""How far, relatively, a replayed loss may be from the one recorded."""

ROUGH = 5e-3
"""The same under autocast or on an accelerator, whose sums have no fixed order."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_MORE_HOOKS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


class CannotReplay(Exception):
    """Why the experiments cannot be made, in words."""


class Specimen:
    """The copy, its two states (at first and in the end), and the kept steps to try it on."""

    def __init__(self, subject: Subject, numbers: Mapping[str, int]) -> None:
        self._numbers = numbers
        if subject.refused:
            raise CannotReplay(subject.refused)
        if not subject.latest or subject.first is None:
            raise CannotReplay("no step was seen from its beginning whose loss could be computed again")
        self.initial = subject.initial
        self.first = subject.first
        self.episodes = [*subject.latest]
        self.module = duplicate(subject.module)
        self.final = {name: tensor.detach().clone() for name, tensor in state_of(self.module).items()}
        if {n: t.shape for n, t in self.final.items()} != {n: t.shape for n, t in self.initial.items()}:
            raise CannotReplay("the model is built otherwise than when training began")
        if not self.parameters:
            raise CannotReplay("no parameter of the model is trainable any more")
        self.device = next(tensors_in((self.first.call.args, self.first.call.kwargs, [*self.initial.values()]))).device
        self.module.to(self.device)
        self.fixed = False

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        found = {id(p): p for _, m in walk(self.module) for p in m._parameters.values() if p is not None}
        return [p for p in found.values() if p.requires_grad]

    def number(self, name: str | None) -> int | None:
        """The number of the model's module of this name in the record."""
        return self._numbers.get(name) if name is not None else None

    # --- its state

    def become(self, state: dict[str, Tensor]) -> None:
        """Take on a state: `initial` or `final`."""
        with torch.no_grad():
            for name, tensor in state_of(self.module).items():
                tensor.copy_(state[name])

    def as_recorded(self, episode: Episode) -> None:
        """Every module in the mode it was in."""
        self.fixed = False
        for (_, module), training in zip(walk(self.module), episode.call.training, strict=True):
            module.training = training

    def evaluating(self) -> None:
        """Every module in evaluation mode; what still draws random numbers draws the same ones every time."""
        self.fixed = True
        for _, module in walk(self.module):
            module.training = False

    def steady(self) -> None:
        """As in training, but without dropout, so that the loss is a function of the weights and the batch alone."""
        self.as_recorded(self.first)
        self.fixed = True
        for _, module in walk(self.module):
            if not isinstance(module, _NORMS):
                module.training = False

    # --- what it computes

    def output(self, episode: Episode) -> Any:
        """What the model gives for the step's inputs."""
        with _autocast(episode):
            return self.module(*episode.call.args, **episode.call.kwargs)

    def judged(self, episode: Episode) -> Tensor:
        """What the loss of the step is given."""
        if self.fixed:
            torch.manual_seed(0)
        given = at(self.output(episode), episode.path)
        assert isinstance(given, Tensor)
        for step in episode.steps:
            given = step(given)
        return given

    def loss(self, episode: Episode) -> Tensor:
        """The loss of the step."""
        given = self.judged(episode)
        if episode.function is None:
            return given.reshape(())
        with _autocast(episode):
            return episode.function(given, *episode.arguments).reshape(())

    def terms(self, episode: Episode) -> Tensor | None:
        """The loss of the step before it is averaged, one term for each of its targets; None where it has none."""
        if episode.function is None or "reduction" not in names_of(episode):
            return None
        arguments = list(episode.arguments)
        names = names_of(episode)[1:]
        arguments[names.index("reduction")] = "none"
        for old in ("size_average", "reduce"):
            if old in names and arguments[names.index(old)] is not None:
                return None
        return episode.function(self.judged(episode), *arguments)

    def mean_loss(self, episodes: Sequence[Episode]) -> float:
        """The mean loss over steps, without a graph."""
        with torch.no_grad():
            return sum(float(self.loss(episode)) for episode in episodes) / len(episodes)

    # --- is it the same model?

    def check(self) -> dict[str, Any]:
        """Compute the first kept loss again; raises CannotReplay where another value comes out."""
        episode = self.first
        self.become(self.initial)
        self.as_recorded(episode)
        torch.set_rng_state(episode.call.generator)
        if episode.call.accelerator is not None:
            torch.cuda.set_rng_state(episode.call.accelerator, self.device)
        replayed, recorded = float(self.loss(episode).detach()), float(episode.value)
        near = ROUGH if episode.call.autocast or self.device.type != "cpu" else EXACT
        if not math.isclose(replayed, recorded, rel_tol=near, abs_tol=1e-7):
            raise CannotReplay(f"computed again, the loss of the first step is {replayed:.6g}, not {recorded:.6g}")
        return {"recorded": recorded, "replayed": replayed}


def duplicate(module: nn.Module) -> nn.Module:
    """A copy that shares nothing, without the user's hooks; raises CannotReplay where it cannot be made."""
    memo: dict[int, Any] = {}
    for _, inner in walk(module):
        for tensor in tensors_in([*vars(inner).values()]):
            if tensor.grad_fn is not None:  # an output that was stored away cannot be copied with its graph
                memo[id(tensor)] = tensor.detach().clone()
    try:
        twin = copy.deepcopy(module, memo)
    except Exception as problem:
        raise CannotReplay(f"the model cannot be copied ({type(problem).__name__})") from problem
    for _, inner in walk(twin):
        for kind in _HOOKS:
            hooks = vars(inner).get(kind, {})
            for key in [key for key, hook in hooks.items() if not _is_torchs(hook)]:
                del hooks[key]
                for more in _MORE_HOOKS:
                    vars(inner).get(more, {}).pop(key, None)
        for parameter in inner._parameters.values():
            if parameter is not None:
                parameter.grad = None
    return twin


def _is_torchs(hook: Any) -> bool:
    """Is the hook part of the computation, as weight norm's and pruning's are?"""
    module = getattr(hook, "__module__", None) or type(hook).__module__
    return str(module).startswith("torch.")


def names_of(episode: Episode) -> list[str]:
    """The parameters of the step's loss function."""
    assert episode.function is not None
    return [*inspect.signature(inspect.unwrap(episode.function)).parameters]


def _autocast(episode: Episode) -> contextlib.AbstractContextManager[Any]:
    cast = episode.call.autocast
    return torch.autocast(cast[0], cast[1]) if cast else contextlib.nullcontext()


@contextlib.contextmanager
def apart(device: torch.device) -> Iterator[None]:
    """Leave no trace: generators as they were, nothing on stdout or stderr, no warning; gradients are on."""
    before = torch.get_rng_state(), random.getstate()
    numpy = sys.modules.get("numpy")
    numbers = numpy.random.get_state() if numpy is not None else None
    accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    quiet = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
            torch.enable_grad(),
            torch.inference_mode(False),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        if numpy is not None:
            numpy.random.set_state(numbers)
        if accelerator is not None:
            torch.cuda.set_rng_state(accelerator, device)
