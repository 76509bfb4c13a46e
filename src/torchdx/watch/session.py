"""One process under observation: what step it is at, whether this one is looked at, and who wants to know.

Probes weave themselves into torch through the session, and ask to be called `at_look` (a step to be looked at begins),
`at_look_end` (it is over) and `at_end` (the process ends).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Collection
from typing import Any

import torch

from torchdx.watch.governor import FIRST, TRAININGS, Governor, clock
from torchdx.watch.mail import Mail
from torchdx.watch.tensors import has_graph, is_free
from torchdx.watch.weave import CannotWeave, weave
from torchdx.watch.writer import Writer

DENSE = 256
"""Steps at the start whose facts are all kept; later ones thin out, so that a record grows with the logarithm."""

AWAKE = 64
"""Steps at the start that are never slept through."""

LONGEST = 16
"""A nap is this part of all steps so far at most, so that the end of any run is seen, however short its steps."""

WINDOW = 2
"""Steps that are followed before the next nap: whether gradients were cleared shows in two."""

Body = Callable[..., None]


class Session:
    """The state that probes share, and the rule that none of them may ever hurt the patient."""

    def __init__(self, writer: Writer, governor: Governor, max_steps: int | None = None) -> None:
        self.writer = writer
        self.governor = governor
        self.mail = Mail()
        self.max_steps = max_steps
        self.active = True
        self.gone = False
        self.step = 0
        self.looking = False
        self.asleep = False
        self.compiled = False
        self.stopped = False
        self.at_wake: Body | None = None
        self.at_look: list[Body] = []
        self.at_look_end: list[Body] = []
        self.at_end: list[Body] = []
        self._threads: dict[Callable[..., Any], tuple[list[Body], list[Body]]] = {}
        self._pid = os.getpid()
        self._rounds = 0
        self._woke = 0
        self._fresh = FIRST
        self._trainings = 0
        self._wakes = 0
        self._kept = 0
        self._spent_before = 0.0

    def write(self, kind: str, **fact: Any) -> None:
        """Write one fact down."""
        self.writer.write(kind, **fact)

    def guarded(self, *bodies: Body, sleeps: bool = False, rests: Callable[..., bool] | None = None) -> Body:
        """The bodies as one probe: silent while inactive or traced, each disarmed for good by its first error.

        One that `sleeps` is silent too in the steps that the session sleeps through; where no optimizer would wake it
        (`at_wake` is set), it counts those steps. One that `rests` is silent in them only for such calls.
        """
        armed = list(bodies)

        def probe(*args: Any) -> None:
            if not self.active:
                return
            if sleeps and self.asleep:
                if self.at_wake and not self.sleeps_through():
                    self.at_wake()
                return
            if rests is not None and self.asleep and rests(*args):
                return
            if not is_free():
                return
            self.active = False  # whatever the bodies call is not the patient's doing
            governor, looking, collects = self.governor, self.looking, gc.isenabled()
            gc.disable()  # garbage is not ours to collect: going through all of torch takes longer than a look
            start, booked = clock(), governor.spent
            try:
                with torch._C.DisableTorchFunction():  # nor seen or changed by a mode of the patient's
                    for body in armed:
                        body(*args)
            except Exception as error:
                self._strike(armed, body, error)
            finally:
                governor.follow(clock() - start - (governor.spent - booked), looking)
                if collects:
                    gc.enable()
                self.active = not self.gone

        return probe

    def _strike(self, bodies: list[Body], body: Body, error: Exception) -> None:
        if body in bodies:  # else another thread was quicker
            bodies.remove(body)
        self.write("disarmed", probe=body.__qualname__, error=f"{type(error).__name__}: {error}")

    def _call_each(self, bodies: list[Body]) -> None:
        """Each of those that wait for a look; one that fails does not take the others along."""
        for body in [*bodies]:
            try:
                body()
            except Exception as error:
                self._strike(bodies, body, error)

    def weave(self, function: Callable[..., Any], *, before: Body | None = None, after: Body | None = None) -> None:
        """Ask for guarded probes in a function; `begin` weaves in all that was asked for."""
        befores, afters = self._threads.setdefault(function, ([], []))
        if before:
            befores.append(before)
        if after:
            afters.append(after)

    def weave_late(self, function: Callable[..., Any], *, before: Body) -> None:
        """Weave in, at once, a guarded probe that only some programs need."""
        self._weave(function, self.guarded(before), None)

    def weave_bare(self, function: Callable[..., Any], after: Body) -> None:
        """Weave in, at once, a probe that only sets a flag and so needs no guard; for functions called very often."""
        self._weave(function, None, after)

    def _weave(self, function: Callable[..., Any], before: Body | None, after: Body | None) -> None:
        try:
            weave(function, before, after)
        except CannotWeave as error:
            self.write("disarmed", probe=getattr(function, "__qualname__", "?"), error=str(error))

    def begin(self, sleeping: Callable[..., Any], judging: Collection[Callable[..., Any]]) -> None:
        """Weave the probes in; while the session sleeps those in the function `sleeping` do too, and what the functions
        `judging` give is seen only where nothing can be trained on it."""
        for function, (befores, afters) in self._threads.items():
            before = self.guarded(*befores, sleeps=function is sleeping) if befores else None
            rests = has_graph if function in judging else None
            self._weave(function, before, self.guarded(*afters, rests=rests) if afters else None)
        self.begin_step(1)

    # --- steps

    def write_step(self, **fact: Any) -> None:
        """Write the fact of the step just taken."""
        self._kept = self.step
        self.write("step", n=self.step, **fact)

    @property
    def keeps_step(self) -> bool:
        """Is this step's fact kept: all of the first, ever fewer later, and every one looked at?"""
        return self.looking or self.step - self._kept >= self.step // DENSE

    def finish_step(self) -> None:
        """One optimizer step is over: close the look at it and decide about the next."""
        if self.looking:
            self._rounds -= 1
            with self.governor.look():
                self._call_each(self.at_look_end)
            if self._rounds <= 0:
                self.looking = False
                self.governor.learn(self.governor.spent - self._spent_before)
        self.mail.deliver()

    def begin_step(self, rounds: int) -> None:
        """Decide whether to look at the coming step, and at its sisters if several optimizers take turns."""
        if not self.looking and self._may_look() and not torch._C._autograd._profiler_enabled():
            self.looking = True
            self._rounds = max(1, rounds)
            self._spent_before = self.governor.spent
        if self.looking:
            with self.governor.look():
                self._call_each(self.at_look)
        elif self.step >= AWAKE and self.step - self._woke >= WINDOW:
            nap = min(self.governor.nap(), max(AWAKE // 2, self.step // LONGEST))
            self.asleep = nap > 0
            self._wakes = self.step + nap

    def _may_look(self) -> bool:
        """Is the coming step a training's first, one of those looked at on credit, or can the look be paid?"""
        unlooked = self._fresh - self.step
        if unlooked == FIRST:
            return True
        return self.governor.affords_first_look() if unlooked > 0 else self.governor.affords_look()

    def begin_training(self) -> None:
        """A new optimizer was made: be awake for it, and look at its first steps as at those of the first."""
        self._trainings += 1
        self.asleep = False
        self._woke = self.step
        if self._trainings <= TRAININGS:
            self._fresh = self.step + FIRST
        if not self.looking:
            self.begin_step(1)

    def sleeps_through(self) -> bool:
        """Count a step taken asleep; False if it is the one to wake after."""
        self.step += 1
        if self.step < self._wakes:
            return True
        self.asleep = False
        self._woke = self.step
        return False

    # --- beginnings and ends

    def forked(self) -> None:
        """In a forked child: a file of its own, and the parent's mail stays the parent's."""
        self.writer.forget()
        self.mail = Mail()
        self._pid = os.getpid()

    def disarm(self) -> None:
        """See and write nothing more."""
        self.active = False
        self.gone = True
        self.looking = False

    def end(self) -> None:
        """Write down how the process ends."""
        if not self.active or os.getpid() != self._pid:
            return
        for last_words in self.at_end:
            self.guarded(last_words)()
        self.guarded(lambda: self.mail.deliver(wait=True))()
        error = last_error()
        self.write(
            "end",
            steps=self.step,
            t=self.governor.elapsed,
            spent=self.governor.spent,
            stopped=self.stopped,
            exception={"type": type(error).__name__, "text": str(error)[:500]} if error else None,
        )
        self.active = False


def last_error() -> BaseException | None:
    """What the process dies of, if it does."""
    return getattr(sys, "last_exc", None) or getattr(sys, "last_value", None) or _failing()


def _failing() -> BaseException | None:
    """What a process of `multiprocessing` dies of, which says so by its status alone: the error behind it."""
    leaving = sys.exc_info()[1]
    if isinstance(leaving, SystemExit):
        return leaving.__context__ if leaving.code else None
    return leaving
