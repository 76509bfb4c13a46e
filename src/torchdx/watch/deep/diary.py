"""The steps that are kept while training runs: of each model its state at first, one early step, and the latest few."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from torchdx.watch.deep.episode import Call, CannotKeep, Episode, paths_in, tensors_in
from torchdx.watch.deep.route import number_of, route, scaled_from
from torchdx.watch.losses import FUNCTIONS
from torchdx.watch.models import walk
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of

LATEST = 8
"""Steps kept of each model, besides the first."""

ROOM = 64 << 20
"""Bytes that the kept inputs and targets of a model may take."""

LARGEST = 256 << 20
"""Bytes of state of the largest model that is copied."""

MODELS = 3
"""Models that are kept; of more, those trained last."""


@dataclass
class Subject:
    """A model as it was before its first step, and the steps that were kept of it."""

    module: nn.Module
    number: int
    began: int
    initial: dict[str, Tensor]
    first: Episode | None = None
    latest: deque[Episode] = field(default_factory=lambda: deque(maxlen=LATEST))
    refused: str = ""

    @property
    def last_step(self) -> int:
        """The latest step that was kept."""
        return self.latest[-1].step if self.latest else -1

    def keep(self, episode: Episode) -> None:
        """Keep one more step, if it is not the one kept before again, and let old ones go where there is no room."""
        if self.latest and _same(episode, self.latest[-1]):
            return
        if episode.bytes > ROOM // 2:
            self.refused = f"a batch of {episode.bytes >> 20} MB is too large to be kept"
            return
        kept = episode.kept()
        if self.first is None and kept.step == self.began:
            self.first = kept
        self.latest.append(kept)
        while sum(one.bytes for one in self.latest) > ROOM:
            self.latest.popleft()


class Diary:
    """Sees, at looked-at steps, which model was called with what, and which loss came of it."""

    def __init__(self, session: Session, number: Callable[[nn.Module], int | None]) -> None:
        self.session = session
        self.subjects: dict[int, Subject] = {}
        self.optimizers: dict[int, Optimizer] = {}
        self.why = ""
        self._number = number
        self._open: tuple[nn.Module, Call] | None = None
        self._calls: dict[int, tuple[Call, tuple[Any, ...]]] = {}
        self._losses: dict[int, Episode] = {}
        self._hooks: list[Any] = []
        session.at_look.append(self._opens)
        session.at_look_end.append(self._closes)
        for name in FUNCTIONS:
            session.weave(getattr(functional, name), after=self._loss(name))
        session.weave(torch.autograd.backward, before=self._backward)
        for compiling in (torch.compile, nn.Module.compile):  # hooks that come and go would make it compile again
            session.weave(compiling, before=lambda *_: self._closes())
        self._begins_guarded = session.guarded(self._begins)
        self._ends_guarded = session.guarded(self._ends)

    def _opens(self) -> None:
        self._forget()
        if not self._hooks and not self.session.compiled:
            module = nn.modules.module
            self._hooks = [
                module.register_module_forward_pre_hook(self._enters),
                module.register_module_forward_hook(self._leaves, with_kwargs=True),
            ]

    def _closes(self) -> None:
        self._forget()
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _forget(self) -> None:
        self._open = None
        self._calls.clear()
        self._losses.clear()

    # --- a model is called

    def _enters(self, module: nn.Module, inputs: Any) -> None:
        if self._open is None and torch.is_grad_enabled():
            self._begins_guarded(module, inputs)

    def _leaves(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._open is not None and self._open[0] is module:
            self._ends_guarded(args, kwargs, output)

    def _begins(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if torch._C._current_graph_task_id() != -1:  # a checkpoint's second forward, within backward
            return
        with self.session.governor.look():
            inner = unwrapped(module)
            own = [p for _, m in walk(inner) for p in m._parameters.values() if p is not None and p.requires_grad]
            if not own:
                return
            self._meet(inner)
            device = own[0].device
            autocast = None
            if torch.is_autocast_enabled(device.type):
                autocast = (device.type, torch.get_autocast_dtype(device.type))
            accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
            modes = tuple(m.training for _, m in walk(inner))
            self._open = module, Call(inner, (), {}, modes, torch.get_rng_state(), accelerator, autocast)

    def _meet(self, module: nn.Module) -> None:
        """Keep the state of a model that is new, while it is as it was made."""
        known = self.subjects.get(id(module))
        if known is not None:
            return
        tensors = state_of(module)
        subject = Subject(module, self._number(module) or 0, self.session.step + 1, {})
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        if size > LARGEST:
            subject.refused = f"a model of {size >> 20} MB is too large to be copied"
        else:
            subject.initial = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.subjects[id(module)] = subject
        while len(self.subjects) > MODELS:
            oldest = min(self.subjects.values(), key=lambda one: (one.last_step, one.began))
            del self.subjects[id(oldest.module)]

    def _ends(self, args: Any, kwargs: Any, output: Any) -> None:
        with self.session.governor.look():
            assert self._open is not None
            call = self._open[1]
            self._open = None
            whole = Call(call.module, args, kwargs, call.training, call.generator, call.accelerator, call.autocast)
            for path, tensor in paths_in(output):
                number = number_of(tensor)
                if number is not None:
                    self._calls[number] = whole, path

    # --- a loss is computed, and trained on

    def _loss(self, name: str) -> Callable[..., None]:
        def called(result: Any, *arguments: Any) -> None:
            if self.session.looking and self._calls and isinstance(result, Tensor) and result.numel() > 0:
                with self.session.governor.look():
                    self._keep_loss(name, result, arguments, user_place(3))

        return called

    def _keep_loss(self, name: str, result: Tensor, arguments: tuple[Any, ...], place: Place | None) -> None:
        number = number_of(result)
        way = route(self._calls, arguments[0]) if isinstance(arguments[0], Tensor) else None
        if number is None or way is None or any(t.grad_fn is not None for t in tensors_in(list(arguments[1:]))):
            return
        (call, path), steps = way
        function, rest = getattr(functional, name), arguments[1:]
        if result.numel() > 1:  # terms that are averaged afterwards: if otherwise, another value comes out of it
            rest = tuple("mean" if one == "none" and isinstance(one, str) else one for one in rest)
        value = result.detach().clone() if result.numel() == 1 else result.detach().mean()
        self._losses[number] = Episode(
            self.session.step + 1, call, path, steps, function, name, place, rest, value, value
        )

    def _backward(self, tensors: Any, *_: Any) -> None:
        if not self.session.looking or not self._calls:
            return
        with self.session.governor.look():
            root = root_of(tensors)
            if root is not None and root.numel() == 1:
                self._keep_objective(root)

    def _keep_objective(self, root: Tensor) -> None:
        """Keep the step, if what is trained on is one loss, or a number that the model itself gave out."""
        value = root.detach().clone()
        episode = scaled_from(self._losses, root)
        if episode is None:
            found = scaled_from(self._calls, root)
            if found is None:
                self.why = "what is trained on is another thing than one loss of one model's output"
                return
            call, path = found
            episode = Episode(self.session.step + 1, call, path, (), None, "", user_place(3), (), value, value)
        subject = self.subjects.get(id(episode.call.module))
        if subject is None or subject.refused:
            return
        self._keep(subject, replace(episode, scale=value))

    def _keep(self, subject: Subject, episode: Episode) -> None:
        try:
            subject.keep(episode)
        except CannotKeep as refusal:
            subject.refused = f"{refusal} cannot be kept"


def _same(one: Episode, other: Episode) -> bool:
    pairs = [*zip(one.inputs, other.inputs, strict=False)]
    return len(one.inputs) == len(other.inputs) and all(
        a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a.detach(), b)) for a, b in pairs
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """The model inside `torch.compile`'s and data-parallel wrappers."""
    while type(module).__module__.startswith("torch."):
        inner = module._modules.get("_orig_mod") or module._modules.get("module")
        if inner is None or len(module._modules) != 1:
            break
        module = inner
    return module


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by name, without asking the user's own `state_dict`."""
    return {
        f"{name}.{own}": tensor
        for name, inner in walk(module)
        for own, tensor in (*inner._parameters.items(), *inner._buffers.items())
        if tensor is not None
    }
