"""The deep look, made only when asked for: experiments on copies of the model, once training is over.

While training runs, a few looked-at steps are kept; nothing else differs from a plain watched run. When the program has
ended, the copies are trained, evaluated and bent, within a bound of time, and each experiment writes one fact.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from torchdx.watch.deep.baselines import baselines, inputs_away
from torchdx.watch.deep.copying import target_given
from torchdx.watch.deep.critical import critical
from torchdx.watch.deep.dependency import batch_mixing, future_leak
from torchdx.watch.deep.diary import Diary, Subject
from torchdx.watch.deep.noise import noise
from torchdx.watch.deep.one_batch import one_batch
from torchdx.watch.deep.padding import padding_in_batches
from torchdx.watch.deep.repetition import modes_apart, repetition
from torchdx.watch.deep.specimen import CannotReplay, Specimen, apart
from torchdx.watch.models import Models, walk
from torchdx.watch.session import Session

SECONDS = 60.0
"""What the experiments may take together; one step of one of them may be over it."""


class Deep:
    """Keeps steps while training runs, and makes the experiments at its end."""

    def __init__(self, session: Session, models: Models, seconds: float = SECONDS) -> None:
        self.session = session
        self.models = models
        self.seconds = seconds
        self.diary = Diary(session, models.number_of)
        session.write("deep", seconds=seconds)
        session.at_end.append(self._ends)

    def _ends(self) -> None:
        """Make the experiments; whatever happens here, the program ends as it would have ended."""
        start = time.monotonic()
        try:
            self._experiment()
        except KeyboardInterrupt:
            self._write("replay", why="it was interrupted")
        finally:
            self.session.governor.began += time.monotonic() - start  # the run itself was over before

    def _write(self, kind: str, **fact: Any) -> None:
        self.session.write(kind, **fact)

    def _experiment(self) -> None:
        subject = max(self.diary.subjects.values(), key=lambda one: one.last_step, default=None)
        why = self._why_not(subject)
        if subject is None or why:
            self._write("replay", why=why)
            return
        with apart(next(iter(subject.module.parameters())).device):
            try:
                specimen = Specimen(subject, self._numbers(subject))
                checked = specimen.check()
            except CannotReplay as problem:
                self._write("replay", why=str(problem))
                return
            except Exception as problem:
                self._write("replay", why=f"the model cannot be called again ({_words(problem)})")
                return
            self._write("replay", **self._told(subject, specimen), **checked)
            self._make_all(specimen)

    def _why_not(self, subject: Subject | None) -> str:
        """Why there can be no experiments; empty where there can."""
        if getattr(sys, "last_exc", None) or getattr(sys, "last_value", None):
            return "the program ended with an exception"
        if os.environ.get("RANK", "0") != "0":
            return "the experiments are made on rank 0"
        if self.session.compiled:
            return "a compiled model cannot be looked into"
        if subject is None:
            return "no model was seen in training"
        if any(isinstance(m, torch.nn.SyncBatchNorm) for m in subject.module.modules()):
            return "SyncBatchNorm needs the other ranks"
        if not subject.latest and not subject.refused:
            return self.diary.why or "no loss of torch's own was computed from a model's output"
        return ""

    def _numbers(self, subject: Subject) -> dict[str, int]:
        numbers = {name: self.models.number_of(module) for name, module in walk(subject.module)}
        return {name: number for name, number in numbers.items() if number is not None}

    def _told(self, subject: Subject, specimen: Specimen) -> dict[str, Any]:
        first, value = specimen.first, float(specimen.first.value)
        return {
            "module": subject.number,
            "fn": first.name,
            "site": first.place,
            "steps": [one.step for one in specimen.episodes],
            "samples": [one.samples for one in specimen.episodes],
            "targets": [*first.target.shape] if first.target is not None else None,
            "bytes": sum(one.bytes for one in specimen.episodes),
            "scale": float(first.scale) / value if value else None,
        }

    def _make_all(self, specimen: Specimen) -> None:
        """Every experiment, the quick ones first; each may take half of the time that is left."""
        end = time.monotonic() + self.seconds
        experiments: list[tuple[str, Callable[..., dict[str, Any]]]] = [
            ("evaluated_twice", lambda _: repetition(specimen)),
            ("modes_apart", lambda _: modes_apart(specimen)),
            ("batch_mixing", lambda _: batch_mixing(specimen)),
            ("future_leak", lambda _: future_leak(specimen)),
            ("target_given", lambda _: target_given(specimen)),
            ("padding", lambda _: padding_in_batches(specimen)),
            ("inputs_away", lambda _: inputs_away(specimen)),
            ("noise", functools.partial(noise, specimen)),
            ("one_batch", functools.partial(one_batch, specimen)),
            ("critical", functools.partial(critical, specimen)),
            ("baselines", functools.partial(baselines, specimen)),
        ]
        for kind, experiment in experiments:
            began = time.monotonic()
            if began > end:
                self._write(kind, why="the time for experiments was over")
                continue
            due = began + (end - began) / 2
            try:
                told = experiment(lambda due=due: time.monotonic() < due)
            except Exception as problem:
                told = {"why": f"the experiment failed ({_words(problem)})"}
            self._write(kind, **told, took=round(time.monotonic() - began, 4))


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
