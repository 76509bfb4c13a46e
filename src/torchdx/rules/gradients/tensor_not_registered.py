"""A tensor that is meant to be learnt is no parameter of the model.

Seen as a weight that never changes, is missing from `state_dict()`, and stays on the CPU when the model is moved.

Hurts because only an `nn.Parameter` assigned to an attribute is registered. `torch.randn(n, requires_grad=True)` is a
plain tensor: it gets a gradient, but `model.parameters()` does not give it to the optimizer. And what an operation
gives back is no longer the parameter: in `self.w = nn.Parameter(t).to(device)`, or `0.1 * nn.Parameter(t)`, the
attribute is a tensor computed from a parameter that nobody keeps.

In a run, what modules keep is looked through for tensors that have a gradient and that no optimizer changes, as those
in a plain list.

Helped by making the tensor first and the parameter last: `self.w = nn.Parameter(0.1 * t)`; the model's own
`.to(device)` moves it. What is not to be learnt belongs in `self.register_buffer(...)`.

No fault when the program hands the tensor to the optimizer itself, or uses its `.grad`.

Sources: PyTorch documentation, `torch.nn.Parameter`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import Call, edits
from torchdx.source.index import last_word, word_of
from torchdx.source.reading import words
from torchdx.source.tensors import is_tensor
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program, UserClass, UserFunction
    from torchdx.source.index import Binding

code, family, severity = "TDX215", "gradients", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset({"parameter-not-optimised", "not-learning"})

MOVING = words("to cuda half double bfloat16 xpu")
"""Methods that give back another tensor, at least on an accelerator or in another precision."""

COMPUTING = words("view reshape t unsqueeze squeeze repeat expand transpose permute flatten mul add div clone tile")
KEEPS_COUNT = re.compile(r"register_parameter|setattr|def (named_)?parameters|__dict__")


LOOKS = 3
"""Looks at each of which it must have had a gradient, and kept its values: exact; healthy programs have none."""

LAST = "make the parameter last: `self.x = nn.Parameter(...)`"
IN_LIST = "keep parameters in an `nn.ParameterList` or `nn.ParameterDict`: those in a plain one are none of the model's"


def in_source(program: Program) -> Iterator[Finding]:
    """Every attribute of a model that asks for gradients, or is computed from a parameter, and is none."""
    for call in program.calls("torch.nn.Parameter"):
        outer = _computed_from(call) if literal(call.argument_value(1, "requires_grad")) is not False else None
        owner = _owner_of(call, outer) if outer is not None else None
        if outer is not None and owner is not None and not _is_known_otherwise(program, owner, outer):
            yield _finding(
                owner, call, outer, f"is computed from a parameter, and so is none of {owner.name}'s: it is not learnt"
            )
    for cls in program.classes():
        if not any(word in cls.file.bytes for word in (b"requires_grad=True", b"requires_grad_()")):
            continue
        for found in cls.own_attributes.values():
            for method, binding in found:
                made = _asks_for_gradients(cls, method, binding)
                if made is not None and cls.is_model and not _is_known_otherwise(program, cls, made.node):
                    yield _finding(
                        cls, made, made.node, f"is a plain tensor and no parameter of {cls.name}: it is not learnt"
                    )


def in_run(record: Record) -> Iterator[Finding]:
    """Every tensor that a module keeps, that had a gradient at each look, and that nothing ever changed."""
    last = {(fact["module"], fact["name"]): fact for fact in record.process.all("stray")}
    for (number, name), fact in last.items():
        module = next((one for one in record.process.all("module") if one["id"] == number), None)
        if module is None or fact["moved"] or fact["looks"] < LOOKS:
            continue
        yield Finding(
            message=f"`{name}` of {module['cls']}, of shape {tuple(fact['shape'])}, gets gradients and is no parameter "
            "that the model gives to an optimizer: it is not learnt",
            site=site_of(fact["site"]),
            layer=".".join(filter(None, (module["name"], name))),
            evidence={"shape": str(tuple(fact["shape"])), "looks": fact["looks"]},
            cure=IN_LIST if "[" in name else LAST,
            confidence=0.95,
        )


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """At how many looks such a tensor had a gradient and was never changed."""
    yield "LOOKS", max((f["looks"] for f in record.process.all("stray") if not f["moved"]), default=0)


def _finding(owner: UserClass, call: Call, outer: ast.expr, why: str) -> Finding:
    target = _target(call.file.parent(outer))
    return Finding(
        message=f"`{call.file.text_of(target) if target is not None else call.text}` {why}",
        site=call.file.site(outer),
        cure=LAST,
        confidence=0.95,
        severity=None if owner.method("forward") is not None else "warning",
    )


def _target(statement: ast.AST | None) -> ast.Attribute | None:
    """`self.x` of `self.x = ...`."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
    if isinstance(statement, ast.AnnAssign):
        target = statement.target
    return target if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) else None


def _computed_from(call: Call) -> ast.expr | None:
    """The operation around a parameter, if one is computed from it where it is made, and is all that is kept."""
    file, node = call.file, call.node
    above = file.parent(node)
    if isinstance(above, ast.Attribute):
        outer = file.parent(above)
        moved = above.attr in MOVING or above.attr in COMPUTING
        if not moved or not isinstance(outer, ast.Call) or outer.func is not above or _stays(call, outer, above.attr):
            return None
        return outer if _target(file.parent(outer)) is not None else None
    if isinstance(above, ast.BinOp) and _target(file.parent(above)) is not None:
        return above
    return None


def _stays(call: Call, outer: ast.Call, method: str) -> bool:
    """Does `.to` name the CPU, or a type, which is mostly the one that it has?"""
    text = call.file.text_of(outer)[len(call.text) :]
    return method == "to" and ("float" in text or '"cpu"' in text or "'cpu'" in text)


def _owner_of(call: Call, outer: ast.expr) -> UserClass | None:
    function, target = call.function, _target(call.file.parent(outer))
    owner = function.owner if function is not None else None
    if function is None or owner is None or target is None or not owner.is_model or function.name == "forward":
        return None
    return owner if call.file.text_of(target.value) == function.self_name else None


def _asks_for_gradients(cls: UserClass, method: UserFunction | None, binding: Binding) -> Call | None:
    """The call that makes a plain tensor with `requires_grad=True`, in the constructor."""
    value = binding.value
    if method is None or method.name != "__init__" or not isinstance(value, ast.Call) or binding.steps:
        return None
    call = Call(cls.program, cls.file, value)
    if call.method == "requires_grad_" and not value.args and not value.keywords:
        given = call.receiver
        return call if given is not None and not _holds_parameter(given.node) and is_tensor(given.value) else None
    wanted = any(
        word.arg == "requires_grad" and isinstance(word.value, ast.Constant) and word.value.value is True
        for word in value.keywords
    )
    makes = call.name == "torch.autograd.Variable" or re.match(r"torch\.[a-z]\w*$", call.name) is not None
    return call if wanted and makes else None


def _holds_parameter(node: ast.expr) -> bool:
    return any(word_of(inner) == "Parameter" for inner in ast.walk(node))


def _is_known_otherwise(program: Program, cls: UserClass, made: ast.expr) -> bool:
    """Does the program register it, hand it to an optimizer, or use its gradient by itself?"""
    target = _target(cls.file.parent(made))
    if target is None or KEEPS_COUNT.search(cls.file.text_of(cls.node)):
        return True
    if len(cls.own_attributes.get(target.attr, ())) > 1:
        return True
    by_hand = re.compile(
        rb"\.%s(\.grad\b|\.data\b|\s*[-+*]=|\.(sub_|add_|requires_grad|detach))" % target.attr.encode()
    )
    for file in program.torch_files:
        if f".{target.attr}".encode() in file.bytes and by_hand.search(file.bytes):
            return True
    handed = re.compile(rf"\.{target.attr}\b")
    if any(handed.search(call.text) for call in program.calls("torch.autograd.grad")):
        return True
    return any(
        handed.search(call.file.text_of(call.node.args[0]))
        for call in program.calls_named(*(word for word in program.called_words if word[:1].isupper()))
        if call.node.args and call.name.startswith("torch.optim.")
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Make the parameter last."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call, ast.BinOp) if file is not None and finding.site else None
    if file is None or not isinstance(node, (ast.Call, ast.BinOp)):
        return
    inner = _parameter_in(node)
    if inner is None:
        names = file.module_scope.bindings
        text = f"{'nn' if 'nn' in names else 'torch.nn'}.Parameter({file.text_of(node)})"
    elif len(inner.args) == 1 and not inner.keywords and not isinstance(inner.args[0], ast.Starred):
        (first, last), (start, end) = file.span(node), file.span(inner)
        given = file.text_of(inner.args[0])
        given = given if isinstance(inner.args[0], (ast.Call, ast.Name, ast.Attribute)) else f"({given})"
        around = file.bytes[first:start].decode(file.encoding), file.bytes[end:last].decode(file.encoding)
        text = f"{file.text_of(inner.func)}({around[0]}{given}{around[1]})"
    else:
        return
    fix = edits.fix("make the parameter last", file, [edits.replace(file, node, text)])
    if fix is not None:
        yield fix


def _parameter_in(node: ast.Call | ast.BinOp) -> ast.Call | None:
    parts = [node.left, node.right] if isinstance(node, ast.BinOp) else [getattr(node.func, "value", node)]
    calls = (part for part in parts if isinstance(part, ast.Call))
    return next((c for c in calls if last_word(c) == "Parameter"), None)


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(64, 32), nn.Linear(32, 10)
            self.scale = torch.ones(64, requires_grad=True)  # TDX215

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.leave(torch.relu(self.enter(x * self.scale)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Scaled()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(64, 32), nn.Linear(32, 10)
            self.scale = nn.Parameter(torch.ones(64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.leave(torch.relu(self.enter(x * self.scale)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Scaled()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
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

    class Scaled(nn.Module):
        """One tensor is handed to the optimizer by itself, the other is not to be learnt."""

        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(64, 32), nn.Linear(32, 10)
            self.scale = torch.ones(64, requires_grad=True)
            self.shift = nn.Parameter(0.01 * torch.ones(32)).requires_grad_()
            self.register_buffer("mean", torch.zeros(64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.enter((x - self.get_buffer("mean")) * self.scale))
            logits: torch.Tensor = self.leave(x + self.shift)
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Scaled()
    optimizer = torch.optim.Adam([*model.parameters(), model.scale], lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
