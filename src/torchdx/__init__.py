"""torchdx, a doctor for PyTorch training."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "watch"]

if TYPE_CHECKING:
    from torchdx.watch import watch
else:

    class _Front(ModuleType):
        """The package as its users meet it: light until `watch` is asked for, which is the function, not the room."""

        @property
        def watch(self):
            from torchdx.watch import watch

            return watch

        @watch.setter
        def watch(self, room):
            """Let the import system name the room torchdx.watch here; the function keeps the name."""

    sys.modules[__name__].__class__ = _Front
