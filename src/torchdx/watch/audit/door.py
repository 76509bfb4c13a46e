"""From a batch to the model's door: what the program itself does to a batch before a model is given it."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from torch import nn
from torch.utils.data.dataloader import _BaseDataLoaderIter

from torchdx.watch.audit.follow import Follower, Taken, parts_of
from torchdx.watch.audit.journey import Step, told_steps
from torchdx.watch.audit.numbers import holds_numbers
from torchdx.watch.audit.samples import input_of, target_of
from torchdx.watch.audit.subjects import Subject, Subjects
from torchdx.watch.audit.values import Shot
from torchdx.watch.places import is_user_code
from torchdx.watch.session import Session

_CLIMBED = 30


class Door:
    """Follows the first batch of each loader through the program's own loop."""

    def __init__(self, session: Session, subjects: Subjects) -> None:
        self.subjects = subjects
        self._passes: dict[int, tuple[Any, Subject]] = {}
        self._ways: dict[int, Way] = {}
        session.weave(_BaseDataLoaderIter.__init__, after=self._started)
        session.weave(_BaseDataLoaderIter.__next__, after=self._gives)

    def steps_of(self, subject: Subject, first: int) -> list[Step]:
        """The steps from this loader's batch to the door, numbered from `first`."""
        way = self._ways.get(id(subject))
        return way.steps(first) if way is not None else []

    def _started(self, _: None, iterator: Any, loader: Any, *__: Any) -> None:
        subject = next((one for one in self.subjects.all if one.thing is loader), None)
        if subject is not None and id(subject) not in self._ways:
            self._passes[id(iterator)] = (iterator, subject)

    def _gives(self, batch: Any, iterator: Any, *_: Any) -> None:
        known = self._passes.pop(id(iterator), None)
        frame = _user_frame(sys._getframe(1))
        if known is not None and batch is not None and frame is not None and sys.gettrace() is None:
            self._ways[id(known[1])] = Way(batch, frame)


class Way:
    """One batch on its way."""

    def __init__(self, batch: Any, frame: FrameType) -> None:
        self.follower = Follower()
        self.targets = {self._origin(part) for part in parts_of(target_of(batch))}
        self.inputs = {self._origin(part) for part in parts_of(input_of(batch))} - self.targets
        self._reached: set[int] = set()
        self.follower.begin(frame, self._is_door)

    def _origin(self, part: Any) -> int:
        known = self.follower.step_of(part)
        return known if known is not None else self.follower.add(Taken("batch", "", "", None, None, Shot.of(part), []))

    def _is_door(self, frame: FrameType) -> bool:
        """Is this the call of a model? Then what it is given is where the way ends."""
        if frame.f_code.co_name != "forward":
            return False
        model = frame.f_locals.get("self")
        if not isinstance(model, nn.Module) or next(model.parameters(), None) is None:
            return False
        given = [part for name, value in frame.f_locals.items() if name != "self" for part in parts_of(value)]
        for part in [one for one in given if holds_numbers(one)][:2]:
            made = self.follower.step_of(part)
            shot = Shot.of(part)
            before = self.follower.shot_of(part) if made is not None else None
            name = type(model).__name__
            sources = [made] if made is not None else []
            self._reached.add(self.follower.add(Taken("door", name, f"{name}(…)", None, before, shot, sources)))
        return bool(self._reached)

    def steps(self, first: int) -> list[Step]:
        """What happened on the way, as facts."""
        taken = self.follower.taken
        parts: dict[int, str] = {}
        waiting = list(self._reached)
        while waiting:
            number = waiting.pop()
            if number not in parts:
                parts[number] = "input"
                waiting += taken[number].sources
        for number, step in enumerate(taken):
            if number not in parts and any(s in self.targets or parts.get(s) == "target" for s in step.sources):
                parts[number] = "target"
        shown = {n: part for n, part in parts.items() if n not in self.targets and n not in self.inputs}
        return told_steps(taken, shown, first=first)


def _user_frame(frame: FrameType | None) -> FrameType | None:
    for _ in range(_CLIMBED):
        if frame is None or is_user_code(frame.f_code):
            return frame
        frame = frame.f_back
    return None
