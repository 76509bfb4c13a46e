"""Discounted returns are summed up from the first reward on, or come out with the last one first.

Seen as a policy that hardly learns, although rewards come in and the loss looks as it should. Found in the source: a
loop through an episode's rewards that carries G = r + gamma G along and keeps each G, or, of the next few steps, the
last. Either it begins at the first reward, or it begins at the last, appends, and nothing turns the list round again.
`rewards.cumsum(0)`, with nothing turned round, does the former at once.

Hurts because the return after step t is G_t = r_t + gamma G_(t+1): only what comes after an action can be due to it.
Summed forwards, G_t holds the rewards before step t, which the action has no part in; in a list that was never turned
round, the first action is given the return of the last one. Either way actions are not told what they bring.

Helped by `for r in reversed(rewards)` with `returns.insert(0, G)`, or by index from the last step to the first.

No fault when the rewards are turned round before, or the returns after; when a sum is kept to scale rewards by.

Sources: R. Sutton and A. Barto, "Reinforcement Learning" (2018), sections 3.3 and 13.3.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from torchdx.finding import Finding
from torchdx.source.flow import reaching
from torchdx.source.index import FUNCTIONS, last_word
from torchdx.source.rewards import Rewards

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX632", "loss", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning"})

CONCERNED = re.compile(rb"reward|\brews?\b", re.IGNORECASE)
TURNS = ("reversed", "flip", "flipud", "reverse", "appendleft", "extendleft")
SCALES = re.compile(rb"RunningMeanStd|running_?mean_?std|\b(\w*_)?rms\b", re.IGNORECASE)
"""Sums kept forwards to scale rewards by."""


class Sum(NamedTuple):
    """The sum that a loop carries along, the reward that is added, and where each is kept."""

    name: str
    statement: ast.Assign
    reward: ast.expr
    kept: ast.AST
    by_place: bool


def in_source(program: Program) -> Iterator[Finding]:
    """Every loop that carries a discounted sum of rewards along in the wrong order, or keeps it in the wrong one."""
    files = [file for file in program.torch_files if CONCERNED.search(file.bytes)]
    if any(SCALES.search(file.bytes) for file in files):
        return
    rewards = Rewards(program)
    for file in files:
        for loop in file.index.loops:
            found = _sum_in(loop, file, rewards) if isinstance(loop, ast.For) else None
            if found is None or not isinstance(loop, ast.For):
                continue
            backwards = _goes_back(file, loop.iter)
            wrong = not backwards and _is_plain(found.reward, loop)
            wrong |= backwards and not found.by_place
            header = {*ast.walk(loop.iter), found.kept}
            if wrong and rewards.is_reward(file, found.reward) and not _is_turned(program, file, loop, header, rewards):
                yield _finding(file, loop, found, backwards)
        yield from _running_sums(program, file, rewards)


def _running_sums(program: Program, file: SourceFile, rewards: Rewards) -> Iterator[Finding]:
    """Every `rewards.cumsum(...)` that is returned or kept in a program of log-probabilities, with nothing turned."""
    for call in file.index.calls.get("cumsum", ()):
        if not isinstance(call.func, ast.Attribute):
            continue
        kept = isinstance(file.parent(call), (ast.Return, ast.Assign))
        summed = call.args[0] if len(call.args) == 2 else call.func.value
        policy = any(b"log_prob" in one.bytes for one in program.torch_files)
        if kept and policy and rewards.is_reward(file, summed) and not _is_turned(program, file, call, set(), rewards):
            yield Finding(
                message=f"`{file.text_of(call)}` sums rewards from the first to the last: an action is given what came "
                "before it, and not what it brings",
                site=file.site(call),
                evidence={"sum": file.text_of(call)},
                cure="turn the rewards round, sum, and turn the sums round: `.flip(0).cumsum(0).flip(0)`",
                confidence=0.85,
            )


def _finding(file: SourceFile, loop: ast.For, found: Sum, backwards: bool) -> Finding:
    kept = file.text_of(found.kept)
    message = (
        f"the returns are summed from the last reward to the first, and `{kept}` leaves them in that order: the first "
        "action is given the return of the last"
        if backwards
        else f"`{found.name}` sums rewards from the first to the last: what an action brought first counts least, "
        "or what came before it is given to it"
    )
    return Finding(
        message=message,
        site=file.site(found.kept if backwards else loop),
        evidence={"sum": file.text_of(found.statement), "loop over": file.text_of(loop.iter)},
        cure=f"put each at the front: `insert(0, {found.name})`"
        if backwards
        else "go from the last reward to the first, and put each return at the front of the list",
        confidence=0.9,
    )


def _sum_in(loop: ast.For, file: SourceFile, rewards: Rewards) -> Sum | None:
    """G = r + gamma * G in the loop's own body, with each G kept in a list, at a place of its own, or used at once."""
    drawn = _names(loop.target)
    for node in loop.body:
        value = node.value if isinstance(node, ast.Assign) else None
        if not isinstance(node, ast.Assign) or not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Add):
            continue
        target = node.targets[0]
        at_place = isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Name) and target.slice.id in drawn
        holder = target.value if isinstance(target, ast.Subscript) and at_place else target
        if not isinstance(holder, ast.Name):
            continue
        for reward, carried in ((value.left, value.right), (value.right, value.left)):
            if not _is_discounted(carried, holder.id) or _mentions(reward, {holder.id}) or not _mentions(reward, drawn):
                continue
            if at_place:
                return Sum(holder.id, node, reward, node, True)
            for one in loop.body:
                kept = _kept(file, one, holder.id, loop, rewards)
                if kept is not None:
                    return Sum(holder.id, node, reward, *kept)
            read = _read_after(file, loop, node, holder.id)
            if read is not None:
                return Sum(holder.id, node, reward, read, True)
    return None


def _read_after(file: SourceFile, loop: ast.For, node: ast.stmt, name: str) -> ast.AST | None:
    """Where the whole sum is read, as that of the next few steps, if the loop begins it at 0 and does nothing else."""
    body = next((b for b in (getattr(file.parent(loop), w, []) for w in ("body", "orelse")) if loop in b), [])
    place = body.index(loop) if loop in body else 0
    begun = [
        one
        for one in body[max(place - 4, 0) : place]
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant) and _binds(one, name)
    ]
    if not begun or loop.body != [node]:
        return None
    later = (use for one in body[place + 1 :] for use in ast.walk(one) if isinstance(use, ast.Name))
    return next((use for use in later if use.id == name and isinstance(use.ctx, ast.Load)), None)


def _binds(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _is_discounted(node: ast.expr, name: str) -> bool:
    """Is it the sum so far, or what the list holds at another place, times something?"""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    for side in (node.left, node.right):
        whole = side.value if isinstance(side, ast.Subscript) and isinstance(side.slice, ast.BinOp) else side
        if (isinstance(whole, ast.Name) and whole.id == name) or _is_discounted(side, name):
            return True
    return False


def _kept(file: SourceFile, node: ast.stmt, name: str, loop: ast.For, rewards: Rewards) -> tuple[ast.AST, bool] | None:
    """Where each sum is kept, and whether with what else belongs to its step: if not, the order of a list counts."""
    drawn = _names(loop.target)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        if last_word(call) == "append" and len(call.args) == 1 and _mentions(call.args[0], {name}):
            lists = [one for one in ast.walk(loop) if isinstance(one, ast.Call) and last_word(one) in ("append", "add")]
            return call, len(lists) > 1 or _mentions(call.args[0], drawn)
        at_front = _is_turn(call) and last_word(call) in ("insert", "appendleft") and _mentions(call.args[-1], {name})
        return (call, True) if at_front else None
    if not isinstance(node, (ast.Assign, ast.AugAssign)) or not _mentions(node.value, {name}):
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    if isinstance(target, ast.Subscript):
        place = target.slice
        first = place.elts[0] if isinstance(place, ast.Tuple) and place.elts else place
        return (node, True) if isinstance(first, ast.Name) and first.id in drawn else None
    return (node, True) if rewards.is_product(file, node.value) else None


def _is_plain(reward: ast.expr, loop: ast.For) -> bool:
    """Is it what the loop draws, or taken by the number it counts, and not from the other end?"""
    names = _names(loop.target)
    taken = [node for node in ast.walk(reward) if isinstance(node, ast.Subscript) and _mentions(node.slice, names)]
    for node in taken:
        first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
        ahead = (
            isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add) and not isinstance(first.left, ast.UnaryOp)
        )
        if not isinstance(first, ast.Name) and not ahead:
            return False
    return True


def _goes_back(file: SourceFile, drawn: ast.expr) -> bool:
    """Does a loop over this go from the last to the first?"""
    if any(_is_turn(node) for node in ast.walk(drawn)):
        return True
    for node in ast.walk(drawn):
        if isinstance(node, ast.Name):
            scope = file.scope_of(node)
            for binding in reaching(file, scope.bindings.get(node.id, []), node, scope.node):
                if binding.value is not None and any(_is_turn(one) for one in ast.walk(binding.value)):
                    return True
    return False


def _is_turn(node: ast.AST) -> bool:
    """Does it turn something round: `reversed`, `flip`, `[::-1]`, a range that counts down, a put at the front?"""
    if isinstance(node, ast.Slice):
        return _is_negative(node.step)
    if not isinstance(node, ast.Call):
        return False
    word = last_word(node)
    at_front = (
        word == "insert" and bool(node.args) and isinstance(node.args[0], ast.Constant) and not node.args[0].value
    )
    down = word in ("range", "arange") and any(_is_negative(arg) for arg in node.args[2:])
    return word in TURNS or at_front or down


def _is_negative(node: ast.expr | None) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)


def _is_turned(program: Program, file: SourceFile, anchor: ast.AST, header: set[ast.AST], rewards: Rewards) -> bool:
    """Is anything else turned round in the same function or a caller of it, or what is followed anywhere?"""
    homes = [file.scope_of(anchor).node]
    if isinstance(homes[0], FUNCTIONS):
        homes += [call.file.scope_of(call.node).node for call in program.callers(program.function(file, homes[0]))]
    for one in program.torch_files:
        for node in one.index.parents:
            if node in header or not _is_turn(node):
                continue
            if one.scope_of(node).node in homes or any(rewards.is_followed(one, part) for part in _turned(one, node)):
                return True
    return False


def _turned(file: SourceFile, node: ast.AST) -> Iterable[ast.expr]:
    if isinstance(node, ast.Call):
        return [*node.args, node.func.value] if isinstance(node.func, ast.Attribute) else node.args
    above = file.parent(node)
    return [above.value] if isinstance(above, ast.Subscript) else []


def _names(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(one, ast.Name) and one.id in names for one in ast.walk(node))


def sick() -> None:
    import torch
    from torch import nn
    from torch.distributions import Categorical

    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.003)
    for _ in range(25):
        places = torch.rand(32) * 2 - 1
        log_probs, rewards = [], []
        for step in range(8):
            choices = Categorical(logits=policy(torch.stack((places, torch.full((32,), step / 8)), 1)))
            actions = choices.sample()
            places = places + 0.4 * (actions - 0.5)
            log_probs.append(choices.log_prob(actions))
            rewards.append(-places.abs())
        total = torch.zeros(32)
        returns = []
        for reward in rewards:  # TDX632
            total = reward + 0.9 * total
            returns.append(total)
        gains = torch.stack(returns)
        loss = -(torch.stack(log_probs) * (gains - gains.mean(1, keepdim=True)) / gains.std()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{torch.stack(rewards).mean().item():.3f}")


def healthy() -> None:
    import torch
    from torch import nn
    from torch.distributions import Categorical

    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.003)
    for _ in range(25):
        places = torch.rand(32) * 2 - 1
        log_probs, rewards = [], []
        for step in range(8):
            choices = Categorical(logits=policy(torch.stack((places, torch.full((32,), step / 8)), 1)))
            actions = choices.sample()
            places = places + 0.4 * (actions - 0.5)
            log_probs.append(choices.log_prob(actions))
            rewards.append(-places.abs())
        total = torch.zeros(32)
        returns: list[torch.Tensor] = []
        for reward in reversed(rewards):
            total = reward + 0.9 * total
            returns.insert(0, total)
        gains = torch.stack(returns)
        loss = -(torch.stack(log_probs) * (gains - gains.mean(1, keepdim=True)) / gains.std()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{torch.stack(rewards).mean().item():.3f}")
