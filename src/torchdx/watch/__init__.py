"""Inside the patient: probes that see how training goes and write small facts, changing nothing.

`watch()` opens the door from inside a program; the launcher opens it from outside, through `_begin()`.
"""

from __future__ import annotations

import atexit
import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchdx.watch.session import Session

_session: Session | None = None


def watch(
    record: str | os.PathLike[str] | None = None,
    *,
    overhead: float = 0.02,
    max_steps: int | None = None,
    deep: bool = False,
) -> Path:
    """Watch the training that this program does from here on, and return the folder the record is written to.

    `overhead` is the largest share of the run's own time that watching may take. With `max_steps`, the program is ended
    (by SystemExit) after that many optimizer steps. With `deep`, experiments are made on copies of the model when the
    program has ended, for a minute at most (see docs/deep.md). A second call changes nothing. Read the record with
    `torchdx report FOLDER`.
    """
    global _session
    folder = Path(record or os.environ.get("TORCHDX_RECORD") or _new_folder()).absolute()
    if _session is not None:
        return _session.writer.folder
    with _uncollected():
        asked = {name for name in ("DEEP", "AUDIT") if os.environ.get(f"TORCHDX_{name}")}
        _session = _attach(folder, overhead, max_steps, deep or "DEEP" in asked, deep or bool(asked))
    return folder


@contextmanager
def _uncollected() -> Iterator[None]:
    """Put off garbage collection: getting ready makes thousands of objects, and going through all of torch is dear."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _begin() -> None:
    """Watch as the environment says; called by the launcher's door as soon as torch is imported."""
    folder = os.environ.get("TORCHDX_RECORD")
    if not folder:
        return
    most = os.environ.get("TORCHDX_MAX_STEPS", "")
    watch(folder, overhead=float(os.environ.get("TORCHDX_OVERHEAD", "0.02")), max_steps=int(most) if most else None)


def _new_folder() -> Path:
    return Path("torchdx-runs") / time.strftime("%Y%m%d-%H%M%S")


def _attach(folder: Path, overhead: float, max_steps: int | None, deep: bool = False, audit: bool = False) -> Session:
    from multiprocessing.util import Finalize, register_after_fork

    import torch
    from torch.nn import functional
    from torch.utils.data import _utils

    from torchdx.watch.bonuses import Bonuses
    from torchdx.watch.broadcasts import Broadcasts
    from torchdx.watch.carry import Carry
    from torchdx.watch.dependence import Dependence
    from torchdx.watch.derivatives import Derivatives
    from torchdx.watch.drawn import Drawn
    from torchdx.watch.floors import Floors
    from torchdx.watch.governor import Governor
    from torchdx.watch.gradients import Gradients
    from torchdx.watch.graphs import Graphs
    from torchdx.watch.latents import Latents
    from torchdx.watch.lines import Lines
    from torchdx.watch.loaders import Loaders
    from torchdx.watch.losses import FUNCTIONS, Losses
    from torchdx.watch.models import Models
    from torchdx.watch.modes import Modes
    from torchdx.watch.norms import Norms
    from torchdx.watch.optimizers import Optimizers
    from torchdx.watch.outputs import Outputs
    from torchdx.watch.penalties import Penalties
    from torchdx.watch.phases import Phases
    from torchdx.watch.raised import Raised
    from torchdx.watch.ranks import Ranks
    from torchdx.watch.replicas import Replicas
    from torchdx.watch.scalers import Scalers
    from torchdx.watch.schedules import Schedules
    from torchdx.watch.scored import Scored
    from torchdx.watch.session import Session
    from torchdx.watch.shares import Shares
    from torchdx.watch.similarities import Similarities
    from torchdx.watch.states import States
    from torchdx.watch.strays import Strays
    from torchdx.watch.structure import Structure
    from torchdx.watch.symmetry import Symmetry
    from torchdx.watch.tested import Tested
    from torchdx.watch.trouble import Trouble
    from torchdx.watch.twins import Twins
    from torchdx.watch.unstepped import Unstepped
    from torchdx.watch.writer import Writer

    start = time.perf_counter()
    born = time.process_time()
    session = Session(Writer(folder), Governor(overhead, earned=born), max_steps)
    session.write("torch", version=torch.__version__, threads=torch.get_num_threads(), before=born)
    models = Models(session)
    States(session, models)
    Drawn(session, models)
    outputs = Outputs(session, models)
    Norms(session, models)
    Modes(session, models)
    Tested(session, models)
    Scored(session, models)
    Symmetry(session, models)
    gradients = Gradients(session, models)
    optimizers = Optimizers(session, models, gradients)
    Twins(session, models, optimizers)
    Strays(session, models, optimizers)
    Unstepped(session, models, optimizers, outputs)
    Schedules(session, optimizers)
    Penalties(session)
    Bonuses(session)
    Derivatives(session)
    Scalers(session, gradients)
    lines = Lines(session)
    Structure(session, models, lines)
    Trouble(session, models, lines)
    Broadcasts(session, lines)
    Floors(session, lines)
    Raised(session, lines)
    Similarities(session, lines)
    phases = Phases(session, models)
    Carry(session, models, Graphs(session), phases)
    Losses(session, phases)
    Latents(session)
    ranks = Ranks(session)
    shares = Shares(session, Loaders(session, phases, optimizers), ranks)
    Replicas(session, models, optimizers, ranks, shares)
    if deep:
        from torchdx.watch.deep import Deep

        Deep(session, models)
    else:
        Dependence(session, models)
    if audit:
        from torchdx.watch.audit import Audit

        Audit(session, traces=not deep)
    session.weave(_utils.worker._worker_loop, before=lambda *_: session.disarm())
    os.register_at_fork(after_in_child=session.forked)
    atexit.register(session.end)
    # Children of `multiprocessing` end without `atexit`.
    register_after_fork(session, lambda child: Finalize(None, child.end, exitpriority=-1000))
    session.begin(sleeping=torch.autograd.backward, judging={getattr(functional, name) for name in FUNCTIONS})
    ranks.begin_now()
    session.governor.charge(time.perf_counter() - start)
    return session
