"""Step aside for the environment's own sitecustomize, and wait for torch.

Every python started under `torchdx run` reads this file, because its folder is first on PYTHONPATH. After it has
run, `sys.path` and `sys.modules` are as bare python would have them; only a finder waits in `sys.meta_path`, and
that leaves when torch has been imported.

The syntax is plain enough for any python a job may start, old ones too: hints are comments, and nothing is imported
that a bare python has not loaded already.
"""
# ruff: noqa: F401, PTH118, PTH120, PTH123, UP004, UP032

import os
import sys

MYPY = False
if MYPY:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

# Named as a part of the import system, a frame is left out of tracebacks and passed over by `stacklevel`.
IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


def _step_aside(folder):
    # type: (str) -> None
    """Take the folder off the path, so that the next sitecustomize is found as if it were the first."""
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.path_importer_cache.pop(folder, None)


def _load_beside(folder):
    # type: (str) -> None
    """Load the package torchdx from its own folder, since this environment may not have it installed."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("torchdx", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])
    assert spec is not None and spec.loader is not None
    sys.modules["torchdx"] = package = module_from_spec(spec)
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules["torchdx"]
        raise


def _begin(folder, record):
    # type: (str, str) -> None
    """Begin to watch; a failure of ours goes into the record, and never to the patient."""
    try:
        if "torchdx" not in sys.modules:
            _load_beside(os.path.dirname(folder))
        __import__("torchdx.watch")
        sys.modules["torchdx.watch"]._begin()
    except Exception:
        _tell_trouble(record)


def _tell_trouble(record):
    # type: (str) -> None
    """Leave the exception being handled in the record, as `trouble-PID.txt`."""
    try:
        import traceback

        with open(os.path.join(record, "trouble-{}.txt".format(os.getpid())), "w") as note:
            note.write(traceback.format_exc())
    except Exception:  # no room, no folder: then the record stays silent, as the patient must
        return


class _TorchFinder(object):
    """Let torch be found and imported as ever; begin to watch right after it has been."""

    def __init__(self, folder, record):
        # type: (str, str) -> None
        self.folder, self.record = folder, record

    def find_spec(self, name, path=None, target=None):
        # type: (str, Sequence[str] | None, ModuleType | None) -> ModuleSpec | None
        """Find torch as the other finders do, with a loader that tells us of its end."""
        if name != "torch":
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    self._listen(spec.loader)
                    return spec
        return None

    def _listen(self, loader):
        # type: (Any) -> None
        """Shadow the loader's `exec_module` for one call: its type and, after the call, its state are untouched."""
        kind = type(loader)  # type: Any
        if issubclass(kind, type) or kind.__setattr__ is not object.__setattr__:
            return  # a class shared by other imports, or a proxy that would hand our attribute on
        shadowed = getattr(loader, "__dict__", {}).get("exec_module")

        def exec_module(module):
            # type: (ModuleType) -> None
            if shadowed is None:
                del loader.exec_module
            else:
                loader.exec_module = shadowed
            loader.exec_module(module)
            self._leave()

        exec_module.__code__ = exec_module.__code__.replace(co_filename=IMPORT_SYSTEM)
        loader.exec_module = exec_module

    def _leave(self):
        # type: () -> None
        """Take ourselves out of the import system and begin, once."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            _begin(self.folder, self.record)


def _wait_for_torch(folder, record):
    # type: (str, str) -> None
    """Begin when torch has been imported; now, if a `.pth` file already did so."""
    if "torch" in sys.modules:
        _begin(folder, record)
    else:
        sys.meta_path.insert(0, _TorchFinder(folder, record))


if __name__ == "sitecustomize":
    _us = sys.modules.pop(__name__)  # held: python 2 empties a module that nothing holds
    _folder = os.path.dirname(__file__)
    _step_aside(_folder)
    if "TORCHDX_RECORD" in os.environ and sys.version_info >= (3, 10):
        _wait_for_torch(_folder, os.environ["TORCHDX_RECORD"])
    # Now as bare python would. Where there is no other one, the ImportError this raises is just what `site` expects
    # of an environment without a sitecustomize, and the import system then forgets that we were here.
    __import__("sitecustomize")
