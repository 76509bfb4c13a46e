"""Inside the patient: probes that see how training goes and write small facts, changing nothing.

`watch()` opens the door from inside a program; the launcher opens it from outside, through `_begin()`.
"""

from __future__ import annotations

import atexit
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchdx.watch.session import Session

_session: Session | None = None


def watch(
    record: str | os.PathLike[str] | None = None, *, overhead: float = 0.02, max_steps: int | None = None
) -> Path:
    """Watch the training that this program does from here on, and return the folder the record is written to.

    `overhead` is the largest share of the run's own time that watching may take. With `max_steps`, the program is ended
    (by SystemExit) after that many optimizer steps. A second call changes nothing. Read the record with
    `torchdx report FOLDER`.
    """
    global _session
    folder = Path(record or os.environ.get("TORCHDX_RECORD") or _new_folder()).absolute()
    if _session is not None:
        return _session.writer.folder
    _session = _attach(folder, overhead, max_steps)
    return folder


def _begin() -> None:
    """Watch as the environment says; called by the launcher's door as soon as torch is imported."""
    folder = os.environ.get("TORCHDX_RECORD")
    if not folder:
        return
    most = os.environ.get("TORCHDX_MAX_STEPS", "")
    watch(folder, overhead=float(os.environ.get("TORCHDX_OVERHEAD", "0.02")), max_steps=int(most) if most else None)


def _new_folder() -> Path:
    return Path("torchdx-runs") / time.strftime("%Y%m%d-%H%M%S")


def _attach(folder: Path, overhead: float, max_steps: int | None) -> Session:
    import torch
    from torch.utils.data import _utils

    from torchdx.watch.governor import Governor
    from torchdx.watch.gradients import Gradients
    from torchdx.watch.loaders import Loaders
    from torchdx.watch.losses import Losses
    from torchdx.watch.models import Models
    from torchdx.watch.optimizers import Optimizers
    from torchdx.watch.outputs import Outputs
    from torchdx.watch.phases import Phases
    from torchdx.watch.session import Session
    from torchdx.watch.trouble import Trouble
    from torchdx.watch.writer import Writer

    start = time.perf_counter()
    born = time.process_time()
    session = Session(Writer(folder), Governor(overhead, earned=born), max_steps)
    session.write("torch", version=torch.__version__, threads=torch.get_num_threads(), before=born)
    models = Models(session)
    Outputs(session, models)
    optimizers = Optimizers(session, models, Gradients(session, models))
    Trouble(session, models)
    phases = Phases(session, models)
    Losses(session, phases)
    Loaders(session, phases, optimizers)
    session.weave(_utils.worker._worker_loop, before=lambda *_: session.disarm())
    os.register_at_fork(after_in_child=session.forked)
    atexit.register(session.end)
    session.begin(sleeping=torch.autograd.backward)
    session.governor.charge(time.perf_counter() - start)
    return session
