"""The journey of one sample through a pipeline: followed several times, told step by step, from where it began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from torchdx.watch.audit.change import change
from torchdx.watch.audit.follow import Follower, Taken, parts_of
from torchdx.watch.audit.samples import input_of, target_of
from torchdx.watch.audit.values import Shot
from torchdx.watch.audit.words import words_of

Step = dict[str, Any]

KNOWN = {"collate": "stacked into a batch", "door": "given to the model"}
"""What steps of these kinds do."""

AGAIN = 4
"""Times that the sample is fetched anew: what is applied to every second one is then missed once in 16 times."""


class Journey:
    """What was done to one sample, from where it began to its batch; `steps` tells it as a fact does."""

    def __init__(self, fetch: Callable[[], Any], collate: Callable[[Any], Any] | None) -> None:
        """Fetch the sample while it is followed, twice; with `collate` make it a batch. What they raise is raised."""
        runs = [_followed(fetch) for _ in range(1 + AGAIN)]
        self.follower, self.sample = max(runs, key=lambda run: len(run[0].taken))  # where most was applied
        others = [follower.taken for follower, _ in runs if follower is not self.follower]
        self._varying = {step for taken in others for step in _varying(self.follower.taken, taken)}
        self._parts: dict[int, str] = {}
        self._tell_parts(self.sample)
        if collate is not None:
            self._collate(collate)

    def _collate(self, collate: Callable[[Any], Any]) -> None:
        """One sample made a batch: of each of its parts, the like of it in the batch."""
        batch = self.follower.follow(lambda: collate([self.sample]))
        for part, one in ((input_of(self.sample), input_of(batch)), (target_of(self.sample), target_of(batch))):
            before, after = next(parts_of(part), None), next(parts_of(one), None)
            if after is not None and self.follower.step_of(after) is None:
                self._add_collated(getattr(collate, "__name__", ""), before, after)
        self._tell_parts(batch)

    def _add_collated(self, name: str, before: Any, after: Any) -> None:
        made = self.follower.step_of(before)
        shot = self.follower.shot_of(before) if before is not None else None
        sources = [made] if made is not None else []
        self.follower.add(Taken("collate", name, name, None, shot, Shot.of(after), sources))

    def _tell_parts(self, sample: Any) -> None:
        """Mark the steps that lead to the sample's input, and those that lead to its target alone."""
        for part, value in (("target", target_of(sample)), ("input", input_of(sample))):
            for one in parts_of(value):
                number = self.follower.step_of(one)
                for step in self._back(number) if number is not None else ():
                    self._parts[step] = part

    def _back(self, number: int) -> Iterator[int]:
        """The step and all that it rests on."""
        waiting, seen = [number], set[int]()
        while waiting:
            step = waiting.pop()
            if step not in seen:
                seen.add(step)
                yield step
                waiting += self.follower.taken[step].sources

    @property
    def steps(self) -> list[Step]:
        """The steps that lead to the sample, in order, as facts."""
        return told_steps(self.follower.taken, self._parts, self._varying)


def told_steps(
    steps: Sequence[Taken], parts: Mapping[int, str], varying: Collection[int] = (), first: int = 0
) -> list[Step]:
    """Those of the steps that have a part, as facts, numbered from `first`."""
    kept = [number for number in range(len(steps)) if number in parts]
    place = {number: k for k, number in enumerate(kept, first)}
    told = []
    for number in kept:
        step = _told(steps[number])
        step |= {"n": place[number], "from": [place[one] for one in steps[number].sources if one in place]}
        step["part"] = parts[number]
        told.append(step | ({"varies": True} if number in varying else {}))
    return told


def _told(taken: Taken) -> Step:
    measured = change(taken.before, taken.after) if taken.before is not None else None
    before = taken.before.described() if taken.before is not None else None
    after = taken.after.described()
    words = KNOWN.get(taken.kind) or words_of(taken.name, before, after, measured)
    return {
        "kind": taken.kind,
        "name": taken.name,
        "text": taken.text,
        "site": taken.site,
        "words": words,
        "before": _without_picture(before),
        "after": after,
        "change": measured,
        "times": round(taken.seconds, 6),
    }


def _followed(fetch: Callable[[], Any]) -> tuple[Follower, Any]:
    follower = Follower()
    return follower, follower.follow(fetch)


def _without_picture(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a step was given is shown as the outcome of the one before."""
    return {name: told for name, told in value.items() if name != "picture"} if value is not None else None


def _varying(first: Sequence[Taken], second: Sequence[Taken]) -> set[int]:
    """The steps that gave another result for the same value, or did nothing, when all was done again."""
    again: dict[tuple[str, str, str], list[Taken]] = defaultdict(list)
    for taken in second:
        again[taken.name, taken.text, str(taken.site)].append(taken)
    seen: dict[tuple[str, str, str], int] = defaultdict(int)
    found = set()
    for number, taken in enumerate(first):
        key = (taken.name, taken.text, str(taken.site))
        twins = again[key]
        twin = twins[seen[key]] if seen[key] < len(twins) else None
        seen[key] += 1
        if twin is None or (_digest(twin.before) == _digest(taken.before) and twin.after.digest != taken.after.digest):
            found.add(number)
    return found


def _digest(shot: Any) -> str:
    return shot.digest if shot is not None else ""
