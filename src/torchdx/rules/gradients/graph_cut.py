"""Between the weights and the loss the graph is cut, so backward() reaches none of them.

Seen as a loss that does not fall, weights whose `.grad` stays `None`, or `RuntimeError: element 0 of tensors does not
require grad and does not have a grad_fn`, which `requires_grad=True` at the loss then silences and does not cure.

Hurts because a gradient goes back only along operations that were recorded. `.detach()`, `.data`, `.item()`,
`.numpy()`, `argmax`, `>`, and `torch.no_grad()` record nothing. `torch.tensor(loss, requires_grad=True)` and
`Variable(loss, requires_grad=True)` make a new tensor without a past: its gradient is 1, and goes nowhere. A term of
a sum that is a number, `loss + penalty.item()`, is a constant, and the penalty punishes nothing. A distribution's
`.sample()` has no gradient towards its mean and scale, where `.rsample()` has: an encoder whose decoder is given the
first learns from the divergence alone, and forgets its inputs. `torch.autograd.grad` without `create_graph=True` gives
numbers, too: a gradient penalty, or an equation's residual, of such a derivative moves no weight.

Helped by computing the loss from what the model gives, with nothing of that between.

No fault when another path leads from the loss to the weights, or when the gradient of the new tensor itself is wanted,
as for adversarial inputs.

Sources: PyTorch documentation, "Autograd mechanics"; `torch.Tensor.detach`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.derivatives import derivatives_without_graph
from torchdx.source.draws import chances_without_gradient, draws_without_gradient
from torchdx.source.effects import without_gradient
from torchdx.source.graphs import calls_around, carries_graph, differentiated, history_of, is_cut, past_of, roots_of
from torchdx.source.losses import KINDS
from torchdx.source.optimizers import optimizers
from torchdx.source.values import UNKNOWN, Instance, Literal, Method, Operation, Result
from torchdx.source.walks import reached

if TYPE_CHECKING:
    from torchdx.finding import Severity, Site
    from torchdx.source import Program
    from torchdx.source.expressions import Expression
    from torchdx.source.values import Value

code, family, severity = "TDX210", "gradients", "error"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        "not-learning",
        "parameter-not-optimised",
        "parameter-never-reached",
        "learning-rate-too-low",
        "gradients-cleared-before-step",
        "cannot-fit-one-batch",
        "posterior-collapse",
    }
)

LOSSES = frozenset(KINDS.values())
WHOLE = "compute the loss from the model's output itself, with nothing between that ends the graph"
CURES = {
    "mean and scale": "draw with `.rsample()`, which has a gradient",
    "makes no graph": "give `create_graph=True`, so that the derivative can be differentiated by the weights",
}
"""Others, by words of the message."""
REVIVING = "torch.Tensor.requires_grad_"
REVIVED = re.compile(r"([\w.]+)\.requires_grad(?:_\(|\s*=\s*True)")


def in_source(program: Program) -> Iterator[Finding]:
    """Every loss that is differentiated and reaches no weight, and every term of one that is a bare number."""
    told = set()
    for loss, goal in _differentiated(program):
        cuts = [*_cuts(program, loss)][:1]
        found: list[tuple[Site, str, Severity | None]] = [
            (cut, f"{words}: `{goal.text[:50]}` reaches no weight", None) for cut, words in cuts
        ]
        for term in _bare_terms(loss) if not found else ():
            words = f"`{term.call.text[:60]}` is a number: `{goal.text[:50]}` goes by as if it were not in the sum"
            found.append((term.call.site, words, "warning"))
        for drawn in draws_without_gradient(program, loss) if not found else ():
            words = f"`{drawn.call.text[:60]}` ends the graph: no gradient of what follows reaches its mean and scale"
            found.append((drawn.call.site, words, "warning"))
        for slope in derivatives_without_graph(loss) if not found else ():
            words = f"`{slope.call.text[:60]}` makes no graph: what `{goal.text[:50]}` holds of it moves no weight"
            found.append((slope.call.site, words, "warning"))
        for cut, message, grade in found:
            if cut not in told:
                told.add(cut)
                yield Finding(
                    message=message,
                    site=cut,
                    evidence={"backward_at": str(goal.site)},
                    cure=next((cure for words, cure in CURES.items() if words in message), WHOLE),
                    confidence=0.95 if grade is None else 0.9,
                    severity=grade,
                )
    if not told:
        yield from _unmoved(program)


def _unmoved(program: Program) -> Iterator[Finding]:
    """A policy's log-probabilities that carry no gradient where they are multiplied by what was earned."""
    for product, text in chances_without_gradient(program):
        yield Finding(
            message=f"`{text[:60]}`: the log-probabilities in it were cut from the graph, so that nothing that was "
            "earned moves the policy",
            site=product,
            evidence={"product": text},
            cure="keep the log-probabilities as `log_prob` gives them, without `.detach()`, `.data` or `.item()`",
            confidence=0.93,
        )


def _differentiated(program: Program) -> Iterator[tuple[Expression, Expression]]:
    """Every loss that gradients are computed of, and what says so: a call of backward, a framework's step."""
    for call in program.calls_named("backward", "manual_backward"):
        loss = differentiated(call)
        if loss is not None and not program.effects.targets(call):
            yield loss, call
    for step in program.framework_steps:
        if step.framework == "lightning" and step.phase == "training" and step.automatic:
            for node in step.function.returns:
                given = next((value for key, value in _pairs(node) if key == "loss"), node)
                yield (program.expression(step.function.file, given),) * 2


def _pairs(node: ast.expr) -> Iterator[tuple[object, ast.expr]]:
    for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
        yield getattr(key, "value", None), value


def _cuts(program: Program, loss: Expression) -> Iterator[tuple[Site, str]]:
    """Where the graph of the loss ends, and how; nothing where it may lead to weights."""
    for choice in loss.value.alternatives():
        roots = roots_of(choice)
        if any(not isinstance(root, Result) or not _is_newly_made(program, root, choice) for root in roots):
            return
        if not roots and (not isinstance(choice, (Result, Operation)) or _is_revived_elsewhere(loss)):
            return
    for choice in loss.value.alternatives():
        for root in roots_of(choice):
            if isinstance(root, Result) and root.dotted != REVIVING:
                yield root.call.site, f"`{root.call.text[:60]}` makes a new tensor without a past"
        for ancestor in history_of(choice):
            found = _described(ancestor)
            if found is not None:
                yield found


def _is_newly_made(program: Program, root: Result, loss: Value) -> bool:
    """Is it a tensor made of something that was computed, and does nobody ask for its own gradient?"""
    if root.dotted == "torch.nn.Parameter" or b".grad" in root.call.file.bytes.replace(b".grad_fn", b""):
        return False
    if root.dotted == REVIVING:
        past = root.given if root.given is not None else UNKNOWN
        return carries_graph(past) is False and _leads_to_weights(past) and not _is_optimized(program, root)
    if root is loss:  # backward() goes no further than to this leaf, whatever it was made of
        return any(isinstance(value, Result) and value.dotted.startswith("torch.nn.") for value in past_of(root))
    given = root.call.argument_value(0, "data")
    while isinstance(given, Method) and given.method == "data":
        given = given.receiver
    if isinstance(given, Result) and given.dotted in ("torch.Tensor.item", "torch.Tensor.detach"):
        given = given.input
    return any(isinstance(found, Instance) for found in roots_of(given))


def _leads_to_weights(value: Value) -> bool:
    """Did it come from a model's output, before it was cut off?"""
    return any(_described(ancestor) is not None for ancestor in history_of(value))


def _is_optimized(program: Program, root: Result) -> bool:
    """Is a tensor, which was made to require gradients, itself given to an optimizer?"""
    given = (call.argument_value(0, "params") for call in optimizers(program))
    return any(isinstance(one, Result) and one.call.node is root.call.node for value in given for one in past_of(value))


def _is_loss(value: Result) -> bool:
    """Is it computed by one of torch's losses?"""
    if value.module is not None:
        return value.module.is_loss
    return value.dotted.startswith("torch.nn.functional.") and value.dotted.rpartition(".")[2] in LOSSES


def _bare_terms(loss: Expression) -> Iterator[Result]:
    """The terms of a sum that are losses turned into numbers, so that they are constants to backward()."""
    if not isinstance(loss.value, Operation) or loss.value.operator != "Add":
        return
    for value in reached(loss.value, _terms):
        if isinstance(value, Result) and value.dotted.rpartition(".")[2] in ("item", "float"):
            inner = value.input
            if (
                isinstance(inner, Result)
                and _is_loss(inner)
                and not any(map(without_gradient, calls_around(inner.call)))
            ):
                yield value


def _terms(value: Value) -> Iterator[Value]:
    """What is added up: also `0.5 * term`."""
    if not isinstance(value, Operation):
        return
    if value.operator == "Add":
        yield from value.values()
    elif value.operator == "Mult":
        factors = list(value.values())
        yield from factors if any(isinstance(one, Literal) for one in factors) else ()


def _is_revived_elsewhere(loss: Expression) -> bool:
    """Does the file make any other tensor than this loss require gradients?"""
    if "enable_grad" in loss.file.text or "set_grad_enabled" in loss.file.text:
        return True
    return any(found.group(1) != loss.text for found in REVIVED.finditer(loss.file.text))


def _described(value: Value) -> tuple[Site, str] | None:
    """Where a value that carried a graph is cut, and in what words; None where it is not."""
    if not is_cut(value):
        return None
    if isinstance(value, Operation):
        before = [inner for inner in value.values() if carries_graph(inner)]
        place = value.operands[0]
        return (place.site, "a comparison has no gradient") if before else None
    if isinstance(value, Result) and value.module is not None:
        switched_off = next((call for call in calls_around(value.call) if without_gradient(call)), None)
        if switched_off is not None and not value.module.is_loss:
            return switched_off.site, f"`{switched_off.text[:60]}` is computed where gradients are switched off"
    elif isinstance(value, Result):
        given = value.given if value.given is not None else value.call.argument_value(0)
        if carries_graph(given):
            return value.call.site, f"`{value.call.text[:60]}` ends the graph"
    return None


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Take the cut out, where it only wraps or follows the value."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    inner: ast.expr = node
    if isinstance(node.func, ast.Attribute) and node.func.attr == "detach" and not node.args:
        inner = node.func.value
    elif node.args and any(keyword.arg == "requires_grad" for keyword in node.keywords):
        inner = _bare(node.args[0])
    statement = file.statement(node)
    if inner is node or statement is None:
        return
    targets = statement.targets if isinstance(statement, ast.Assign) and statement.value is node else []
    names_itself = [file.text_of(target) for target in targets] == [file.text_of(inner)]
    change = edits.delete_statement(file, statement) if names_itself else edits.unwrap(file, node, inner)
    found = edits.fix("leave the graph whole", file, [change])
    if found is not None:
        yield found


def _bare(node: ast.expr) -> ast.expr:
    """A value without the `.data`, `.detach()` or `.item()` after it."""
    if isinstance(node, ast.Attribute) and node.attr == "data":
        return _bare(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("detach", "item"):
        return _bare(node.func.value)
    return node


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
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss = torch.tensor(loss.item(), requires_grad=True)  # TDX210
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
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
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
    body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    head = nn.Linear(64, 10)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.003)
    for _ in range(5):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            features = body(inputs[rows])
            kept = torch.autograd.Variable(features.detach(), requires_grad=True)
            loss = nn.functional.cross_entropy(head(kept), labels[rows])
            right = (head(kept).argmax(1) == labels[rows]).float().mean()
            (loss * (2 - right)).backward()
            features.backward(kept.grad)
            optimizer.step()
    print(f"{loss.item():.3f}")
