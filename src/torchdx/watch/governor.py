"""The bound on what watching may cost: a token bucket that grows by a share of the patient's own time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

LOAN = 0.06
"""Seconds that may be spent at once, before they are earned: learners' scripts last seconds, and the first steps
tell most. The loan is paid back before any other look is taken."""

FIRST = 8
"""Steps at the start of a training that are looked at on credit, as they tell most: the very first in any case."""

DEBT = 0.25
"""Seconds that looks may have taken above what is earned when such a look is taken on credit. All eight looks at a net
for digits cost 0.04; one look at a small ResNet 0.05, at a transformer of twelve layers 0.13. Counted in processor
time, so that what is seen of a first training does not depend on what else the machine does."""

TRAININGS = 6
"""Trainings, each with an optimizer of its own, to whose first steps this applies; a program may make thousands."""

BURST = 1.0
"""Seconds of credit that may pile up while nothing is looked at."""

LOOKS = 0.6
"""Part of the share that looks may take; the rest is for what the books miss: following steps, torch's slower way to
call a module while a hook is in (measured on a residual net and a GPT-like model, see bench/)."""

LIGHT = 150e-6
"""Seconds that following one step without looking costs, until it is measured (120 to 300 microseconds were, of small
models on a 2 GHz core)."""

clock = time.perf_counter


class Governor:
    """Decides whether a look can be paid, and keeps the books."""

    def __init__(self, share: float, earned: float = 0.0) -> None:
        self.share = share
        self.began = clock()
        self.spent = 0.0
        self._worked = 0.0
        self._credit = LOAN + LOOKS * share * earned
        self._paid_at = self.began
        self._cost = 0.0
        self._step = 1.0
        self._followed = 0.0
        self._light = LIGHT

    @property
    def elapsed(self) -> float:
        """Seconds since watching began."""
        return clock() - self.began

    @property
    def left(self) -> float:
        """Seconds that have been earned and not spent."""
        return self.share * self.elapsed - self.spent

    def charge(self, seconds: float) -> None:
        """Book what was just spent on watching."""
        self.spent += seconds
        self._credit -= seconds

    @contextmanager
    def look(self) -> Iterator[None]:
        """Book the time that the block takes."""
        start, worked = clock(), time.thread_time()
        try:
            yield
        finally:
            self.charge(clock() - start)
            self._worked += time.thread_time() - worked

    def follow(self, seconds: float, looking: bool) -> None:
        """Book what a probe took besides the looks within it; at a step looked at it is part of the look."""
        if looking:
            self.charge(seconds)
        else:
            self.spent += seconds
            self._followed += seconds

    def learn(self, cost: float) -> None:
        """What a whole look just cost, to judge the next by: dear looks are believed at once, cheap ones slowly."""
        self._cost = max(cost, 0.8 * self._cost + 0.2 * cost)

    def took(self, seconds: float) -> None:
        """How long a step took that was followed, and following it: averages that one long pause does not spoil."""
        self._step += 0.2 * (min(seconds, 2 * self._step) - self._step)
        self._light += 0.2 * (min(self._followed, 2 * self._light) - self._light)
        self._followed = 0.0

    def nap(self) -> int:
        """How many steps to sleep through, so that following the others costs a tenth of the share at most."""
        return int(2 * self._light / (0.1 * self.share * self._step)) if self._step > 0 else 0

    def affords_look(self) -> bool:
        """May a step be looked at?"""
        return self._balance() >= self._cost

    def affords_first_look(self) -> bool:
        """May a step at the start of a training be looked at, though it is not earned yet?"""
        return self._worked < DEBT + LOOKS * self.share * self.elapsed

    def affords_glance(self) -> bool:
        """May something small be measured at once?"""
        return self._balance() > 0

    def _balance(self) -> float:
        now = clock()
        self._credit = min(self._credit + LOOKS * self.share * (now - self._paid_at), BURST)
        self._paid_at = now
        return self._credit
