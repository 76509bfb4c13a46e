"""Gradients are clipped where that limits nothing: before they exist, after the step, or while they are scaled.

Seen as gradients and a loss that explode in spite of clipping; with a gradient scaler, as training that crawls.

Hurts because clipping changes `.grad`, and only what stands there when `step()` runs counts. Before `backward()` it
holds the last round's gradients or none; after `step()` it is too late. With a gradient scaler it holds S * g with S
around 65,536: clipped to norm c, then divided by S, what is left for the step is at most c / S, almost nothing.

Helped by the order `backward()`, `scaler.unscale_(optimizer)` where there is a scaler, clipping, `step()`.

No fault when the norm is only measured (a limit of infinity), when gradients of several backward passes are clipped one
by one, or when Accelerate or Fabric clips: they unscale first.

Sources: PyTorch documentation, `torch.nn.utils.clip_grad_norm_`; PyTorch, "Automatic Mixed Precision examples",
section "Gradient clipping"; Pascanu et al., "On the difficulty of training recurrent neural networks" (2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import Call, edits, optimizer_of
from torchdx.source.effects import CLIPS, is_scaler
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.record import Clip, Record
    from torchdx.source import Event, Program, Round

code, family, severity = "TDX904", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {"exploding-gradient", "diverged", "not-learning", "learning-rate-too-low", "clipped-nearly-always"}
)

MEASURES = 1000.0
"""A limit of this size or more cuts nothing off: the call is there for the norm that it returns."""
ENOUGH = 4
"""Clippings that must all be alike before the run speaks: one more than the rounds of a warm-up written by hand."""
ALIKE = 0.02
"""How far the optimizer's norm may be off the bound over the scale: both are exact, but for the rounding of float32
(1e-6 off in four sick runs; clipped after `unscale_`, off by the scale, 65,536)."""


@dataclass(frozen=True)
class Misplaced:
    """A call that clips, the calls it should stand between, and what is wrong."""

    clip: Call
    backward: Call
    step: Call
    how: str

    @property
    def message(self) -> str:
        return {
            "early": f"`{self.clip.text}` stands before backward(), so the gradients that "
            f"`{self.step.text}` follows are never clipped",
            "late": f"`{self.clip.text}` stands after `{self.step.text}`, and the gradients are cleared before the "
            "next one: no step ever follows clipped gradients",
            "scaled": f"`{self.clip.text}` clips gradients that are still multiplied by the scaler's factor, so after "
            f"`{self.step.text}` divides by it hardly anything is left",
        }[self.how]

    @property
    def cure(self) -> str:
        if self.how == "scaled":
            return f"call `{_unscaling(self.step)}` before clipping"
        return "clip between backward() and step()"


def in_source(program: Program) -> Iterator[Finding]:
    """Every clipping that comes at the wrong time in a round of training."""
    for found in _misplaced(program):
        scaler = found.step.receiver
        sure = found.how != "scaled" or (scaler is not None and isinstance(scaler.value, Instance))
        yield Finding(
            message=found.message,
            site=found.clip.site,
            evidence={"step_at": str(found.step.site)},
            cure=found.cure,
            confidence=0.95 if sure else 0.85,
            severity=None if sure else "warning",
        )


def in_run(record: Record) -> Iterator[Finding]:
    """Clipping that limited nothing, or everything, at every step that was seen of it."""
    clips = [clip for clip in record.clips if not clip.bound >= MEASURES]
    places = [fact for fact in record.process.all("clipping") if not fact["bound"] >= MEASURES]
    if len(clips) < ENOUGH or len(places) != 1:
        return
    said = _never_between(clips) or _on_nothing(clips) or _on_scaled(clips)
    if said is not None:
        message, cure = said
        yield Finding(
            message=message,
            site=site_of(places[0]["site"]),
            evidence={
                "clippings seen": len(clips),
                "norm": [clip.norm for clip in clips[:20]],
                "bound": clips[0].bound,
                "norm that the optimizer got": [clip.left for clip in clips if clip.left is not None][:20],
            },
            cure=cure,
            confidence=0.95,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    if record.clips:
        yield "ENOUGH", len(record.clips)
        yield "MEASURES", max(clip.bound for clip in record.clips)
        scaled = [_off(clip) for clip in record.clips if clip.left and clip.scale > 1]
        yield from (("ALIKE", off) for off in sorted(scaled)[:1])


def _never_between(clips: Sequence[Clip]) -> tuple[str, str] | None:
    """Did a backward pass always come between the clipping and the step, on gradients that were cleared before?"""
    if all(clip.before == 0 and clip.backwards and clip.cleared is not False for clip in clips):
        told = f"each of {len(clips)} clippings took place before the backward pass of its step: nothing was limited"
        return told, "clip between backward() and step()"
    return None


def _on_nothing(clips: Sequence[Clip]) -> tuple[str, str] | None:
    """Did what was clipped never have a gradient, while that which the optimizer stepped did?

    The first is left out: a generator of parameters is used up by it.
    """
    clips = clips[1:]
    left = [clip.left for clip in clips if clip.left is not None]
    if all(clip.norm == 0 for clip in clips) and left and all(norm > 0 for norm in left):
        told = f"what is clipped has no gradient (its norm was 0 in each of {len(clips)} steps), while the optimizer's "
        return f"{told}gradients had a norm of {left[-1]:.3g}", "clip the parameters that the optimizer holds"
    return None


def _on_scaled(clips: Sequence[Clip]) -> tuple[str, str] | None:
    """Was the norm that the optimizer got the clipped one, divided by the scale?"""
    seen = [clip for clip in clips if clip.left]
    if len(seen) >= 2 and all(clip.scale > 1 for clip in clips) and all(_off(clip) < ALIKE for clip in seen):
        last = seen[-1]
        told = f"gradients are clipped while they are multiplied by {last.scale:g}: of a norm of {last.norm:.3g} "
        told += f"{min(last.bound, last.norm):.3g} is left, and then divided by the scale, {last.left:.2g}"
        return told, "call `scaler.unscale_(optimizer)` before clipping"
    return None


def _off(clip: Clip) -> float:
    """How far the optimizer's norm is off the clipped norm over the scale, where clipping cut off something."""
    if not clip.left or not clip.norm > 2 * clip.bound:
        return math.inf
    return abs(clip.left * clip.scale / clip.bound - 1)


def _misplaced(program: Program) -> Iterator[Misplaced]:
    if not any(True for _ in program.calls_named(*CLIPS)):
        return
    told = set()
    for round_ in program.training_rounds:
        for event in round_.directly if not round_.does("opaque") else ():
            if event.effect == "clip" and event.call is not None and event.certain and event.node not in told:
                found = _judged(round_, event, event.call)
                if found is not None and not _only_measures(event.call):
                    told.add(event.node)
                    yield found


def _judged(round_: Round, event: Event, clip: Call) -> Misplaced | None:
    """What is wrong with the time of a clipping; None where nothing is, or more than one step could be meant."""
    beside = round_.beside(event)
    backwards = [other for other in beside if other.effect == "backward"]
    steps = [other for other in beside if other.effect == "step"]
    if len(backwards) != 1 or len(steps) != 1 or _repeated(round_, "backward", "step", "clip"):
        return None
    backward, step = backwards[0].call, steps[0].call
    if backward is None or step is None or not steps[0].certain:
        return None
    clipped_at, computed_at, stepped_at = (beside.index(one) for one in (event, backwards[0], steps[0]))
    if clipped_at < computed_at < stepped_at:
        return Misplaced(clip, backward, step, "early")
    if computed_at < stepped_at < clipped_at and any(other.effect == "zero_grad" for other in beside):
        return Misplaced(clip, backward, step, "late")
    scaled = step.receiver is not None and is_scaler(step.receiver) and clip.name.startswith("torch.")
    before = beside[: clipped_at + 1]
    if computed_at < clipped_at < stepped_at and scaled and not any(other.effect == "unscale" for other in before):
        return Misplaced(clip, backward, step, "scaled")
    return None


def _repeated(round_: Round, *effects: str) -> bool:
    """Does a loop further in do any of this, so that its order in the source is not that of the run?"""
    directly = set(map(id, round_.directly))
    return any(event.effect in effects and id(event) not in directly for event in round_.events)


def _only_measures(clip: Call) -> bool:
    limit = clip.argument(1, "clip_value" if "value" in clip.method else "max_norm")
    value = limit.literal if limit is not None else None
    infinite = limit is not None and ("inf" in limit.text or "maxsize" in limit.text)
    return infinite or (isinstance(value, int | float) and (value >= MEASURES or math.isnan(value)))


def _unscaling(step: Call) -> str:
    scaler = step.receiver.text if step.receiver is not None else "scaler"
    return f"{scaler}.unscale_({optimizer_of(step).text})"


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Clip right before the step, or unscale before clipping."""
    for found in _misplaced(program):
        if found.clip.site != finding.site or found.clip.function is not found.step.function:
            continue
        file = found.clip.file
        clip, step = file.statement(found.clip.node), file.statement(found.step.node)
        assert clip is not None
        assert step is not None
        if found.how == "scaled":
            changes = [edits.insert_before(file, clip, _unscaling(found.step))]
        elif found.clip.is_statement and edits.block_of(file, clip) is edits.block_of(file, step):
            changes = [edits.delete_statement(file, clip), edits.insert_before(file, step, found.clip.text)]
        else:
            return
        title = "unscale before clipping" if found.how == "scaled" else "clip right before the step"
        fix = edits.fix(title, file, changes)
        if fix is not None:
            yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # TDX904
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    loss_of = nn.CrossEntropyLoss()
    mixed = torch.cuda.is_available()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            loss = loss_of(model(inputs[rows]), labels[rows])
            if mixed:
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            norm = nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
            optimizer.zero_grad()
    print(f"{loss.item():.3f} {norm:.3f}")
