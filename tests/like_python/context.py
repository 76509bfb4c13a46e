# args: one --two "three four"
"""What a script sees of its own start: arguments, names, path, flags, the import system, torch's defaults."""

import signal
import sys
import threading
import warnings
from pathlib import Path

print(sys.argv, __name__, __file__, __spec__, __package__, type(__loader__).__name__)
print(sys.path, Path.cwd(), sys.flags, sys.warnoptions, sys._xoptions, sys.orig_argv[1:])
print(sorted(vars(sys.modules["__main__"])), "sitecustomize" in sys.modules, "usercustomize" in sys.modules)

import torch  # noqa: E402

print([getattr(finder, "__name__", type(finder).__name__) for finder in sys.meta_path], sys.path_hooks[0])
print(sys.path, sorted(sys.path_importer_cache)[:3], type(torch.__loader__), vars(torch.__loader__))
print(sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.gettrace(), sys.getprofile())
print(threading.excepthook is threading.__excepthook__, sys.unraisablehook is sys.__unraisablehook__)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGTERM))
print(sys.getrecursionlimit(), warnings.filters, threading.active_count())
print(torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype(), torch.initial_seed() > 0)
print(torch.is_anomaly_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().shape)
