"""The logarithm of a softmax or sigmoid is taken in a second step, with nothing to keep it finite.

Seen as a loss that is suddenly `inf` or `nan`, after hours of healthy training, and weights that stay `nan`.

Hurts because the probability is rounded before its logarithm is taken. In float32 a sigmoid is exactly 1 from a logit
of 17 on, so that log(1 - p) is minus infinity, and 0 from about -89; a softmax is exactly 0 from 104 below the greatest
logit, in float16 from 18. The gradient 1/p overflows earlier still, and infinity times 0, be it the softmax's own
gradient or the weight of a class, is `nan`: then a right and confident answer is what breaks the training.

Helped by computing both in one: `log_softmax`, `logsigmoid`, `cross_entropy`, `binary_cross_entropy_with_logits`; or by
a floor, `p.clamp_min(1e-7)`.

No fault when a small number is added or a floor set before the logarithm, and where no gradient is computed.

Sources: PyTorch documentation, `torch.nn.functional.log_softmax`: "doing these two operations separately is slower and
numerically unstable".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Edit, Finding, Fix
from torchdx.rules.loss.kl_divergence_of_probabilities import in_log
from torchdx.source import edits, without_gradient
from torchdx.source.ancestry import ancestry_of, losses_trained_on
from torchdx.source.endings import LIMITING, OPERATIONS, SAME, TORCH
from torchdx.source.values import Item, Literal, Operation, Result, Value
from torchdx.source.walks import walk

if TYPE_CHECKING:
    from torchdx.source import Call, Expression, Program

code, family, severity = "TDX610", "loss", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset({"non-finite", "nonfinite-value"})

FLOOR = "clamp_min(1e-7)"


def in_source(program: Program) -> Iterator[Finding]:
    """Every logarithm of what certainly comes straight out of a softmax or sigmoid, in a loss that is trained on.

    Those of one function, or of a script's own lines, are one finding: they are one loss, and are cured together.
    """
    found = {call.node: (call, maker) for call, maker in _logarithms(program)}
    together: dict[ast.AST, list[tuple[Call, Result]]] = {}
    for call, maker in sorted(_trained_on(program, found), key=lambda pair: pair[0].site):
        together.setdefault(_home(call), []).append((call, maker))
    for (call, maker), *others in together.values():
        operation, place = OPERATIONS[maker.dotted.rpartition(".")[2]][1], maker.call.site
        further = f"; so {'does' if len(others) == 1 else 'do'} {len(others)} more here" if others else ""
        yield Finding(
            message=f"`{call.text[:50]}` takes the logarithm of a {operation} ({place.seen_from(call.file.path)}) with "
            f"nothing to keep it finite: a probability that is rounded makes the loss infinite{further}",
            site=call.site,
            evidence={"operation": operation, "operation_at": str(place)},
            cure=_cure(call, operation),
            confidence=0.9,
        )


def _home(call: Call) -> ast.AST:
    return call.file.scope_of(call.node).node


def _cure(call: Call, operation: str) -> str:
    given = _given(call)
    of_rest = given is not None and isinstance(given.value, Operation)  # log(1 - p)
    if operation == "sigmoid":
        return f"use logsigmoid on {'minus ' * of_rest}the logits, or set a floor: `.{FLOOR}`"
    return f"set a floor: `.{FLOOR}`" if of_rest else f"use log_softmax on the logits, or set a floor: `.{FLOOR}`"


def _trained_on(program: Program, found: dict[ast.Call, tuple[Call, Result]]) -> Iterator[tuple[Call, Result]]:
    """Those that some loss is computed from on which `backward` is called."""
    if not found:
        return
    left = dict(found)
    for loss in losses_trained_on(program, frozenset(call.file for call, _ in found.values())):
        for one in ancestry_of(loss):
            if isinstance(one, Result) and one.call.node in left:
                yield left.pop(one.call.node)
        if not left:
            return


def _logarithms(program: Program) -> Iterator[tuple[Call, Result]]:
    for call in program.calls_named("log"):
        given = _given(call)
        maker = _unguarded(given.value) if given is not None else None
        if maker is not None and not without_gradient(call):
            yield call, maker


def _given(call: Call) -> Expression | None:
    """What the logarithm is taken of, where the call is that of torch's function or of a tensor's method."""
    if call.name == "torch.log":
        return call.argument(0, "input")
    return call.receiver if not call.name and not call.node.args and not call.node.keywords else None


@walk(None)
def _unguarded(value: Value) -> Result | None:
    """The softmax or sigmoid that a value certainly comes from, with only changes of shape, and 1 - p, between."""
    found = [_one(choice) for choice in value.alternatives()]
    return found[0] if found and all(found) else None


def _one(value: Value) -> Result | None:
    if isinstance(value, Item):
        return _unguarded(value.of)
    if isinstance(value, Operation) and value.operator == "Sub":
        left, right = list(value.values())
        return _unguarded(right) if isinstance(left, Literal) and left.value == 1 else None
    if not isinstance(value, Result) or not TORCH.match(value.dotted):
        return None
    last = value.dotted.rpartition(".")[2]
    if OPERATIONS.get(last, ("", ""))[1] in ("softmax", "sigmoid"):
        return value
    return _unguarded(value.input) if last in SAME - LIMITING else None


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Compute both in one, where they stand in one expression; else set a floor."""
    found = [(call, maker, given) for call, maker in _logarithms(program) if (given := _given(call)) is not None]
    first = next((call for call, _, _ in found if call.site == finding.site), None)
    if first is None:
        return
    here = [each for each in found if each[0].file is first.file and _home(each[0]) is _home(first)]
    file = first.file
    floors = [edits.method_of(file, given.node, FLOOR) for _, _, given in here]
    changes = [_in_one(call, maker, given) for call, maker, given in here]
    ways = [("set a floor", floors)]
    if all(changes):
        ways.insert(0, ("compute the logarithm with it", [edit for change in changes for edit in change]))
    for title, wanted in ways:
        fix = edits.fix(title, file, wanted)
        if fix is not None:
            yield fix


def _in_one(call: Call, maker: Result, given: Expression) -> list[Edit]:
    """`torch.log(torch.softmax(x, 1))` becomes `torch.log_softmax(x, 1)`."""
    renamed = [edit for edit in in_log(maker) if maker.module is None]
    func = maker.call.node.func
    if maker.call.node is not given.node or not renamed or not isinstance(func, ast.Attribute):
        return []
    name = renamed[0].text.decode()
    if name.endswith("logsigmoid"):
        name = {"torch": "torch.nn.functional.logsigmoid"}.get(call.file.text_of(func.value), name)
    file = call.file
    start, _ = file.span(given.node)
    after = file.span(func)[1]
    return (
        [edits.replace(file, call.node, name + file.bytes[after : file.span(given.node)[1]].decode(file.encoding))]
        if start
        else []
    )


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
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            shares = torch.softmax(model(inputs[rows]), dim=1)
            right = shares[torch.arange(len(rows)), labels[rows]]
            loss = -torch.log(right).mean()  # TDX610
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
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            logarithms = torch.log_softmax(model(inputs[rows]), dim=1)
            loss = -logarithms[torch.arange(len(rows)), labels[rows]].mean()
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_breast_cancer
    from torch import nn

    torch.manual_seed(0)
    cancer = load_breast_cancer()
    inputs = torch.tensor((cancer.data - cancer.data.mean(0)) / cancer.data.std(0), dtype=torch.float32)
    labels = torch.tensor(cancer.target, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid(), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(32):
            optimizer.zero_grad()
            p, y = model(inputs[rows]), labels[rows]
            safe = p.clamp(1e-7, 1 - 1e-7)
            loss = -(y * torch.log(p + 1e-7) + (1 - y) * torch.log(1 - safe)).mean()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        doubt = -(model(inputs) * model(inputs).log()).mean()
    print(f"{loss.item():.3f} {doubt.item():.3f}")
