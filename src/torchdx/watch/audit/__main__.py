"""Open what `torchdx data module:attribute` names, and audit it: `python -m torchdx.watch.audit TARGET`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

REFUSED = 3
"""Exit status where the target cannot be opened; the sentence is on stderr."""


def main(target: str) -> None:
    """Open the target and audit it; what goes wrong is told in one sentence."""
    name, _, attribute = target.rpartition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        module = _module(name)
    except Exception as problem:
        _refuse(f"{name} cannot be imported: {type(problem).__name__}: {problem}")
    thing: Any = module
    for part in attribute.split("."):
        if not hasattr(thing, part):
            _refuse(f"{name} has no {attribute}.")
        thing = getattr(thing, part)
    import torch  # noqa: F401  # so that the process is watched, whatever the module imports

    from torchdx.watch import _session
    from torchdx.watch.audit import audit

    try:
        subject = _subject(thing, attribute)
    except Exception as problem:
        _refuse(f"{target} cannot be called: {type(problem).__name__}: {problem}")
    if _session is not None:
        audit(_session, [subject])


def _module(name: str) -> Any:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = Path(name).absolute()
    if not path.is_file():
        _refuse(f"There is no file {name}.")
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _subject(thing: Any, name: str) -> Any:
    from torch import nn
    from torch.utils.data import DataLoader

    from torchdx.watch.audit.subjects import Subject

    is_transform = isinstance(thing, nn.Module) or hasattr(thing, "transforms")
    if inspect.isclass(thing) or (inspect.isfunction(thing) and not inspect.signature(thing).parameters):
        thing = thing()
        is_transform = isinstance(thing, nn.Module) or hasattr(thing, "transforms")
    if isinstance(thing, DataLoader):
        return Subject(thing, "loader", None, name)
    if not is_transform and (hasattr(thing, "__getitem__") or hasattr(thing, "__iter__")):
        return Subject(thing, "dataset", None, name)
    if callable(thing):
        return Subject(thing, "transform", None, name)
    _refuse(f"{name} is neither a dataset, nor a loader, nor a transform: it is {type(thing).__name__}.")


def _refuse(sentence: str) -> NoReturn:
    print(f"torchdx: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(REFUSED)


if __name__ == "__main__":
    main(sys.argv[1])
