"""A program as read: files of every kind, names, values, models, losses, loops."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from torchdx.source import Model, Program, ending_of
from torchdx.source.values import Group, Instance, Literal, Setting


def program(main: str = "", **files: str) -> Program:
    """A program of files given as text; `pkg_IN_net` stands for pkg/net.py."""
    named = {"main": main, **files}
    return Program.of({f"{name.replace('_IN_', '/')}.py": textwrap.dedent(text) for name, text in named.items()})


def value(text: str, name: str = "wanted") -> object:
    """What the last expression given to `wanted(...)` may be worth."""
    read = program(main=textwrap.dedent(text) + "\n# torch")
    return list(read.calls_named(name))[-1].argument_value(0)


# Files of every kind


def test_broken_files_become_problems_not_exceptions(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(b"import torch\ndef f(:\n")
    (tmp_path / "nul.py").write_bytes(b"import torch\x00\n")
    (tmp_path / "empty.py").write_bytes(b"")
    (tmp_path / "latin.py").write_bytes(b"import torch\nname = '\xe9'\n")
    (tmp_path / "cookie.py").write_bytes(b"# -*- coding: no-such-thing -*-\nimport torch\n")
    (tmp_path / "huge.py").write_bytes(b"import torch\n" + b"#" * 2_100_000)
    (tmp_path / "deep.py").write_text("import torch\nx = " + "(" * 3000 + ")" * 3000)
    (tmp_path / ".hidden.py").write_text("import torch\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    (tmp_path / "venv" / "inside.py").write_text("import torch\n")
    read = Program.read([tmp_path, tmp_path / "missing.py"])
    assert {Path(problem.path).name for problem in read.problems} == {
        "bad.py",
        "latin.py",
        "cookie.py",
        "nul.py",
        "huge.py",
        "deep.py",
        "missing.py",
    }
    assert {Path(file.path).name for file in read.files} >= {"empty.py", "latin.py", "cookie.py"}
    assert "inside.py" not in {Path(file.path).name for file in read.files}


@pytest.mark.parametrize(
    "data",
    [
        "import torch\né = 'ü'; torch.zeros(3)\n".encode(),
        "﻿import torch\né = 'ü'; torch.zeros(3)\n".encode(),
        "# coding: latin-1\nimport torch\né = 'ü'; torch.zeros(3)\n".encode("latin-1"),
        "import torch\r\né = 'ü'; torch.zeros(3)\r\n".encode(),
        "import torch\ré = 'ü'; torch.zeros(3)\r".encode(),
    ],
)
def test_places_are_in_characters_and_spans_in_bytes(data: bytes) -> None:
    read = Program.of({"a.py": data})
    (call,) = read.calls("torch.zeros")
    assert call.site.column == 10
    start, end = call.file.span(call.node)
    assert data[start:end] == b"torch.zeros(3)"
    assert call.text == "torch.zeros(3)"


def test_a_script_brings_the_files_it_imports(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("from .net import Net\n")
    (tmp_path / "pkg" / "net.py").write_text("import torch\nclass Net(torch.nn.Linear): pass\n")
    (tmp_path / "other.py").write_text("import torch\n")
    (tmp_path / "train.py").write_text("from pkg import Net\nimport torch\nmodel = Net(1, 2)\n")
    read = Program.around(tmp_path / "train.py")
    assert {Path(file.path).name for file in read.files} == {"train.py", "__init__.py", "net.py"}
    (call,) = read.calls_named("Net")
    assert isinstance(call.value, Instance) and call.value.is_module


# Names


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.nn.functional.softmax(x)",
        "import torch.nn.functional as F\nF.softmax(x)",
        "from torch.nn import functional as G\nG.softmax(x)",
        "from torch import nn\nnn.functional.softmax(x)",
        "from torch.nn.functional import softmax as sm\nsm(x)",
        "import torch.nn as nn\nF = nn.functional\nF.softmax(x)",
        "def f():\n    from torch.nn import functional\n    functional.softmax(x)",
        "try:\n    import torch.nn.functional as F\nexcept ImportError:\n    F = None\nF.softmax(x)",
    ],
)
def test_one_name_however_imported(text: str) -> None:
    assert [call.name for call in program(main=text).calls("torch.nn.functional.softmax")]


def test_inner_modules_of_torch_have_one_name() -> None:
    text = """
        from torch.nn.modules.loss import CrossEntropyLoss
        from torch.optim.adam import Adam
        from torch.optim.lr_scheduler import StepLR
        CrossEntropyLoss(), Adam([]), StepLR()
    """
    read = program(main=text)
    assert list(read.calls("torch.nn.CrossEntropyLoss", "torch.optim.Adam", "torch.optim.lr_scheduler.StepLR"))
    assert len(list(read.calls("torch.optim.Adam"))) == 1


def test_names_are_followed_through_re_exports_and_relative_imports() -> None:
    read = program(
        pkg_IN___init__="from .models import Net as Model\nfrom .helpers import *",
        pkg_IN_models="import torch\nclass Net(torch.nn.Module): pass",
        pkg_IN_helpers="import torch\ndef build(): return torch.nn.ReLU()",
        pkg_IN_sub_IN_train="import torch\nfrom ..models import Net\nfrom .. import Model, build\n"
        "Net(); Model(); build()",
    )
    values = [next(read.calls_named(name)).value for name in ("Net", "Model", "build")]
    assert all(isinstance(v, Instance) and v.is_module for v in values)


def test_the_users_own_class_is_not_torchs() -> None:
    text = """
        import torch
        class CrossEntropyLoss:
            def __call__(self, x, y): return x
        loss = CrossEntropyLoss()
        loss(torch.softmax(torch.ones(3), 0), 1)
    """
    assert not list(program(main=text).losses())


# Values


def test_the_latest_assignment_counts() -> None:
    assert value("x = 1\nx = 2\nwanted(x)").value == 2  # type: ignore[attr-defined]
    both = value("import torch\nx = 1\nif torch.a:\n    x = 2\nwanted(x)")
    assert sorted(v.value for v in both.alternatives()) == [1, 2]  # type: ignore[attr-defined]
    left = value("import torch\ndef f(c):\n    x = 1\n    if c:\n        x = 2\n        return\n    wanted(x)")
    assert left.value == 1  # type: ignore[attr-defined]
    around = value("import torch\ndef f():\n    x = 1\n    for i in range(3):\n        wanted(x)\n        x = 2")
    assert sorted(v.value for v in around.alternatives()) == [1, 2]  # type: ignore[attr-defined]
    inner = value("for e in a:\n    x = 1\n    for i in b:\n        wanted(x)\n        x = 2")
    assert sorted(v.value for v in inner.alternatives()) == [1, 2]  # type: ignore[attr-defined]
    anew = value("for x in [1]:\n    wanted(x)\n    x = 2")
    assert anew.value == 1  # type: ignore[attr-defined]


def test_values_go_through_calls_tuples_and_attributes() -> None:
    text = """
        import torch
        class Trainer:
            def __init__(self, model, lr=0.1):
                self.model, self.lr = model, lr
                self.optimizer = self.make()
            def make(self):
                return torch.optim.SGD(self.model.parameters(), lr=self.lr)
            def go(self):
                wanted(self.optimizer)
                lrs(self.lr)
        def build():
            return torch.nn.Linear(2, 3), {"lr": 0.5}
        model, config = build()
        Trainer(model, config["lr"]).go()
    """
    read = program(main=text)
    optimizer = next(read.calls_named("wanted")).argument_value(0)
    assert isinstance(optimizer, Instance) and optimizer.is_optimizer
    assert next(read.calls_named("lrs")).argument_value(0).value == 0.5  # type: ignore[attr-defined]


def test_options_from_the_command_line_are_settings() -> None:
    text = """
        import argparse, torch
        parser = argparse.ArgumentParser()
        parser.add_argument("--learning-rate", default=0.1)
        args = parser.parse_args()
        wanted(args.learning_rate)
    """
    found = value(text)
    assert isinstance(found, Setting) and isinstance(found.default, Literal) and found.default.value == 0.1


def test_lists_grow_and_are_joined() -> None:
    text = """
        import torch
        from torch import nn
        layers = [nn.Linear(1, 2)]
        layers.append(nn.ReLU())
        layers += [nn.Linear(2, 3)]
        wanted(layers)
    """
    found = value(text)
    assert isinstance(found, Group)
    assert [item.name for item in found.items] == ["torch.nn.Linear", "torch.nn.ReLU", "torch.nn.Linear"]


STACK = """
    import torch
    from torch import nn
    def block(n):
        return [nn.Linear(n, n), nn.Sigmoid()]
    def grow(layers):
        layers.append(nn.Linear(4, 4))
        layers.append(nn.Sigmoid())
    def lengthen(layers):
        layers += [nn.Linear(4, 4), nn.Sigmoid()]
    {stack}
    wanted(nn.Sequential(*layers)(torch.randn(3, 4)))
"""
LOOP = "layers = []; [0]\n    for i in range(3):\n        "


@pytest.mark.parametrize(
    ("stack", "kind"),
    [
        ("layers = block(4)", "probabilities"),
        ("layers = block(4); layers.append(nn.Linear(4, 2))", "logits"),
        ("layers = list(block(4)); layers.extend(block(4)); layers += [nn.Linear(4, 2)]", "logits"),
        (f"{LOOP}layers += block(4)\n    layers.append(nn.Linear(4, 2))", "logits"),
        (f"{LOOP}layers = layers + block(4)\n    layers.append(nn.Linear(4, 2))", "logits"),
        (
            f"{LOOP}layers.append(nn.Linear(4, 4))\n        if i < 2:\n            layers.append(nn.Sigmoid())",
            "unknown",
        ),
        (f"{LOOP}layers.extend(block(4))\n    layers = layers[:-1]", "logits"),
        ("layers = block(4); layers.pop()", "logits"),
        ("layers = block(4); del layers[-1]", "unknown"),
        ("layers = block(4); layers[-1] = nn.Identity()", "unknown"),
        ("layers = block(4)[:-1]", "logits"),
        ("layers = block(4); layers.reverse()", "unknown"),
        ("layers = [nn.Linear(4, 4)]; layers.insert(0, nn.Sigmoid())", "logits"),
        ("layers = [nn.Linear(4, 4)]; grow(layers)", "unknown"),
        ("layers = [nn.Linear(4, 4)]; lengthen(layers)", "unknown"),
        ("layers = block(4); len(layers); grow(layers); layers.append(nn.Linear(4, 4))", "logits"),
        ("layers = block(4); body = layers; body.append(nn.Linear(4, 4))", "unknown"),
    ],
)
def test_of_a_list_that_changes_the_true_last_layer_is_known_or_none(stack: str, kind: str) -> None:
    assert ending_of(value(STACK.format(stack=stack))).kind == kind


def test_a_loop_that_feeds_itself_ends() -> None:
    value("import torch\nx = wanted\nwhile x:\n    x += x\n    x = x(x)\nwanted(x)")
    value("import torch\ndef f(n):\n    return f(n - 1)\nwanted(f(3))")
    value(
        "import torch\nclass A:\n    def __init__(self):\n        self.a = self.b\n        self.b = self.a\n"
        "wanted(A().a)"
    )


# Models and endings

NET = """
    import torch
    from torch import nn
    import torch.nn.functional as F
    class Net(nn.Module):
        def __init__(self, n=3):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.body = nn.Sequential(nn.Linear(4, n), nn.{last})
            self.soft = nn.Softmax(dim=1)
        def forward(self, x):
            x = self.drop(x)
            {forward}
        def finish(self, x):
            return torch.sigmoid(x)
"""


@pytest.mark.parametrize(
    ("last", "forward", "kind"),
    [
        ("Linear(3, 3)", "return self.body(x)", "logits"),
        ("LogSoftmax(dim=1)", "return self.body(x)", "log-probabilities"),
        ("Sigmoid()", "return self.body(x).squeeze(1)", "probabilities"),
        ("Tanh()", "return self.drop(self.body(x))", "bounded"),
        ("ReLU()", "return self.body(x)", "bounded"),
        ("GELU()", "return self.body(x)", "unknown"),
        ("Linear(3, 3)", "return self.body(x).clamp(0, 1)", "bounded"),
        ("Linear(3, 3)", "x = self.body(x)\n            return self.soft(x)", "probabilities"),
        ("Linear(3, 3)", "x = self.body(x)\n            return self.finish(x)", "probabilities"),
        ("Linear(3, 3)", "return F.log_softmax(self.body(x), -1), x", "log-probabilities"),
        ("Linear(3, 3)", "return self.body(x).softmax(-1)", "probabilities"),
        ("Linear(3, 3)", "return torch.log(self.soft(self.body(x)) + 1e-8)", "log-probabilities"),
        ("Linear(3, 3)", "y = self.body(x)\n            return y if self.training else self.soft(y)", "unknown"),
    ],
)
def test_what_a_model_ends_in(last: str, forward: str, kind: str) -> None:
    read = Program.of({"a.py": textwrap.dedent(NET.format(last=last, forward=forward))})
    (model,) = read.models
    assert model.ending.kind == kind
    assert [submodule.name for submodule in model.submodules] == ["drop", "body", "soft"]
    assert model.changes_with_mode and model.holds("Dropout") and not model.holds("BatchNorm")


def test_the_loss_sees_the_softmax_in_another_file() -> None:
    read = program(
        nets_IN_net=NET.format(last="Linear(3, 3)", forward="return self.soft(self.body(x))"),
        nets_IN___init__="from .net import Net",
        steps="def step(model, loss_of, batch):\n    x, y = batch\n    return loss_of(model(x), y)",
        main="""
            import torch
            from nets import Net as N
            from torch import nn
            from steps import step
            def main(loader):
                model, criterion = N().to("cpu"), nn.CrossEntropyLoss(label_smoothing=0.1)
                for batch in loader:
                    step(model, criterion, batch).backward()
        """,
    )
    # `steps` itself never mentions torch, so nothing is reported in it; made to, it is.
    assert not list(read.losses())
    again = Program.of({f.path: f.text + ("# torch" if "steps" in f.path else "") for f in read.files})
    (use,) = again.losses("cross_entropy")
    assert use.ending.kind == "probabilities" and use.option("label_smoothing").value == 0.1  # type: ignore[union-attr]


def test_models_know_what_they_hold_however_deep() -> None:
    text = """
        import torch
        from torch import nn
        def block(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o), nn.ReLU())
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.ModuleList([block(i, i + 1) for i in range(3)])
            def forward(self, x):
                for b in self.blocks:
                    x = b(x)
                return x
        net = Net()
    """
    read = program(main=text)
    instance = next(read.calls_named("Net")).value
    assert isinstance(instance, Instance) and Model(instance).holds("BatchNorm")
    assert ending_of(instance).kind == "unknown"


# Loops


def test_effects_are_found_through_helpers_and_in_order() -> None:
    text = """
        import torch
        class Trainer:
            def __init__(self, model):
                self.model = model
                self.optimizer = torch.optim.SGD(model.parameters(), 0.1)
            def reset_grad(self):
                for p in self.model.parameters():
                    p.grad = None
            def one(self, x):
                self.reset_grad()
                self.model(x).mean().backward()
                self.update()
            def update(self):
                self.optimizer.step()
            def fit(self, loader):
                for epoch in range(3):
                    for x in loader:
                        self.one(x)
        Trainer(torch.nn.Linear(2, 2)).fit([])
    """
    read = program(main=text)
    (loop,) = read.training_loops
    assert [event.effect for event in loop.events] == ["zero_grad", "backward", "step"]
    assert all(event.certain for event in loop.events if event.effect == "step")
    assert isinstance(loop.node, ast.For) and ast.unparse(loop.node.iter) == "loader"


def test_schedulers_environments_and_closures_are_told_apart() -> None:
    text = """
        import torch
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.LBFGS(model.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        for i in range(3):
            def closure():
                optimizer.zero_grad()
                loss = model(torch.ones(2)).sum()
                loss.backward()
                return loss
            optimizer.step(closure)
            scheduler.step()
            env.step(3)
    """
    (loop,) = program(main=text).training_loops
    assert [event.effect for event in loop.events] == ["zero_grad", "backward", "step", "schedule", "opaque"]


def test_evaluations_are_told_from_training() -> None:
    text = """
        import torch
        model, teacher = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for x in data:
            with torch.no_grad():
                target = teacher(x)
            (model(x) - target).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                print(model(x + 1))
        @torch.no_grad()
        def test():
            return model(data)
    """
    assert [evaluation.call.text for evaluation in program(main=text).evaluations] == ["model(x + 1)", "model(data)"]
