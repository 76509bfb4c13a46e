"""A module gets its layers before, or without, `super().__init__()`.

Seen as `AttributeError: cannot assign module before Module.__init__() call` (or "parameters", or "buffers") as soon as
the model is made.

Hurts because `nn.Module.__init__` makes the dictionaries in which an assignment to an attribute registers a layer or a
parameter. Before it has run, there is nothing to register them in.

Helped by `super().__init__()` as the first statement of `__init__`.

No fault when a base class that is not seen does it, or when only plain values are assigned before it.

Sources: PyTorch documentation, `torch.nn.Module`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.values import Instance, Result

if TYPE_CHECKING:
    from torchdx.source import Call, Program, UserClass, UserFunction
    from torchdx.source.index import Binding

code, family, severity = "TDX306", "activations", "error"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

OTHER_WAYS = ("__new__", "__setattr__", "__init_subclass__")


def in_source(program: Program) -> Iterator[Finding]:
    """Every model whose constructor assigns a layer or parameter that nothing can register yet."""
    for cls in program.classes():
        init = _constructor(cls)
        if init is None or not cls.is_model or not _is_plain(cls):
            continue
        started = _base_called(init)
        if started is not None and started.node.lineno <= _first_line(init):
            continue
        for binding in program.attributes_in(init):
            if _comes_before(init, binding, started) and _is_registered(cls, init, binding):
                what = "before" if started is not None else "without"
                yield Finding(
                    message=f"`{cls.file.text_of(binding.node)}` is assigned {what} `super().__init__()`: "
                    f"{cls.name} cannot be made",
                    site=cls.file.site(binding.node),
                    layer=binding.name,
                    cure="call `super().__init__()` first",
                    confidence=0.99,
                )
                break


def _constructor(cls: UserClass) -> UserFunction | None:
    scope = cls.file.index.scopes.get(cls.node)
    found = scope.bindings.get("__init__", ()) if scope is not None else ()
    if len(found) != 1 or not isinstance(found[0].node, ast.FunctionDef):
        return None
    return cls.program.function(cls.file, found[0].node)


def _is_plain(cls: UserClass) -> bool:
    """Is all that it descends from known, with no other way to be set up?"""
    odd = any(one.node.keywords or one.node.decorator_list for one in cls.lineage)
    return not odd and "" not in cls.ancestry and not any(cls.method(name) for name in OTHER_WAYS)


def _base_called(init: UserFunction) -> Call | None:
    """The first call that could run the constructor of `nn.Module`."""
    this = init.self_name

    def could(call: Call) -> bool:
        given = any(isinstance(arg, ast.Name) and arg.id == this for arg in call.node.args)
        return call.method in ("__init__", "exec") or (given and call.method != "super")

    return next((call for call in init.calls() if could(call)), None)


def _first_line(init: UserFunction) -> int:
    return _body(init)[0].lineno


def _body(init: UserFunction) -> list[ast.stmt]:
    """Its statements, without the docstring."""
    assert isinstance(init.node, ast.FunctionDef)
    body = init.node.body
    is_docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return body[1:] if is_docstring and len(body) > 1 else body


def _comes_before(init: UserFunction, binding: Binding, started: Call | None) -> bool:
    """Is it a statement of the constructor itself, above the call (which is one, too, if there is any)?"""
    statement = init.file.statement(binding.node)
    if statement is None or init.file.parent(statement) is not init.node or binding.how != "assign":
        return False
    if started is None:
        return True
    start = init.file.statement(started.node)
    return start is not None and init.file.parent(start) is init.node and statement.lineno < start.lineno


def _is_registered(cls: UserClass, init: UserFunction, binding: Binding) -> bool:
    """Is it certainly a module or parameter that becomes an attribute of the object itself?"""
    target = binding.node
    own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == init.self_name
    if not own or not isinstance(binding.value, ast.Call) or binding.steps:
        return False
    value = cls.program.evaluate(cls.file, binding.value)
    if isinstance(value, Result):
        return value.dotted == "torch.nn.Parameter"
    return isinstance(value, Instance) and (value.is_module or value.dotted == "torch.nn.Parameter")


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Call it first."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Attribute) if file is not None and finding.site else None
    init = program.expression(file, node).function if file is not None and isinstance(node, ast.Attribute) else None
    if file is None or init is None or init.owner is None:
        return
    started, first = _base_called(init), _body(init)[0]
    if started is None:
        takes_nothing = init.owner.ancestry == {"torch.nn.Module"} and len(init.owner.lineage) == 1
        fix = edits.fix(
            "call `super().__init__()` first",
            file,
            [edits.insert_before(file, first, "super().__init__()")],
            safe=takes_nothing,
        )
    else:
        statement = file.statement(started.node)
        if not isinstance(statement, ast.Expr) or started.node.args or started.node.keywords:
            return
        changes = [edits.delete_statement(file, statement), edits.insert_before(file, first, started.text)]
        fix = edits.fix("call `super().__init__()` first", file, changes, safe=True)
    if fix is not None:
        yield fix


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width: int) -> None:
            self.enter = nn.Linear(64, width)  # TDX306
            super().__init__()
            self.leave = nn.Linear(width, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.leave(torch.relu(self.enter(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model: nn.Module
    try:
        model = Net(32)
    except AttributeError as error:
        print(error)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
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

    class Net(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.enter = nn.Linear(64, width)
            self.leave = nn.Linear(width, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.leave(torch.relu(self.enter(x)))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model: nn.Module
    try:
        model = Net(32)
    except AttributeError as error:
        print(error)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
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

    class Base(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.enter = nn.Linear(64, 32)

    class Net(Base):
        """Plain values come first, and the base class calls its own base."""

        def __init__(self, classes: int) -> None:
            """Make it."""
            self.classes = classes
            width = 32
            super().__init__()
            self.leave = nn.Linear(width, classes)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.leave(torch.relu(self.enter(x)))
            return logits

    class Plain:
        """No module, so it may hold layers as it likes."""

        def __init__(self) -> None:
            self.net = Net(10)

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Plain().net
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
