"""One early step of each small model, kept to see at the end which of its outputs depend on which inputs.

A copy of the model is taken at a look, with what it was called with and the loss that came of it. When training is over
the copy is called a few times more, with some inputs replaced: the program itself never feels it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.deep.confines import output_bounds
from torchdx.watch.deep.copying import target_given
from torchdx.watch.deep.dependency import batch_mixing, future_leak
from torchdx.watch.deep.diary import Diary, Subject, state_of
from torchdx.watch.deep.episode import CannotKeep, Episode
from torchdx.watch.deep.padding import Padding, padding_counted, padding_of
from torchdx.watch.deep.route import leads_to, number_of
from torchdx.watch.deep.specimen import CannotReplay, Specimen, apart, duplicate
from torchdx.watch.deep.unmasked import padding_unmasked
from torchdx.watch.errors import errors_in
from torchdx.watch.models import Models, walk
from torchdx.watch.places import user_place
from torchdx.watch.plainness import is_plain
from torchdx.watch.reach import is_contained
from torchdx.watch.session import Session

LARGEST = 16 << 20
"""Bytes of state, or of a batch, of the largest that is copied."""

MODELS = 2
"""Models of which a step is kept: those trained first."""

LOOKS = 12
"""Looks at which a step is waited for."""

SAMPLES = 7
"""Samples of the step that are experimented with: so many that few other dimensions are of this size."""

CALLS = 14
"""Calls of a model that its experiments take, at most."""

PADDED = 3
"""Calls with the whole batch that last as long as the experiment with its padding, at most."""

LITTLE = 0.04
"""Seconds of the processor that the experiments may take; or what is left of the watcher's share, if that is more."""


@dataclass
class Kept:
    """A copy of a model in the state in which it was called, and that step."""

    subject: Subject
    numbers: dict[str, int]
    seconds: float
    formula: bool = False
    """Is the loss one written by hand, so that only the model's output is known?"""
    weighed: bool = False
    """Are the loss's terms picked or weighed by the program itself, so that some places may not count?"""
    padding: Padding | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    """Of a model that is given padding: its own tensors, which will be what was learnt."""
    places: set[int] = field(default_factory=set)
    """How many places the samples of its batches have, padding and all."""


class Dependence(Diary):
    """Keeps one step of each of the first models, and makes the quickest experiments with it at the end."""

    def __init__(self, session: Session, models: Models) -> None:
        super().__init__(session, models.number_of)
        self._kept: dict[int, Kept] = {}
        self._looks = 0
        self._began = self._seconds = 0.0
        self._output: Tensor | None = None
        self._outputs: dict[int, Tensor] = {}
        self._are_towers = False
        session.at_end.append(self._end)

    def _opens(self) -> None:
        self._looks += 1
        if self._looks > 1 and self._looks <= LOOKS and len(self._kept) < MODELS and not _is_shared():
            super()._opens()

    def _closes(self) -> None:
        super()._closes()
        self.subjects.clear()
        self._outputs.clear()
        self._output = None

    def _begins(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        super()._begins(module, inputs)
        self._began = time.thread_time()

    def _ends(self, args: Any, kwargs: Any, output: Any) -> None:
        self._seconds = time.thread_time() - self._began
        super()._ends(args, kwargs, output)
        number = number_of(output) if isinstance(output, Tensor) else None
        self._output = output if number is not None else None
        if number is not None:
            self._outputs[number] = output

    def _meet(self, module: nn.Module) -> None:
        if id(module) not in self.subjects:
            self.subjects[id(module)] = Subject(module, self._number(module) or 0, self.session.step + 1, {})

    def _keep_objective(self, root: Tensor) -> None:
        super()._keep_objective(root)
        if self._losses:
            self._keep_weighed(root)
        if len(self._calls) == 2 and not self._losses and not self._kept:
            self._keep_towers()
        if self._losses or len(self._calls) != 1:
            return
        [(call, path)] = self._calls.values()  # of a loss written by hand only the model's output is known
        subject = self.subjects.get(id(call.module))
        output = self._output
        if subject is None or (self._kept and subject.number not in self._kept):
            return
        step = self.session.step + 1
        number = number_of(output) if output is not None else None
        found = errors_in(root, self._calls, {number: output}) if output is not None and number is not None else None
        if found is not None and found.is_mean:  # a mean of squares, or of absolute errors, is torch's own
            value = root.detach().clone()
            episode = Episode(
                *(step, call, path, found.steps, found.function, found.name, user_place(4)),
                *(found.arguments, value, value),
            )
            self._keep(subject, episode)
            return
        if output is None or output.dim() not in (1, 2) or not output.is_floating_point():
            return
        value = _spread(output.detach(), "mean")
        episode = Episode(step, call, path, (), _spread, "", user_place(4), ("mean",), value, value)
        if episode.samples == len(output):
            self._keep(subject, episode)

    def _keep_weighed(self, root: Tensor) -> None:
        """Keep the step where terms of one loss, several of each sample, are picked or weighed before the mean."""
        [(number, episode), *others] = self._losses.items()
        subject, target = self.subjects.get(id(episode.call.module)), episode.target
        by_place = episode.name in ("cross_entropy", "nll_loss") and target is not None
        if others or subject is None or subject.number in self._kept or not by_place:
            return
        if target is not None and target.numel() > episode.samples and leads_to(root, number):
            self._keep(subject, replace(episode, scale=root.detach().clone()), weighed=True)

    def _keep_towers(self) -> None:
        """Keep two models each of which gave a vector for every sample, which are compared with each other."""
        told = [(*call, self._outputs.get(number)) for number, call in self._calls.items()]
        sizes = {tuple(output.shape) for _, _, output in told if output is not None and output.is_floating_point()}
        if len({id(call.module) for call, _, _ in told}) < 2 or len(sizes) != 1 or len(next(iter(sizes))) != 2:
            return
        self._are_towers = True
        for call, path, output in told:
            subject = self.subjects.get(id(call.module))
            if subject is not None and output is not None:
                value = _spread(output.detach(), "mean")
                told_of = (self.session.step + 1, call, path, (), _spread, "", user_place(5), ("mean",), value, value)
                episode = Episode(*told_of)
                if len(episode.inputs) == 1 and episode.samples == len(output):
                    self._keep(subject, episode)

    def _keep(self, subject: Subject, episode: Episode, weighed: bool = False) -> None:
        """Copy the model as it is now, before the step, if that is cheap and harms nobody."""
        known = self._kept.get(subject.number)
        if known is not None and known.padding is not None:
            known.places |= known.padding.places_in(episode)
        if known is not None or len(self._kept) >= MODELS:
            return
        size = sum(tensor.numel() * tensor.element_size() for tensor in state_of(subject.module).values())
        if size > LARGEST or episode.bytes > LARGEST or not is_contained(subject.module):
            return
        if not all(map(is_plain, (m for _, m in walk(subject.module)))):
            return
        try:
            twin, kept = duplicate(subject.module), episode.kept()
            kept = replace(kept, call=replace(kept.call, module=twin))  # the model itself is let go
        except (CannotKeep, CannotReplay):
            return
        numbers = {name: number for name, m in walk(subject.module) if (number := self._number(m)) is not None}
        state = {name: tensor.detach() for name, tensor in state_of(twin).items()}
        copied = Subject(twin, subject.number, subject.began, state, kept)
        copied.latest.append(kept)
        padding = None if weighed or self._are_towers else padding_of(kept)
        found = Kept(copied, numbers, self._seconds, episode.function is _spread, weighed, padding)
        if found.padding is not None:
            found.state, found.places = state_of(subject.module), {found.padding.places}
        self._kept[subject.number] = found

    # --- at the end

    def _end(self) -> None:
        for kept in self._kept.values():
            allowed = max(LITTLE, self.session.governor.left)
            if kept.seconds <= 2 * allowed:
                with self.session.governor.look(), apart(next(iter(kept.subject.module.parameters())).device):
                    level = logging.root.manager.disable
                    logging.disable(logging.CRITICAL)
                    try:
                        self._experiment(kept, allowed)
                    finally:
                        logging.disable(level)

    def _experiment(self, kept: Kept, allowed: float) -> None:
        """Call the copy again; if what was recorded comes out, and there is time, with other inputs."""
        try:
            specimen = Specimen(kept.subject, kept.numbers)
            began = time.thread_time()
            checked = specimen.check()
        except Exception:  # whatever the model is: it is not understood well enough
            return
        first, share = specimen.first, max(0.25, min(1.0, SAMPLES / specimen.first.samples))
        taken = time.thread_time() - began
        if kept.padding is not None and taken * PADDED <= allowed:
            self.session.write("padding", **_padding_counted(kept, specimen))
        if taken * share * CALLS > allowed:
            return
        if all(not tensor.dim() or tensor.shape[0] == first.samples for tensor in first.inputs):
            specimen.episodes = [first.part(SAMPLES)]
        if self._are_towers and not _mixes(specimen):
            return
        told = {"module": kept.subject.number, "fn": first.name, "site": first.place, "steps": [first.step]}
        self.session.write(
            "replay", **told, samples=[first.samples], targets=_targets(first), **({} if kept.formula else checked)
        )
        for name, experiment in _EXPERIMENTS.items():
            if (kept.formula and experiment is not batch_mixing) or (kept.weighed and experiment is target_given):
                continue
            try:
                found = experiment(specimen)
            except Exception as problem:
                found = {"why": f"the experiment failed ({type(problem).__name__})"}
            if not (kept.weighed and found.get("before")):  # of a place that does not count the future may be known
                self.session.write(name, **found)


_EXPERIMENTS = {
    "batch_mixing": batch_mixing,
    "future_leak": future_leak,
    "target_given": target_given,
    "output_bounds": output_bounds,
}


def _padding_counted(kept: Kept, specimen: Specimen) -> dict[str, Any]:
    assert kept.padding is not None
    told, unmasked = dict[str, Any](), dict[str, Any]()
    try:
        if not kept.formula:
            unmasked = padding_unmasked(specimen, specimen.first, kept.padding)
        told = padding_counted(specimen, specimen.first, kept.padding, kept.state)
    except Exception as problem:
        told = {"why": f"the experiment failed ({type(problem).__name__})"}
    return told | unmasked | {"batches": sorted(kept.places)}


def _mixes(specimen: Specimen) -> bool:
    """Does one of two towers mix samples? Of one that does not nothing is told, so that the other is heard."""
    try:
        return bool(batch_mixing(specimen).get("other"))
    except Exception:
        return False


def _spread(given: Tensor, reduction: str) -> Tensor:
    """A model's output in the place of a loss: each number of it is a term."""
    return given.double().square().mean() if reduction == "mean" else given


def _targets(episode: Episode) -> list[int] | None:
    return list(episode.target.shape) if episode.target is not None else None


def _is_shared() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
