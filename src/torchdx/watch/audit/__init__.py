"""The audit of a program's data, made only when asked for: what happens to samples, and what many of them are like.

It is made when the program has ended, in the same process, on the very loaders and datasets that it made. Each measure
is one function of pools of samples; what it cannot measure it leaves out, and what fails is told and stops nothing.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from torchdx.watch.audit.door import Door
from torchdx.watch.audit.journey import Journey
from torchdx.watch.audit.measures import OF_ALL, OF_ONE, OF_TWO
from torchdx.watch.audit.pool import Pool, gather, length_of, spread
from torchdx.watch.audit.subjects import Subject, Subjects
from torchdx.watch.places import is_user_code
from torchdx.watch.session import Session

SECONDS = 50.0
"""What the audit of all pipelines may take together; fetching one sample may be over it."""


class Audit:
    """Audits the loaders that a program makes, when it ends."""

    def __init__(self, session: Session, *, traces: bool = True, seconds: float = SECONDS) -> None:
        """With `traces`, the first batches are followed to the model while the program runs, which slows these down."""
        self.session = session
        self.seconds = seconds
        self.subjects = Subjects(session)
        self.door = Door(session, self.subjects) if traces else None
        session.at_end.append(self._ends)

    def _ends(self) -> None:
        """Make the audit; whatever happens here, the program ends as it would have ended."""
        start = time.monotonic()
        self.subjects.settle()
        try:
            audit(self.session, self.subjects.all, self.door, self.seconds)
        except KeyboardInterrupt:
            self.session.write("audit", why="it was interrupted")
        finally:
            self.session.governor.began += time.monotonic() - start  # the run itself was over before


def audit(session: Session, subjects: Sequence[Subject], door: Door | None = None, seconds: float = SECONDS) -> None:
    """Audit these, within so many seconds, and write down what is found; no random stream is left moved."""
    deadline = time.monotonic() + seconds
    gc.enable()  # what is fetched here is garbage by the thousand
    pools: list[tuple[Subject, Pool]] = []
    with _streams_kept(), torch._C._EnableTorchFunction():
        for number, subject in enumerate(_once(subjects)):
            left = deadline - time.monotonic()
            if left > 0:
                pools.append((subject, _audited(session, number, subject, door, left / 2)))
        for subject, pool in pools:
            for kind, measure in OF_ONE.items():
                _measured(session, kind, deadline, lambda: measure(pool, subject), pipeline=pool.pipeline)  # noqa: B023
        for trained, judged in _pairs(pools):
            for kind, between in OF_TWO.items():
                told = {"train": trained.pipeline, "eval": judged.pipeline}
                _measured(session, kind, deadline, lambda: between(trained, judged), **told)  # noqa: B023
        _measured_all(session, pools, deadline)


def _measured_all(session: Session, pools: Sequence[tuple[Subject, Pool]], deadline: float) -> None:
    pairs = list(_pairs(pools))
    if pairs:
        trained, judged = pairs[0][0], [pool for _, pool in pairs]
        told = {"train": trained.pipeline, "eval": judged[0].pipeline}
        for kind, measure in OF_ALL.items():
            _measured(session, kind, deadline, lambda: measure(trained, judged), **told)  # noqa: B023


def _audited(session: Session, number: int, subject: Subject, door: Door | None, seconds: float) -> Pool:
    """One pipeline: its journey, and its samples gathered."""
    began = time.monotonic()
    pool = Pool(number)
    gather(pool, subject.dataset, seconds=seconds)
    session.write("pipeline", id=number, **_described(subject, pool))
    _tell_journey(session, pool, subject, door)
    _tell_errors(session, pool)
    pool.seconds = time.monotonic() - began
    return pool


def _described(subject: Subject, pool: Pool) -> dict[str, Any]:
    loader = subject.thing if isinstance(subject.thing, DataLoader) else None
    told: dict[str, Any] = {"what": subject.what, "role": subject.role, "name": subject.name, "site": subject.site}
    kind = type(subject.thing if subject.what == "transform" else subject.dataset).__name__
    told |= {"dataset": kind, "samples": length_of(subject.dataset), "seen": len(pool)}
    if loader is not None:
        sampler = type(loader.sampler).__name__ if loader.batch_sampler is not None else None
        order = {"SequentialSampler": "sequential", "RandomSampler": "random"}.get(sampler or "", sampler)
        told |= {"batch_size": loader.batch_size, "workers": loader.num_workers, "drop_last": loader.drop_last}
        told |= {"order": order}
    return told | {"seconds": round(pool.seconds, 3), "stopped": pool.stopped}


def _tell_journey(session: Session, pool: Pool, subject: Subject, door: Door | None) -> None:
    number = pool.pipeline
    if sys.gettrace() is not None:
        session.write("journey", pipeline=number, why="the program is traced already, as by a debugger", steps=[])
        return
    count = length_of(subject.dataset)
    index = spread(count, 2)[-1] if count else 0
    collate = getattr(subject.thing, "collate_fn", None)
    try:
        journey = Journey(lambda: subject.dataset[index], collate)
    except Exception as problem:
        session.write("journey", pipeline=number, sample=index, why=_words(problem), steps=[])
        return
    steps = journey.steps
    batch = {step["part"]: [step["n"]] for step in steps}  # the last of each part
    for step in door.steps_of(subject, len(steps)) if door is not None else ():
        steps.append(step | {"from": step["from"] or batch.get(step["part"], [])})
    pool.steps = steps
    session.write("journey", pipeline=number, sample=index, steps=steps)


def _tell_errors(session: Session, pool: Pool) -> None:
    if pool.errors:
        index, what, problem = pool.errors[0]
        session.write(
            "broken",
            pipeline=pool.pipeline,
            sample=index,
            what=what,
            error=_words(problem),
            site=_site_of(problem),
            count=len(pool.errors),
        )


def _measured(
    session: Session, kind: str, deadline: float, measure: Callable[[], dict[str, Any] | None], **about: Any
) -> None:
    if time.monotonic() > deadline:
        return
    try:
        told = measure()
    except Exception as problem:  # of a probe's: it is left out, and the rest goes on
        session.write("disarmed", probe=f"audit: {kind}", error=_words(problem))
        return
    if told is not None:
        session.write(kind, **about, **told)


def _pairs(pools: Sequence[tuple[Subject, Pool]]) -> Iterator[tuple[Pool, Pool]]:
    """What is trained on, with each of those that are evaluated on."""
    trained = [pool for subject, pool in pools if subject.role == "train" and len(pool)]
    judged = [pool for subject, pool in pools if subject.role == "eval" and len(pool)]
    for other in judged if trained else ():
        yield trained[0], other


def _once(subjects: Sequence[Subject]) -> Iterator[Subject]:
    """Each dataset once for each use that is made of it."""
    seen = set()
    for subject in subjects:
        key = (id(subject.dataset), subject.role, id(getattr(subject.thing, "collate_fn", None)))
        if key not in seen:
            seen.add(key)
            yield subject


def _words(problem: BaseException) -> str:
    words = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {words[:300]}" if words else type(problem).__name__


def _site_of(problem: BaseException) -> list[Any] | None:
    """The innermost line of the user's program that the error passed through."""
    trace, found = problem.__traceback__, None
    while trace is not None:
        if is_user_code(trace.tb_frame.f_code):
            found = [trace.tb_frame.f_code.co_filename, trace.tb_lineno, 1, None, None]
        trace = trace.tb_next
    return found


@contextmanager
def _streams_kept() -> Iterator[None]:
    """Put every random stream back as it was."""
    numpy = sys.modules.get("numpy")
    kept = random.getstate()
    arrays = numpy.random.get_state() if numpy is not None else None
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(kept)
            if numpy is not None:
                numpy.random.set_state(arrays)
