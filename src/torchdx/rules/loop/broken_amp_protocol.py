"""A step of mixed precision is missing or out of place: the gradients' scale is not undone, or never adapts.

Seen as a loss that jumps to NaN at once, steps 65,536 times too large, or a RuntimeError about `unscale_()` or `step()`
being called twice since the last `update()`.

Hurts because `scaler.scale(loss).backward()` leaves S * g in `.grad`, S around 65,536, so that small gradients survive
float16. Only `scaler.step(optimizer)` divides by S again and skips a step whose gradients overflowed; only
`scaler.update()` lowers S after such a step and raises it in quiet times. What a new scaler knows of S is nothing.

Helped by the order `scaler.scale(loss).backward()`, `scaler.step(optimizer)`, `scaler.update()`, with one scaler made
before the loop; `autocast` belongs around the forward pass and the loss only.

No fault when the scaler is switched off, when each branch of `if mixed:` keeps to its own protocol, or when gradients
are unscaled by `unscale_` and checked by hand.

Sources: PyTorch documentation, `torch.amp`; PyTorch, "Automatic Mixed Precision examples"; Micikevicius et al.,
"Mixed Precision Training" (2018).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits, optimizer_of
from torchdx.source.effects import is_scaler
from torchdx.source.reading import words
from torchdx.source.values import Instance, literal

if TYPE_CHECKING:
    from torchdx.source import Event, Expression, Program, Round

code, family, severity = "TDX905", "loop", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {"exploding-gradient", "nonfinite-value", "learning-rate-too-high", "diverged", "non-finite", "not-learning"}
)

AUTOCASTS = words("torch.autocast torch.cuda.amp.autocast torch.cpu.amp.autocast torch.amp.autocast")


def in_source(program: Program) -> Iterator[Finding]:
    """Every breach of the protocol in a round of training."""
    if not any(True for _ in program.calls_named("GradScaler", "autocast")):
        return
    told = set()
    for round_ in program.training_rounds:
        for finding in _breaches(program, round_):
            if finding.site not in told:
                told.add(finding.site)
                yield finding


def _breaches(program: Program, round_: Round) -> Iterator[Finding]:
    for event in round_.all("backward"):
        if event.call is not None and _under_autocast(event.call):
            yield Finding(
                message="backward() runs under autocast, which is meant for the forward pass and the loss only",
                site=event.call.site,
                cure="leave the `with` block before backward()",
                severity="note",
            )
    if round_.does("opaque"):
        return
    yield from _unscaled_steps(round_)
    yield from _without_update(program, round_)
    yield from _made_each_round(round_)
    yield from _unscaled_twice(round_)


def _unscaled_steps(round_: Round) -> Iterator[Finding]:
    """Steps of the optimizer itself upon scaled gradients."""
    if any(step.call is not None and _is_scalers(step.call) for step in round_.all("step")) or round_.does("unscale"):
        return
    for event in round_.all("backward"):
        scaler = _scaler_of(event)
        for step in round_.beside(event) if scaler is not None else ():
            call = step.call
            if scaler is None or step.effect != "step" or call is None or call.node.args or not step.certain:
                continue
            optimizer = optimizer_of(call)
            yield Finding(
                message=f"the loss is scaled by `{scaler.text}`, but `{call.text}` follows the gradients as they are, "
                "some 65,536 times too large, and does not skip those that overflowed",
                site=call.site,
                evidence={"scaler": scaler.text, "backward_at": str(event.call.site) if event.call else ""},
                cure=f"`{scaler.text}.step({optimizer.text})`, then `{scaler.text}.update()`",
                confidence=0.97 if isinstance(scaler.value, Instance) else 0.9,
            )


def _without_update(program: Program, round_: Round) -> Iterator[Finding]:
    """Steps of a scaler that nothing in the program ever updates."""
    for event in round_.all("step"):
        call = event.call
        if call is None or not _is_scalers(call) or not isinstance(call.receiver.value, Instance):  # type: ignore[union-attr]
            continue
        if not any(other.receiver is not None and _may_be_scaler(other) for other in program.calls_named("update")):
            yield Finding(
                message=f"nothing calls update() after `{call.text}`: the second step raises a RuntimeError, and the "
                "scale never adapts",
                site=call.site,
                cure=f"call `{call.receiver.text}.update()` after each step",  # type: ignore[union-attr]
                confidence=0.97,
            )


def _made_each_round(round_: Round) -> Iterator[Finding]:
    """Scalers that are made anew for each step."""
    for event in round_.all("step"):
        scaler = event.call.receiver if event.call is not None and _is_scalers(event.call) else None
        made = scaler.value if scaler is not None else None
        if not isinstance(made, Instance) or made.call is None or event.home is None:
            continue
        if event.home in made.call.file.ancestors(made.call.node):
            yield Finding(
                message="the gradient scaler is made anew in every round, so its scale starts at 65,536 each time and "
                "never adapts: once that overflows, every step is skipped",
                site=made.call.site,
                cure="make one scaler, before the loop",
                severity="warning",
            )


def _unscaled_twice(round_: Round) -> Iterator[Finding]:
    """A second `unscale_` of the same optimizer before `update()`, in one block."""
    last: dict[tuple[int, str], int] = {}
    for place, event in enumerate(round_.directly):
        statement = event.call.file.statement(event.call.node) if event.call is not None else None
        if event.effect != "unscale" or event.call is None or statement is None:
            continue
        key = (id(edits.block_of(event.call.file, statement)), optimizer_of(event.call).text)
        between = round_.directly[last[key] : place] if key in last else ()
        if between and not any(other.effect in ("update", "step") for other in between):
            yield Finding(
                message=f"`{event.call.text}` comes twice in one round, which raises a RuntimeError",
                site=event.call.site,
                cure="unscale once, before clipping",
            )
        last[key] = place


def _scaler_of(backward: Event) -> Expression | None:
    """The scaler that multiplied a loss before its backward pass, unless it is switched off."""
    loss = backward.call.receiver if backward.call is not None else None
    scaling = loss.node if loss is not None else None
    if loss is None or not isinstance(scaling, ast.Call):
        return None
    call = Call(loss.program, loss.file, scaling, loss.frame)
    if call.method != "scale" or call.receiver is None or not is_scaler(call.receiver):
        return None
    made = call.receiver.value
    off = isinstance(made, Instance) and made.call and literal(made.call.argument_value(None, "enabled")) is False
    return None if off else call.receiver


def _is_scalers(step: Call) -> bool:
    return step.receiver is not None and is_scaler(step.receiver)


def _may_be_scaler(call: Call) -> bool:
    assert call.receiver is not None
    return "scal" in call.receiver.text.lower() or is_scaler(call.receiver)


def _under_autocast(call: Call) -> bool:
    for above in call.file.ancestors(call.node):
        if isinstance(above, ast.With):
            entered = [item.context_expr for item in above.items if isinstance(item.context_expr, ast.Call)]
            if any(Call(call.program, call.file, node).name in AUTOCASTS for node in entered):
                return True
        if isinstance(above, ast.FunctionDef | ast.Lambda):
            return False
    return False


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Let the scaler take the step, and update it."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    statement = file.statement(node) if file is not None and node is not None else None
    if file is None or not isinstance(node, ast.Call) or statement is None:
        return
    call = Call(program, file, node)
    scaler = finding.evidence.get("scaler") or (call.receiver.text if call.receiver is not None else "")
    changes = []
    if call.method == "step" and not _is_scalers(call):
        changes.append(edits.replace(file, node, f"{scaler}.step({optimizer_of(call).text})"))
    if call.method == "step" and not any(
        other.receiver is not None and other.receiver.text == scaler for other in program.calls_named("update")
    ):
        changes.append(edits.insert_after(file, statement, f"{scaler}.update()"))
    if call.method == "unscale_" and call.is_statement:
        changes.append(edits.delete_statement(file, statement))
    fix = edits.fix("keep to the scaler's protocol", file, changes) if changes else None
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
    scaler = torch.amp.GradScaler("cpu")
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            scaler.scale(loss).backward()
            optimizer.step()  # TDX905
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
    scaler = torch.amp.GradScaler("cpu")
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
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
    mixed = torch.cuda.is_available()
    scaler = torch.amp.GradScaler("cpu", enabled=mixed)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            with torch.autocast("cpu", enabled=False):
                loss = loss_of(model(inputs[rows]), labels[rows])
            if mixed:
                scaler.scale(loss).backward()
            else:
                loss.backward()
            if mixed:
                scaler.unscale_(optimizer)
                scaler.step(optimizer)
                scaler.update()
            else:
                optimizer.step()
    print(f"{loss.item():.3f}")
