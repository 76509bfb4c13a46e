"""A policy's log-probabilities enter what is minimised with the sign of the rewards: it learns what earns least.

Seen as returns that fall from the start and stay down, while the loss falls as it should. Followed through the source
is what `backward()` begins at: the log-probability of the actions taken, times what is summed up of rewards (returns,
less a baseline, an advantage), and the signs before both. All such products that are minimised have a plus.

Hurts because the gradient of the expected return is E[A grad log pi(a|s)], and an optimizer steps against the gradient
of its loss: only loss = -A log pi(a|s) makes actions with A > 0 likelier. Without the minus, or with A = V - R, each
step makes the better actions rarer.

Helped by the minus: `loss = -(log_probs * advantages).mean()`, with advantages = returns - values.

No fault when what multiplies the log-probability is a cost, or nothing that rewards are part of, as in
alpha log pi - Q; when the optimizer is told to maximise; when cross entropy, which has the minus in it, stands for the
log-probability.

Sources: R. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning"
(1992); J. Schulman et al., arXiv 1506.02438 and 1707.06347.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.rewards import Rewards

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile
    from torchdx.source.signs import Part

code, family, severity = "TDX631", "loss", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        "not-learning",
        "diverged",
        "saturated-activation",
        "dead-relu",
        "vanishing-gradient",
        "exploding-gradient",
        "learning-rate-too-high",
        "loss-bounces",
        "nonfinite-value",
        "non-finite",
    }
)

CONCERNED = re.compile(rb"log_?prob|log_softmax|cross_entropy|CrossEntropy|\blog\(")
ASCENDS = re.compile(
    rb"maximi[sz]e\s*=\s*True|\+=[^\n]*\.grad\b|\.grad\.(neg_|mul_\(\s*-)|\.grad\s*\*=\s*-|grad\s*=\s*-"
)
"""The optimizer, or an update by hand, goes uphill."""


def in_source(program: Program) -> Iterator[Finding]:
    """The products of a log-probability and rewards that are minimised, where all of them have a plus."""
    files = program.torch_files
    if not any(CONCERNED.search(file.bytes) for file in files) or any(ASCENDS.search(file.bytes) for file in files):
        return
    if not any(b"reward" in file.bytes.lower() or b".step(" in file.bytes for file in files):
        return
    products = [
        (file, part) for file, _, parts in Rewards(program).minimised() for part in parts if part.what == "product"
    ]
    if products and all(part.sign > 0 for _, part in products):
        yield from _findings(program, products)


def _findings(program: Program, products: list[tuple[SourceFile, Part]]) -> Iterator[Finding]:
    told = set()
    for home, part in products:
        node = part.product
        file = next((one for one in program.files if node is not None and node in one.index.parents), home)
        line = getattr(node, "lineno", 0)
        if node is None or (file.path, line) in told:
            continue
        told.add((file.path, line))
        yield Finding(
            message="a log-probability times what is made of rewards is minimised with a plus: actions become rarer "
            "the more they earn",
            site=file.site(node),
            evidence={"product": file.text_of(node)},
            cure="put a minus before it (`loss = -(log_prob * advantage).mean()`, with advantage = return - baseline)",
            confidence=0.9,
        )
        return


def sick() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.distributions import Categorical

    torch.manual_seed(0)
    wine = load_wine()
    states = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    best = torch.tensor(wine.target)
    policy = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.003)
    for step in range(60):
        rows = torch.randint(len(states), (64,))
        choices = Categorical(logits=policy(states[rows]))
        actions = choices.sample()
        rewards = (actions == best[rows]).float()
        advantages = rewards - rewards.mean()
        loss = (choices.log_prob(actions) * advantages).mean()  # TDX631
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"{rewards.mean().item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.distributions import Categorical

    torch.manual_seed(0)
    wine = load_wine()
    states = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    best = torch.tensor(wine.target)
    policy = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.003)
    for step in range(60):
        rows = torch.randint(len(states), (64,))
        choices = Categorical(logits=policy(states[rows]))
        actions = choices.sample()
        rewards = (actions == best[rows]).float()
        advantages = rewards - rewards.mean()
        loss = -(choices.log_prob(actions) * advantages).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"{rewards.mean().item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_wine
    from torch import nn
    from torch.distributions import Categorical

    torch.manual_seed(0)
    wine = load_wine()
    states = torch.tensor((wine.data - wine.data.mean(0)) / wine.data.std(0), dtype=torch.float32)
    best = torch.tensor(wine.target)
    policy = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.003)
    for step in range(60):
        rows = torch.randint(len(states), (64,))
        choices = Categorical(logits=policy(states[rows]))
        actions = choices.sample()
        costs = (actions != best[rows]).float()
        loss = (choices.log_prob(actions) * (costs - costs.mean())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"{costs.mean().item():.3f}")
