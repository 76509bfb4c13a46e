"""One process under observation: what step it is at, whether this one is looked at, and who wants to know.

Probes weave themselves into torch through the session, and ask to be called `at_look` (a step to be looked at begins),
`at_look_end` (it is over) and `at_end` (the process ends).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from torchdx.watch.governor import Governor
from torchdx.watch.mail import Mail
from torchdx.watch.tensors import is_free
from torchdx.watch.weave import CannotWeave, weave
from torchdx.watch.writer import Writer

DENSE = 256
"""Steps at the start whose facts are all kept; later ones thin out, so that a record grows with the logarithm."""

Body = Callable[..., None]


class Session:
    """The state that probes share, and the rule that none of them may ever hurt the patient."""

    def __init__(self, writer: Writer, governor: Governor, max_steps: int | None = None) -> None:
        self.writer = writer
        self.governor = governor
        self.mail = Mail()
        self.max_steps = max_steps
        self.active = True
        self.step = 0
        self.looking = False
        self.compiled = False
        self.stopped = False
        self.at_look: list[Body] = []
        self.at_look_end: list[Body] = []
        self.at_end: list[Body] = []
        self._threads: dict[Callable[..., Any], tuple[list[Body], list[Body]]] = {}
        self._pid = os.getpid()
        self._rounds = 0
        self._spent_before = 0.0

    def write(self, kind: str, **fact: Any) -> None:
        """Write one fact down."""
        self.writer.write(kind, **fact)

    def guarded(self, body: Body) -> Body:
        """The body as a probe: silent while inactive or traced, and disarmed for good by its first error."""
        armed = True

        def probe(*args: Any) -> None:
            nonlocal armed
            if not (self.active and armed and is_free()):
                return
            self.active = False  # whatever the body calls is not the patient's doing
            try:
                body(*args)
            except Exception as error:
                armed = False
                self.write("disarmed", probe=body.__qualname__, error=f"{type(error).__name__}: {error}")
            finally:
                self.active = True

        return probe

    def weave(self, function: Callable[..., Any], *, before: Body | None = None, after: Body | None = None) -> None:
        """Ask for guarded probes in a function; `begin` weaves in all that was asked for."""
        befores, afters = self._threads.setdefault(function, ([], []))
        if before:
            befores.append(self.guarded(before))
        if after:
            afters.append(self.guarded(after))

    def weave_bare(self, function: Callable[..., Any], *, after: Body) -> None:
        """Ask for a probe that only sets a flag, and so needs no guard; for functions called very often."""
        self._threads.setdefault(function, ([], []))[1].append(after)

    def begin(self) -> None:
        """Weave the probes in; the record says where that cannot be done."""
        for function, (befores, afters) in self._threads.items():
            try:
                weave(function, _in_turn(befores), _in_turn(afters))
            except CannotWeave as error:
                self.write("disarmed", probe=getattr(function, "__qualname__", "?"), error=str(error))
        self.begin_step(1)

    # --- steps

    @property
    def keeps_step(self) -> bool:
        """Is this step's fact kept: all of the first, every 2nd, 4th, ... later, and every one looked at?"""
        stride = max(1, self.step // DENSE)
        return self.looking or self.step % (1 << (stride.bit_length() - 1)) == 0

    def finish_step(self) -> None:
        """One optimizer step is over: close the look at it and decide about the next."""
        if self.looking:
            self._rounds -= 1
            with self.governor.look():
                for close in self.at_look_end:
                    close()
            if self._rounds <= 0:
                self.looking = False
                self.governor.learn(self.governor.spent - self._spent_before)
        self.mail.deliver()

    def begin_step(self, rounds: int) -> None:
        """Decide whether to look at the coming step, and at its sisters if several optimizers take turns."""
        if not self.looking and self.governor.affords_look(self.step + 1):
            self.looking = True
            self._rounds = max(1, rounds)
            self._spent_before = self.governor.spent
        if self.looking:
            with self.governor.look():
                for look in self.at_look:
                    look()

    # --- beginnings and ends

    def forked(self) -> None:
        """In a forked child: a file of its own, and the parent's mail stays the parent's."""
        self.writer.forget()
        self.mail = Mail()
        self._pid = os.getpid()

    def disarm(self) -> None:
        """See and write nothing more."""
        self.active = False
        self.looking = False

    def end(self) -> None:
        """Write down how the process ends."""
        if not self.active or os.getpid() != self._pid:
            return
        for last_words in self.at_end:
            self.guarded(last_words)()
        self.guarded(lambda: self.mail.deliver(wait=True))()
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        self.write(
            "end",
            steps=self.step,
            t=self.governor.elapsed,
            spent=self.governor.spent,
            stopped=self.stopped,
            exception={"type": type(error).__name__, "text": str(error)[:500]} if error else None,
        )
        self.active = False


def _in_turn(bodies: list[Body]) -> Body | None:
    """One callable for all of them."""
    if len(bodies) < 2:
        return bodies[0] if bodies else None

    def each(*arguments: Any) -> None:
        for body in bodies:
            body(*arguments)

    return each
