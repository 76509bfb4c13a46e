"""State dictionaries: taken from modules, read from files, loaded into modules, and what stayed out when they were."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.models import Models, named_parameters
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain

NAMES = 4
"""Keys of each sort that are told, of all that stayed out."""

TRIED = 8
"""Unexpected keys that are compared with missing ones to find the prefix that tells them apart."""

OFTEN = 4
"""Loads at one place that are all told; later ones at every doubling of their number."""

_MOST_TAKEN = 64
_DEEPEST = 3


@dataclass(frozen=True)
class _Offer:
    """What a module (by id) is about to load: the parameters given their own values, of all that are given any."""

    module: int
    own: set[str]
    usable: int
    taken: tuple[int, Place | None, bool] | None


class States:
    """Follows the weights that come from elsewhere: from a file, or from this very model."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._taken: dict[int, tuple[weakref.ref[Tensor], int, Place | None, int]] = {}
        self._loads: Counter[str] = Counter()
        self._offer: _Offer | None = None
        self._waiting: list[tuple[weakref.ref[nn.Module], dict[str, Any]]] = []
        self._read_tensors = 0
        self._take_guarded = session.guarded(self._take)
        session.weave_bare(nn.Module.state_dict, self._was_taken)
        session.weave(nn.Module.load_state_dict, before=self._offered, after=self._loaded)
        session.weave(torch.load, after=self._was_read)
        session.at_look_end.append(self._tell)
        session.at_end.append(self._tell_all)

    # --- taken from a module

    def _was_taken(self, state: Any, module: nn.Module, args: Any, destination: Any, prefix: str, *_: Any) -> None:
        if not prefix:  # else it is a part of a greater one
            self._take_guarded(state)

    def _take(self, state: Any) -> None:
        tensor = next((tensor for tensor in _tensors(state) if is_plain(tensor)), None)
        if tensor is None or tensor.is_inference():
            return
        if len(self._taken) >= _MOST_TAKEN:
            self._taken = {key: known for key, known in self._taken.items() if known[0]() is not None}
        if len(self._taken) < _MOST_TAKEN:
            self._taken[id(tensor)] = (weakref.ref(tensor), self.session.step, user_place(2), tensor._version)

    def _taken_at(self, tensor: Tensor) -> tuple[int, Place | None, bool] | None:
        """The step and place it was taken at, and whether it has been changed in place since."""
        known = self._taken.get(id(tensor))
        if known is None or known[0]() is not tensor:
            return None
        return known[1], known[2], tensor._version != known[3]

    # --- read from a file

    def _was_read(self, thing: Any, *_: Any) -> None:
        if isinstance(thing, nn.Module):
            self.models.fill(thing)
        tensors = sum(1 for _ in _tensors(thing))
        self._read_tensors += tensors
        if tensors and self._is_told("torch.load"):
            self.session.write("file", step=self.session.step, site=user_place(2), tensors=tensors)

    # --- loaded into a module

    def _offered(self, module: nn.Module, state: Any, *_: Any) -> None:
        """Before it is loaded: which of the values given are the module's own already?"""
        self._offer = None
        if not isinstance(state, Mapping):
            return
        with self.session.governor.look():
            pairs = [(name, p, state.get(name)) for name, p in named_parameters(module) if is_plain(p)]
            usable = [(n, p, given) for n, p, given in pairs if isinstance(given, Tensor) and is_plain(given)]
            own = {name for name, p, given in usable if given.data_ptr() == p.data_ptr()}
            taken = next((told for given in _tensors(state) if (told := self._taken_at(given))), None) if own else None
            self._offer = _Offer(id(module), own, len(usable), taken)

    def _loaded(self, keys: Any, module: nn.Module, state: Any, strict: Any, *_: Any) -> None:
        offer, self._offer = self._offer, None
        if offer is None or offer.module != id(module) or not hasattr(keys, "missing_keys"):
            return
        with self.session.governor.look():
            missing, unexpected = list(keys.missing_keys), list(keys.unexpected_keys)
            self.models.fill(module, besides=offer.own.union(missing))
            place = user_place(3)
            if self._is_told(str(place)):
                fact = {
                    "step": self.session.step,
                    "site": place,
                    "cls": type(module).__name__,
                    "strict": bool(strict),
                    "given": len(state),
                    "matched": len(state) - len(unexpected),
                    "missing": len(missing),
                    "unexpected": len(unexpected),
                    "names": [missing[:NAMES], unexpected[:NAMES]],
                    "renamed": renaming(unexpected, missing),
                    "shared": [len(offer.own), offer.usable],
                    "taken": offer.taken,
                    "read": self._read_tensors,
                }
                self._waiting.append((weakref.ref(module), fact))
                self._tell()

    def _is_told(self, place: str) -> bool:
        self._loads[place] += 1
        count = self._loads[place]
        return count <= OFTEN or not count & (count - 1)

    def _tell(self) -> None:
        """Write down the loads into modules that have come into use, which gives them their number."""
        if self._waiting:
            self._waiting = [(ref, fact) for ref, fact in self._waiting if not self._told(ref(), fact)]

    def _told(self, module: nn.Module | None, fact: Mapping[str, Any]) -> bool:
        number = self.models.known_number(module) if module is not None else None
        if module is None or number is not None:
            self.session.write("load", module=number, **fact)
        return module is None or number is not None

    def _tell_all(self) -> None:
        self._tell()
        for _, fact in self._waiting:
            self.session.write("load", module=None, **fact)
        self._waiting.clear()


def _tensors(thing: Any, depth: int = _DEEPEST) -> Iterator[Tensor]:
    """The tensors in what was read or taken, in dictionaries and lists of each other; a module counts by its own."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, nn.Module):
        yield from (parameter for _, parameter in named_parameters(thing))
    elif depth and isinstance(thing, Mapping):
        for value in thing.values():
            yield from _tensors(value, depth - 1)
    elif depth and isinstance(thing, (list, tuple)):
        for value in thing:
            yield from _tensors(value, depth - 1)


def renaming(unexpected: Sequence[str], missing: Sequence[str]) -> list[Any] | None:
    """The prefix to take off and the one to put on that make most unexpected keys missing ones, and of how many."""
    ends: dict[str, str] = {}
    for key in missing:
        for end in _ends(key):
            ends.setdefault(end, key)
    wanted, found = set(missing), {}
    for key in islice(unexpected, TRIED):
        known = [end for end in _ends(key) if end in ends]
        if known:
            end = known[0]
            off, on = key.removesuffix(end), ends[end].removesuffix(end)
            found[off, on] = sum(name.startswith(off) and on + name[len(off) :] in wanted for name in unexpected)
    best = max(found, key=lambda prefixes: found[prefixes], default=None)
    return [*best, found[best]] if best is not None else None


def _ends(key: str) -> list[str]:
    """The key without its first parts, longest first, as long as two parts are left: a layer's name and its own."""
    parts = key.split(".")
    return [".".join(parts[k:]) for k in range(max(1, len(parts) - 1))]
