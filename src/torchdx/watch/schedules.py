"""Schedules of the learning rate: what they were planned for, and how far they were followed."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from torchdx.watch.optimizers import Optimizers
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import SIMPLE

_MOST = 64
"""Schedulers told about; a program that makes one for each of a thousand trainings is known by the first."""


@dataclass
class Course:
    """How often a scheduler was stepped, and where it stood then."""

    id: int
    scheduler: weakref.ref[Any]
    optimizer: weakref.ref[Optimizer] | None
    held: int | None = None
    place: Place | None = None
    calls: int = 0
    first_step: int = 0
    last_step: int = 0
    position: float | None = None


class Schedules:
    """Follows every scheduler of torch from its making to the last of its steps."""

    def __init__(self, session: Session, optimizers: Optimizers) -> None:
        self.session = session
        self.optimizers = optimizers
        self._courses: list[Course] = []
        self._present: dict[int, Course] = {}
        for made in (LRScheduler, ReduceLROnPlateau):
            session.weave(made.__init__, after=self._made)
        session.at_end.append(self._tell)

    def _begins(self) -> None:
        """Follow the steps of schedulers, now that there is one."""
        for kind in vars(lr_scheduler).values():
            if isinstance(kind, type) and "step" in vars(kind) and issubclass(kind, (LRScheduler, ReduceLROnPlateau)):
                self.session.weave_bare(kind.step, self._stepped)

    def _made(self, _: None, scheduler: Any, *__: Any) -> None:
        if not self._courses:
            self._begins()
        if len(self._courses) >= _MOST:
            return
        options: dict[str, Any] = {
            k: v for k, v in vars(scheduler).items() if isinstance(v, SIMPLE) and not k.startswith("_")
        }
        milestones = getattr(scheduler, "milestones", None)
        if isinstance(milestones, Mapping | list | tuple) and milestones:
            options["milestones"] = sorted(int(one) for one in milestones)
        place = user_place(2, skip_constructor_of=scheduler)
        number = len(self._courses)
        self.session.write("scheduler", id=number, cls=type(scheduler).__name__, site=place, options=options)
        optimizer = getattr(scheduler, "optimizer", None)
        course = Course(number, weakref.ref(scheduler), weakref.ref(optimizer) if optimizer is not None else None)
        self._courses.append(course)
        self._present[id(scheduler)] = course

    def _stepped(self, _: None, scheduler: Any, *__: Any) -> None:
        course = self._present.get(id(scheduler))
        if course is None or getattr(scheduler, "_is_initial", False) or course.scheduler() is not scheduler:
            return
        step = self.session.step
        if course.held is None:
            self._begin(course, step)
        course.calls += 1
        course.last_step = step
        course.position = getattr(scheduler, "last_epoch", None)

    def _begin(self, course: Course, step: int) -> None:
        """Note where the first calls come from, and which optimizer they concern, as that one may be gone later."""
        if not course.calls:
            course.first_step, course.place = step, user_place(2)
        optimizer = course.optimizer() if course.optimizer is not None else None
        inner = getattr(optimizer, "optimizer", None)  # accelerate's is one around the one that takes the steps
        held = self.optimizers.number_of(optimizer) if optimizer is not None else None
        course.held = self.optimizers.number_of(inner) if held is None and isinstance(inner, Optimizer) else held

    def _tell(self) -> None:
        for course in self._courses:
            position = course.position
            self.session.write(
                "schedule",
                id=course.id,
                optimizer=course.held,
                site=course.place,
                calls=course.calls,
                first_step=course.first_step,
                last_step=course.last_step,
                position=float(position) if isinstance(position, int | float) else None,
            )
