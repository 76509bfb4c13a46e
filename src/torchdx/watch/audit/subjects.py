"""What there is to audit: the DataLoaders that a program makes, what they are called, and what they are used for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from torchdx.watch.audit.sources import name_bound
from torchdx.watch.audit.specimens import Specimens
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session

MOST = 8
"""Loaders that are audited; a program that makes one each epoch makes them alike."""

EVALUATION = ("val", "test", "eval", "dev", "valid", "holdout")


@dataclass
class Subject:
    """A loader, dataset or transform, where it was made, and what is known of its use."""

    thing: Any
    what: str
    site: Place | None
    name: str | None = None
    trained: int = 0
    judged: int = 0

    @property
    def role(self) -> str | None:
        """ "train" or "eval", by what it was used for, else by its name, else by its order; None if all is open."""
        if self.trained:
            return "train"
        words = (self.name or "").lower()
        if any(word in words for word in EVALUATION):
            return "eval"
        if "train" in words:
            return "train"
        if self.judged:
            return "eval"
        if isinstance(self.thing, DataLoader) and "Random" in type(getattr(self.thing, "sampler", None)).__name__:
            return "train"
        return None

    @property
    def dataset(self) -> Any:
        """What the samples are taken from."""
        if self.what == "transform":
            return Specimens(self.thing)
        return self.thing.dataset if isinstance(self.thing, DataLoader) else self.thing


class Subjects:
    """Keeps the loaders that a program makes, and notes after which of them an optimizer took a step."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.all: list[Subject] = []
        self._last: tuple[Subject, int] | None = None
        session.weave(DataLoader.__init__, after=self._made)
        session.weave(_BaseDataLoaderIter.__init__, after=self._started)

    def _made(self, _: None, loader: Any, *__: Any) -> None:
        if len(self.all) < MOST:
            site = user_place(2, skip_constructor_of=loader)
            self.all.append(Subject(loader, "loader", site, name_bound(site)))

    def _started(self, _: None, __: Any, loader: Any, *___: Any) -> None:
        """A pass begins: the one before was for training if steps were taken since it began."""
        self.settle()
        subject = next((one for one in self.all if one.thing is loader), None)
        if subject is not None:
            self._last = (subject, self.session.step)
            subject.judged += not torch.is_grad_enabled()

    def settle(self) -> None:
        """Say of the last pass what it was for."""
        if self._last is not None:
            subject, step = self._last
            subject.trained += self.session.step > step
            subject.judged += self.session.step == step
