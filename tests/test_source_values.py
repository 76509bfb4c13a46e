"""Values through dictionaries, partial calls, records and frameworks, and whether they carry a graph."""

from __future__ import annotations

import textwrap

import pytest

from torchdx.source import Call, Expression, Program
from torchdx.source.contents import contents
from torchdx.source.graphs import carries_graph
from torchdx.source.values import Group, Instance, Literal


def read(text: str) -> Program:
    return Program.of({"main.py": "import torch\nfrom torch import nn\n" + textwrap.dedent(text)})


def wanted(text: str) -> Expression:
    """What the last `wanted(...)` is given."""
    found = list(read(text).calls_named("wanted"))[-1].argument(0)
    assert found is not None
    return found


def loader(text: str) -> Call:
    return next(read("from torch.utils.data import DataLoader\n" + textwrap.dedent(text)).calls_named("DataLoader"))


def test_keywords_are_seen_through_two_stars() -> None:
    call = loader("options = {'batch_size': 64, 'shuffle': True}\nDataLoader(data, **options)")
    shuffle = call.argument(None, "shuffle")
    assert shuffle is not None
    assert shuffle.literal is True
    assert call.is_certain
    assert call.gives("batch_size")
    assert not call.gives("drop_last")


def test_a_dictionary_made_by_calling_dict_is_one() -> None:
    call = loader("options = dict(batch_size=64)\nDataLoader(data, **dict(options, shuffle=True))")
    assert call.is_certain
    assert call.argument_value(1, "batch_size").value == 64  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "change",
    [
        "options['shuffle'] = True",
        "options.update(shuffle=True)",
        "options.update({'shuffle': True})",
        "if big:\n    options['shuffle'] = True",
        "options.setdefault('shuffle', True)",
    ],
)
def test_what_is_added_to_a_dictionary_may_be_there(change: str) -> None:
    call = loader(f"options = {{'batch_size': 64}}\n{change}\nDataLoader(data, **options)")
    assert call.gives("shuffle")
    assert not call.gives("drop_last")
    assert not call.is_certain
    assert call.argument(None, "shuffle") is None
    assert call.argument_value(None, "batch_size").value == 64  # type: ignore[attr-defined]


@pytest.mark.parametrize("change", ["options.update(more)", "options[key] = 3", "options |= more", "options.clear()"])
def test_a_dictionary_changed_in_unknown_ways_may_hold_anything(change: str) -> None:
    call = loader(f"options = {{'batch_size': 64}}\n{change}\nDataLoader(data, **options)")
    assert call.gives("shuffle")
    assert not call.is_certain


@pytest.mark.parametrize("change", ["options.update(more)", "options[key] = 3", "options.update(**more)"])
def test_what_a_dictionary_held_before_an_unknown_change_is_not_certain(change: str) -> None:
    assert wanted(f"options = {{'k': 1}}\n{change}\nwanted(options['k'])").literal is None
    call = loader(f"options = {{'shuffle': True}}\n{change}\nDataLoader(data, **options)")
    assert call.argument(None, "shuffle") is None


@pytest.mark.parametrize("made", ["{'k': 1, **more}", "dict({'k': 1}, **more)"])
def test_an_unknown_dictionary_may_overrule_what_comes_before_it(made: str) -> None:
    assert wanted(f"wanted({made}['k'])").literal is None


@pytest.mark.parametrize("made", ["{**more, 'k': 1}", "dict(k=1, **more)"])
def test_an_unknown_dictionary_cannot_overrule_what_comes_after_or_beside_it(made: str) -> None:
    assert wanted(f"wanted({made}['k'])").literal == 1


def test_of_two_values_put_into_a_dictionary_one_after_the_other_neither_is_certain() -> None:
    found = wanted("options = {}\noptions['k'] = 1\nwanted(options['k'])\noptions['k'] = 2").value
    assert {choice.value for choice in found.alternatives() if isinstance(choice, Literal)} == {1, 2}


def test_a_module_dictionary_of_an_unknown_one_may_hold_more() -> None:
    program = read("made = nn.ModuleDict({'a': nn.Linear(2, 2), **more})")
    value = next(program.calls_named("ModuleDict")).value
    assert isinstance(value, Instance)
    held, is_open = contents(value)
    assert is_open
    assert any(isinstance(choice, Instance) for choice in held[0].alternatives())


def test_one_of_two_dictionaries() -> None:
    call = loader("options = {'num_workers': 1} if cuda else {}\nDataLoader(data, shuffle=True, **options)")
    assert call.gives("num_workers")
    assert not call.gives("batch_size")
    assert not call.is_certain


def test_keyword_parameters_hold_what_the_caller_gives_beyond_the_others() -> None:
    call = loader(
        """
        def make(data, **options):
            return DataLoader(data, **options)
        make(data, shuffle=True)
        """
    )
    assert call.is_certain
    assert call.gives("shuffle")
    assert not call.gives("batch_size")


def test_a_changed_entry_is_one_or_the_other() -> None:
    assert {v.value for v in wanted("c = {'lr': 1}\nc['lr'] = 2\nwanted(c['lr'])").value.alternatives()} == {1, 2}  # type: ignore[attr-defined]
    assert wanted("c = {'lr': 1}\nd = {'lr': 3}\nd['lr'] = 2\nwanted(c['lr'])").literal == 1


def test_partial_calls_are_completed() -> None:
    value = wanted("from functools import partial\nconv = partial(nn.Conv2d, bias=False)\nwanted(conv(3, 8, 3))").value
    assert isinstance(value, Instance)
    assert value.dotted == "torch.nn.Conv2d"
    assert value.call is not None
    assert value.call.argument_value(7, "bias").value is False  # type: ignore[attr-defined]
    assert value.call.argument_value(2, "kernel_size").value == 3  # type: ignore[attr-defined]


RECORD = """
from dataclasses import dataclass, field
@dataclass
class Config:
    lr: float = 0.1
    size: int = field(default=3)
    name: str = "net"
"""


@pytest.mark.parametrize(
    ("use", "expected"),
    [("Config().lr", 0.1), ("Config(0.3).lr", 0.3), ("Config(size=9).size", 9), ("Config(lr=1).size", 3)],
)
def test_a_records_field_is_what_it_is_given_or_its_default(use: str, expected: float) -> None:
    made, _, field = use.rpartition(".")
    assert wanted(f"{RECORD}\nconfig = {made}\nwanted(config.{field})").literal == expected


def test_a_record_from_somewhere_is_not_its_defaults() -> None:
    assert wanted(f"{RECORD}\nwanted(Config(**load()).lr)").literal is None


def test_namespaces_hold_what_they_are_given() -> None:
    assert wanted("from types import SimpleNamespace\nc = SimpleNamespace(lr=0.5)\nwanted(c.lr)").literal == 0.5


def test_what_a_framework_prepares_is_what_it_is_given() -> None:
    text = """
    from accelerate import Accelerator
    accelerator = Accelerator()
    model = nn.Linear(2, 2)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    wanted((model, optimizer))
    """
    group = wanted(text).value
    assert isinstance(group, Group)
    model, optimizer = group.items
    assert isinstance(model, Instance)
    assert model.dotted == "torch.nn.Linear"
    assert isinstance(optimizer, Instance)
    assert optimizer.is_optimizer


def test_decorators_that_change_nothing_hide_nothing() -> None:
    text = "import functools\n@functools.lru_cache()\n@torch.no_grad()\ndef size(): return 7\nwanted(size())"
    assert isinstance(wanted(text).value, Literal)


@pytest.mark.parametrize(
    "text",
    [
        "import pkg.net\nwanted(pkg.net.Net())",
        "import pkg.net as other\nwanted(other.Net())",
        "from pkg import net\nwanted(net.Net())",
        "from pkg.net import Net as Other\nwanted(Other())",
        "import pkg\nimport pkg.net\nwanted(pkg.net.Net())",
    ],
)
@pytest.mark.parametrize("is_package", [True, False])
def test_imports_lead_to_the_class_with_and_without_a_package_file(text: str, is_package: bool) -> None:
    files = {"main.py": "import torch\n" + text, "pkg/net.py": "from torch import nn\nclass Net(nn.Module): pass\n"}
    if is_package:
        files["pkg/__init__.py"] = ""
    value = next(Program.of(files).calls_named("wanted")).argument_value(0)
    assert isinstance(value, Instance)
    assert value.is_module


MADE = "net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())\nx = torch.randn(2, 4)\ny = torch.zeros(2, 3)\nout = net(x)\n"


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("out", True),
        ("nn.MSELoss()(out, y)", True),
        ("nn.functional.mse_loss(out, y) * 0.5 + 1", True),
        ("out.mean()", True),
        ("out.detach()", False),
        ("out.data", False),
        ("out.argmax(1)", False),
        ("nn.MSELoss()(out.argmax(1).float(), y)", False),
        ("(out > 0.5).float().mean()", False),
        ("torch.tensor(out.item())", False),
        ("torch.tensor(out.item(), requires_grad=True)", True),
        ("out.detach().mean() + out.mean()", True),
        ("elsewhere(out)", None),
        ("elsewhere(out).detach()", False),
        ("float(out.mean())", False),
    ],
)
def test_whether_a_value_carries_a_graph(use: str, expected: bool | None) -> None:
    assert carries_graph(wanted(f"{MADE}wanted({use})").value) is expected


def test_without_gradients_nothing_carries_a_graph() -> None:
    text = "def forward(x): return net(x)\nwith torch.no_grad():\n    out = forward(x)\nwanted(out.mean())"
    assert carries_graph(wanted(MADE + text).value) is False
    text = "@torch.no_grad()\ndef forward(x): return net(x)\nout = forward(x)\nwanted(out.mean())"
    assert carries_graph(wanted(MADE + text).value) is False


def test_a_with_statement_is_always_gone_through() -> None:
    text = "x = 1\nwith open('a') as f:\n    with open('b') as g:\n        x = 2\nwanted(x)"
    assert wanted(text).literal == 2
    text = "x = 1\nwith open('a') as f:\n    if f:\n        x = 2\nwanted(x)"
    assert len(wanted(text).value.alternatives()) == 2
    assert wanted("with open('a') as f:\n    x = 1\n    x = 2\n    wanted(x)\n    x = 3").literal == 2
