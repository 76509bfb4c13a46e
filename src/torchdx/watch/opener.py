"""Open what `torchdx data MODULE:NAME` names, and audit it: `python -m torchdx.watch.opener TARGET`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import torch  # noqa: F401  # first, so that the process is watched before the user's module is imported
from torch import nn
from torch.utils.data import DataLoader

from torchdx.watch.audit import audit
from torchdx.watch.audit.subjects import Subject


class CannotOpen(Exception):
    """The target is not there, or is nothing that can be looked at; the message is one sentence."""


def main(target: str) -> None:
    """Open the target and audit it; why it cannot be opened goes into the record."""
    session = importlib.import_module("torchdx.watch")._session
    if session is None:
        return
    try:
        subject = opened(target)
    except CannotOpen as problem:
        session.write("audit", why=" ".join(str(problem).split()))
        return
    session.guarded(lambda: audit(session, [subject]))()


def opened(target: str) -> Subject:
    """What MODULE:NAME or FILE.py:NAME names, or what that gives when it is called without arguments.

    Raises CannotOpen.
    """
    name, _, attribute = target.rpartition(":")
    thing: Any = _module(name)
    for part in attribute.split("."):
        if not hasattr(thing, part):
            raise CannotOpen(f"{name} has no {attribute}.")
        thing = getattr(thing, part)
    try:
        return _subject(_made(thing), attribute)
    except CannotOpen:
        raise
    except Exception as problem:
        raise CannotOpen(f"{target} cannot be called: {type(problem).__name__}: {problem}") from problem


def _module(name: str) -> Any:
    path = Path(name).absolute()
    if name.endswith(".py") and not path.is_file():
        raise CannotOpen(f"There is no file {name}.")
    sys.path.insert(0, str(path.parent) if name.endswith(".py") else os.getcwd())  # noqa: PTH109
    try:
        return importlib.import_module(path.stem if name.endswith(".py") else name)
    except (Exception, SystemExit) as problem:
        raise CannotOpen(f"{name} cannot be imported: {type(problem).__name__}: {problem}") from problem


def _made(thing: Any) -> Any:
    """What a function or a class without parameters gives; anything else as it is."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return thing
    required = [one for one in inspect.signature(thing).parameters.values() if one.default is one.empty]
    return thing if required else thing()


def _subject(thing: Any, name: str) -> Subject:
    if isinstance(thing, DataLoader):
        return Subject(thing, "loader", None, name)
    if not isinstance(thing, nn.Module) and (hasattr(thing, "__getitem__") or hasattr(thing, "__iter__")):
        return Subject(thing, "dataset", None, name)
    if callable(thing) and not inspect.isclass(thing):
        return Subject(thing, "transform", None, name)
    raise CannotOpen(f"{name} is neither a dataset, nor a loader, nor a transform, but {type(thing).__name__}.")


if __name__ == "__main__":
    main(sys.argv[1])
