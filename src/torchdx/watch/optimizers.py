"""Optimizers: what they hold, when they step, whether gradients were cleared, how they are scheduled and clipped."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from torchdx.watch.byhand import ByHand
from torchdx.watch.clearing import Clearing
from torchdx.watch.clipping import Clipping
from torchdx.watch.governor import clock
from torchdx.watch.gradients import GLANCE, Gradients
from torchdx.watch.models import Models
from torchdx.watch.passes import Passes
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import SIMPLE, is_free, number, root_of

_MOST = 4
"""Optimizers whose gradients are followed from the backward pass to the step, the latest."""


class Optimizers:
    """Follows every optimizer from its making through each of its steps."""

    def __init__(self, session: Session, models: Models, gradients: Gradients) -> None:
        self.session = session
        self.models = models
        self.gradients = gradients
        self._made: dict[int, tuple[weakref.ref[Optimizer], Place | None]] = {}
        self._known: dict[int, tuple[weakref.ref[Optimizer], int]] = {}
        self.stepped: dict[int, weakref.ref[Optimizer]] = {}
        self._count = 0
        self._began = clock()
        self._backwards = 0
        self._objective: float | None = None
        self.clearing = Clearing()
        self.by_hand = ByHand(session, models, gradients, self.clearing)
        self.clipping = Clipping(session)
        self.passes = Passes()
        self.wait = 0.0
        session.weave(Optimizer.__init__, after=self._constructed)
        session.weave(Optimizer.add_param_group, after=self._extended)
        session.weave(torch.autograd.backward, before=self._backward, after=self._was_backward)
        register_optimizer_step_pre_hook(session.guarded(self._before, sleeps=True))
        self._after_guarded = session.guarded(self._after)
        self._wake_guarded = session.guarded(self._wake)
        self._wake_by_hand_guarded = session.guarded(self._wake_by_hand)
        register_optimizer_step_post_hook(self._post)

    # --- making

    def _constructed(self, _: None, optimizer: Optimizer, *__: Any) -> None:
        self.session.at_wake = None
        self.session.begin_training()
        self._refresh()
        self._made[id(optimizer)] = (weakref.ref(optimizer), user_place(2, skip_constructor_of=optimizer))

    def _extended(self, _: None, optimizer: Optimizer, *__: Any) -> None:
        if id(optimizer) in self._known:  # else its constructor adds the group, before anything was seen of it
            self.gradients.hold(optimizer)

    @property
    def count(self) -> int:
        """How many optimizers have taken a step."""
        return self._count

    def number_of(self, optimizer: Optimizer) -> int | None:
        """The number of an optimizer that has taken a step."""
        known = self._known.get(id(optimizer))
        return known[1] if known is not None and known[0]() is optimizer else None

    def _number(self, optimizer: Optimizer) -> int:
        known = self._known.get(id(optimizer))
        if known is not None and known[0]() is optimizer:
            return known[1]
        number, self._count = self._count, self._count + 1
        self._known[id(optimizer)] = (weakref.ref(optimizer), number)
        held = [p for group in optimizer.param_groups for p in group["params"]]
        self.models.adopt_optimised({id(p) for p in held})
        made = self._made.get(id(optimizer))
        self.gradients.hold(optimizer)
        groups = [
            {
                **{k: v for k, v in group.items() if isinstance(v, SIMPLE)},
                "params": [self.models.parameter_number(p) for p in group["params"]],
            }
            for group in optimizer.param_groups
        ]
        place = made[1] if made and made[0]() is optimizer else None
        self.session.write(
            "optimizer", id=number, cls=type(optimizer).__name__, site=place, step=self.session.step, groups=groups
        )
        return number

    # --- backward

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = root_of(tensors)
        self.clearing.before_backward()
        self._backwards += 1
        self.passes.begins()
        self.clipping.backwards += 1
        self._leaf = root is not None and root.grad_fn is None
        if root is not None and root.numel() == 1 and root.device.type == "cpu":
            self._objective = number(root)
        if not self._count and not self._made:  # no optimizer: a hand-written update, so each backward is a step
            self.session.at_wake = self._wake_by_hand_guarded
            rate = None
            if self.session.looking:
                with self.session.governor.look():
                    rate = self.by_hand.stepped(root)
            else:
                self.clearing.forget()
            self._count_step(0, rate)

    def _was_backward(self, _: Any, tensors: Any = None, *__: Any) -> None:
        if self.session.looking:
            with self.session.governor.look():
                if not self._count and not self._made:
                    self.by_hand.passed(root_of(tensors))
                for known, index in list(self._known.values())[-_MOST:]:
                    if (optimizer := known()) is not None:
                        self.gradients.given(optimizer, index)
        if self.passes.several and self._count == 1:
            self.passes.ended(next(iter(self._known.values()))[0]())
        if self.session.at_wake:
            self._stop_if_enough()

    # --- steps

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        index = self._number(optimizer)
        if self.passes.several:
            self.passes.used(clipped=self.clipping.told() is not None)
        if self.session.looking:
            with self.session.governor.look():
                self.gradients.before(optimizer, index)

    def _post(self, optimizer: Optimizer, *_: Any) -> None:
        session = self.session
        known = self.stepped.get(id(optimizer))
        if known is None or known() is not optimizer:
            self.stepped[id(optimizer)] = weakref.ref(optimizer)
        if not session.asleep:
            self._after_guarded(optimizer)
        elif session.active and not session.sleeps_through():
            self._wake_guarded(optimizer)
        if session.active and session.max_steps and is_free():
            self._stop_if_enough()

    def _stop_if_enough(self) -> None:
        if self.session.max_steps and self.session.step >= self.session.max_steps:
            self.session.stopped = True
            raise SystemExit(0)

    def _after(self, optimizer: Optimizer) -> None:
        if self.session.looking:
            with self.session.governor.look():
                self.gradients.after(optimizer)
        elif self.session.step >= self.gradients.due.get(self._number(optimizer), GLANCE):
            with self.session.governor.look():
                self.gradients.glance(optimizer, self._number(optimizer))
        self._count_step(self._number(optimizer), next(iter(optimizer.param_groups), {}).get("lr"))
        self.clearing.mark(self._number(optimizer), optimizer)

    def _wake(self, optimizer: Optimizer) -> None:
        self._refresh()
        self.clearing.forget()
        self.passes.forget()
        self.session.begin_step(self._count)
        self.clearing.mark(self._number(optimizer), optimizer)

    def _wake_by_hand(self) -> None:
        self._refresh()
        self.session.begin_step(1)

    def _count_step(self, index: int, rate: Any) -> None:
        session = self.session
        session.step += 1
        took = clock() - self._began
        session.governor.took(took)
        lost = self.passes.told()
        if session.keeps_step:
            self._write_step(index, rate, took, lost)
        self._refresh()
        session.finish_step()
        session.begin_step(self._count)

    def _refresh(self) -> None:
        self._backwards, self.wait = 0, 0.0
        self.clipping.begin()
        self._began = clock()

    def _write_step(self, index: int, rate: Any, took: float, lost: int | None) -> None:
        governor = self.session.governor
        self.session.write_step(
            optimizer=index,
            t=round(governor.elapsed, 6),
            spent=round(governor.spent, 6),
            took=round(took, 7),
            wait=round(self.wait, 7),
            objective=self._objective,
            lr=float(rate) if isinstance(rate, int | float) else None,
            backwards=self._backwards,
            **({"lost": lost} if lost is not None else {}),
            **({"leaf": True} if self._leaf else {}),
            cleared=self.clearing.told(index),
            clip=self.clipping.told(),
            looked=self.session.looking,
        )
