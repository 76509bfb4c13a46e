"""What is kept as the best, or waited for, is the worst: the comparison with the best so far points the wrong way.

Seen as training that stops after as many epochs as its patience has, though it still gets better, and a "best" model
that is hardly trained. Found by following what is compared: to a loss, or errors, which are better the smaller they
are, or to a share of right answers, which is better the greater it is.

Hurts because `if loss > best` takes each rise of the loss for progress: from a best of minus infinity the first epoch
is kept, and all that falls below it counts as one more epoch without progress. The same comparison with a best of plus
infinity is never true, and a plateau of the other mode cuts the learning rate while all goes well.

Helped by `<` and a start of `float("inf")` for losses, `>` and a start of `-float("inf")` for scores.

No fault when the greatest loss is sought, as an adversary does, and nothing of the training hangs on it; when the sign
of what is compared was turned.

Sources: L. Prechelt, "Early Stopping - But When?" (1998); PyTorch documentation,
`torch.optim.lr_scheduler.ReduceLROnPlateau` (`mode`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding
from torchdx.source.choices import Choice, choices, is_below_all, is_never
from torchdx.source.extremes import extremes
from torchdx.source.merits import Merits
from torchdx.source.values import Instance

if TYPE_CHECKING:
    from torchdx.source import Program

code, family, severity = "TDX808", "generalisation", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "validation-gap"})


def in_source(program: Program) -> Iterator[Finding]:
    """Every choice of the best that takes the worse of two, and every plateau of the other mode."""
    merits, told = Merits(program), set()
    for choice in (*choices(program), *_of_lists(program)):
        merit = merits.better(choice.file, choice.value)
        zero = merit == -1 and is_below_all(choice)
        never = zero or is_never(choice)
        if choice.test in told or not (never or merit == (-1 if choice.greater else 1)):
            continue
        told.add(choice.test)
        value, best = choice.file.text_of(choice.value), choice.file.text_of(choice.best)
        sign, end = ("<", "inf") if choice.greater is not zero else (">", "-inf")
        yield Finding(
            message=f"`{choice.file.text_of(choice.test)}` is never true, as `{best}` starts at "
            f"{'zero' if zero else 'infinity'}"
            if never
            else f"`{choice.file.text_of(choice.test)}` takes the worst for the best: `{value}` is the better the "
            f"{'smaller' if merit < 0 else 'greater'} it is",
            site=choice.file.site(choice.test),
            cure=f"take the other: `{value} {sign} {best}`, with a best that starts at float('{end}')"
            if isinstance(choice.best, (ast.Name, ast.Attribute, ast.Subscript))
            else f"take the {'smallest' if choice.greater else 'greatest'}",
            confidence=0.93,
        )
    yield from _plateaus(program, merits)


def _of_lists(program: Program) -> Iterator[Choice]:
    """The best by the end of a list, in programs that train."""
    return extremes(program) if next(program.calls_named("backward"), None) is not None else iter(())


def _plateaus(program: Program, merits: Merits) -> Iterator[Finding]:
    for call in program.calls_named("step"):
        plateau = call.receiver.value if call.receiver is not None else None
        watched = call.argument(0, "metrics")
        if not isinstance(plateau, Instance) or not plateau.name.endswith(".ReduceLROnPlateau") or watched is None:
            continue
        mode = plateau.call.argument(1, "mode") if plateau.call is not None and plateau.call.is_certain else None
        word = "min" if mode is None and plateau.call is not None and plateau.call.is_certain else mode and mode.literal
        merit = merits.better(watched.file, watched.node)
        if merit == {"min": 1, "max": -1}.get(str(word), 2):
            yield Finding(
                message=f"the plateau waits for `{watched.text}` to {'fall' if word == 'min' else 'rise'}, and it is "
                f"better the {'greater' if merit > 0 else 'smaller'} it is: the rate is cut while all goes well",
                site=watched.site,
                cure=f'make it with mode="{"max" if merit > 0 else "min"}"',
                confidence=0.9,
            )


def sick() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    best, weights = -float("inf"), copy.deepcopy(model.state_dict())
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            held_out = nn.functional.cross_entropy(model(inputs[validation]), labels[validation]).item()
        if held_out > best:  # TDX808
            best = held_out
            weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    print(f"{best:.3f}")


def healthy() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    best, weights = float("inf"), copy.deepcopy(model.state_dict())
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            held_out = nn.functional.cross_entropy(model(inputs[validation]), labels[validation]).item()
        if held_out < best:
            best = held_out
            weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    print(f"{best:.3f}")


def looks_like_it() -> None:
    import copy

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(inputs))
    training, validation = order[:1400], order[1400:]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    best, weights, waited = None, copy.deepcopy(model.state_dict()), 0
    for _ in range(10):
        for rows in training[torch.randperm(len(training))].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            score = -nn.functional.cross_entropy(model(inputs[validation]), labels[validation]).item()  # turned
        if best is not None and score < best + 0.001:
            waited += 1
            if waited > 3:
                break
        else:
            best, waited = score, 0
            weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    print(f"{best:.3f}")
