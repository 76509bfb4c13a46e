"""A target network, or teacher, that should follow the trained one never does: the line that updates it never runs.

Seen as values or labels that stop improving, or never begin to, though the loss is small: it is measured against what
an untrained network says.

Hurts because the targets of bootstrapping, r + gamma max Q'(s', a), carry what was learnt one step back in time only
if Q' is, now and then, what Q has become; a teacher that stays untrained teaches what it began with.

Helped by calling the update, at an interval that the run is many times as long as: counted in updates, and not in
episodes or epochs if there are few of these.

No fault when the copy is a reference that should stay: then no line would update it.

Sources: Mnih et al. (2015), "Human-level control through deep reinforcement learning"; Lillicrap et al. (2016),
"Continuous control with deep reinforcement learning", on soft updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding

if TYPE_CHECKING:
    from torchdx.record import Record, Twin

code, family, severity = "TDX916", "loop", "warning"
needs = frozenset({"twin", "idle_update"})
explains = frozenset({"not-learning", "average-left-behind", "validation-gap"})

FAR = 0.1
"""Distance, over the size of the weights, that the trained network must have gone from where both began (in the
calibration programs that have targets: 0.6 to 1.4)."""

LEAST = 100
"""Steps below which a first update may still be to come."""

_OFTEN = 50
_LATE = 8


def in_run(record: Record) -> Iterator[Finding]:
    """A copy that is run at every step and never moved, and a line that would move it and was never reached."""
    if record.ended.get("stopped") or record.ended.get("exception") or not record.ended:
        return
    twin = next((twin for twin in _still(record) if twin.far >= FAR), None)
    if twin is not None:
        for site in record.idle_updates[:1]:
            yield Finding(
                message=f"A copy of the trained network is run at each step and did not change in {twin.measured}: "
                "this line, which would let one network follow another, was never reached",
                site=site,
                evidence={
                    "steps": twin.measured,
                    "change of the trained weights, over their size": round(twin.far, 4),
                    "change of the copy's": 0,
                },
                cure="call the update after the optimizer's step, at an interval much shorter than the run",
                confidence=0.9,
            )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    ways = [twin.far for twin in _still(record)] if record.idle_updates else []
    if ways:
        yield "FAR", max(ways)


def _still(record: Record) -> Iterator[Twin]:
    """The copies that began as the network did, are needed at most steps, and are where they were."""
    starts = [fact.get("step", 0) for fact in record.process.all("optimizer")]
    for twin in record.twins:
        fresh = twin.began_alike and any(0 <= twin.noticed - start <= _LATE for start in starts)
        needed = any(not run.is_rare() and run.steps >= _OFTEN for run in twin.copy_runs)
        if fresh and needed and not twin.moved and twin.measured - twin.noticed >= max(LEAST, record.steps / 2):
            yield twin


def sick() -> None:
    import copy

    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    diabetes = load_diabetes()
    rows = torch.tensor(diabetes.data, dtype=torch.float32) * 20
    now, later = rows[:-1], rows[1:]
    rewards = torch.tensor(diabetes.target[:-1], dtype=torch.float32) / 77 - 2
    values = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    target = copy.deepcopy(values)
    optimizer = torch.optim.Adam(values.parameters(), lr=0.003)
    for step in range(1, 201):
        chosen = torch.randint(len(now), (64,))
        with torch.no_grad():
            wanted = rewards[chosen, None] + 0.5 * target(later[chosen])
        loss = nn.functional.mse_loss(values(now[chosen]), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 1000 == 0:
            target.load_state_dict(values.state_dict())  # TDX916
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import copy

    import torch
    from sklearn.datasets import load_diabetes
    from torch import nn

    torch.manual_seed(0)
    diabetes = load_diabetes()
    rows = torch.tensor(diabetes.data, dtype=torch.float32) * 20
    now, later = rows[:-1], rows[1:]
    rewards = torch.tensor(diabetes.target[:-1], dtype=torch.float32) / 77 - 2
    values = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    target = copy.deepcopy(values)
    optimizer = torch.optim.Adam(values.parameters(), lr=0.003)
    for step in range(1, 201):
        chosen = torch.randint(len(now), (64,))
        with torch.no_grad():
            wanted = rewards[chosen, None] + 0.5 * target(later[chosen])
        loss = nn.functional.mse_loss(values(now[chosen]), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            target.load_state_dict(values.state_dict())
    print(f"{loss.item():.3f}")
