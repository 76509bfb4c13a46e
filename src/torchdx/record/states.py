"""Weights that were loaded into a model, and what was seen of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torchdx.finding import Site
from torchdx.record.anatomy import site_of
from torchdx.record.facts import Fact


@dataclass(frozen=True)
class Load:
    """One `load_state_dict` of a module; `module` is None where that module was never used for anything seen.

    Of the module's own parameters that were `offered` values, `own` were offered themselves, in one storage; the
    dictionary was then `taken` from the module at that step and site, and training has `changed` them since or not.
    `renamed` is the prefix to take off, the one to put on, and how many unexpected keys would then be wanted ones;
    `read` tells how many tensors had been read from files by `torch.load`.
    """

    step: int
    site: Site | None
    module: int | None
    cls: str
    matched: int
    missing: int
    unexpected: int
    missing_names: tuple[str, ...] = ()
    unexpected_names: tuple[str, ...] = ()
    renamed: tuple[str, str, int] | None = None
    own: int = 0
    offered: int = 0
    taken: int | None = None
    taken_site: Site | None = None
    changed: bool = False
    read: int = 0

    @property
    def gives_back(self) -> bool:
        """Is the module given the very weights that it has?"""
        return 0 < self.offered == self.own

    @property
    def wanted(self) -> int:
        """How many keys the module has."""
        return self.matched + self.missing


def loads_of(facts: Iterable[Fact]) -> list[Load]:
    """One for each fact."""
    return [_load(fact) for fact in facts]


def _load(fact: Fact) -> Load:
    own, offered = fact.get("shared") or (0, 0)
    taken, taken_site, changed = fact.get("taken") or (None, None, False)
    missing, unexpected = fact.get("names") or ((), ())
    renamed = fact.get("renamed")
    return Load(
        step=fact["step"],
        site=site_of(fact.get("site")),
        module=fact.get("module"),
        cls=fact.get("cls", ""),
        matched=fact["matched"],
        missing=fact["missing"],
        unexpected=fact["unexpected"],
        missing_names=tuple(missing),
        unexpected_names=tuple(unexpected),
        renamed=(renamed[0], renamed[1], renamed[2]) if renamed else None,
        own=own,
        offered=offered,
        taken=taken,
        taken_site=site_of(taken_site),
        changed=changed,
        read=fact.get("read", 0),
    )
