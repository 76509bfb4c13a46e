"""Which loader serves which phase, which data are held out, and what rules about them say of other styles."""

from __future__ import annotations

import textwrap

import pytest

from torchdx.rules import SourceRule, find_rule
from torchdx.source import Program
from torchdx.source.phases import held_out, whole_of

NET = """
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, Subset, random_split
from torchvision import datasets, transforms as T

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.drop, self.head = nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)
    def forward(self, x):
        return self.head(self.drop(self.body(x)))

def train(model, loader, optimizer, loss_of=nn.CrossEntropyLoss()):
    for x, y in loader:
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        optimizer.step()

def score(model, loader):
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            model(x)
"""


def program(text: str) -> Program:
    return Program.of({"main.py": NET + textwrap.dedent(text)})


def found(code: str, text: str) -> list[str]:
    """The marked lines' text at which a rule finds its fault."""
    rule: object = find_rule(code)
    assert isinstance(rule, SourceRule)
    lines = (NET + textwrap.dedent(text)).splitlines()
    return [lines[finding.site.line - 1].strip() for finding in rule.in_source(program(text)) if finding.site]


def phases(text: str) -> set[tuple[str, str]]:
    return {(served.made.text[11:].partition(",")[0].rstrip(")"), served.phase) for served in program(text).passes}


LOADERS = """
a, b = DataLoader(one, 64, shuffle=True), DataLoader(two, 64)
net = Net()
optimizer = torch.optim.Adam(net.parameters())
"""


def test_loops_in_functions_tell_the_phase() -> None:
    text = LOADERS + "for epoch in range(3):\n    train(net, a, optimizer)\n    score(net, b)\n"
    assert phases(text) == {("one", "training"), ("two", "evaluation")}


def test_wrapped_loaders_are_seen_through() -> None:
    text = LOADERS + "train(net, enumerate(a), optimizer)\nscore(net, zip(a, b))\n"
    assert phases(text) == {("one", "training"), ("one", "evaluation"), ("two", "evaluation")}


def test_lightning_asks_for_loaders() -> None:
    text = """
    import lightning
    class Data(lightning.LightningDataModule):
        def train_dataloader(self):
            return DataLoader(one, 64)
        def val_dataloader(self):
            return [DataLoader(two, 64), DataLoader(three, 64)]
    lightning.Trainer().fit(model, DataLoader(four, 64), DataLoader(five, 64))
    """
    assert phases(text) == {
        ("one", "training"),
        ("two", "evaluation"),
        ("three", "evaluation"),
        ("four", "training"),
        ("five", "evaluation"),
    }


@pytest.mark.parametrize(
    ("made", "part"),
    [
        ("datasets.MNIST('.', train=False)", "test"),
        ("datasets.MNIST('.', False)", "test"),
        ("datasets.MNIST('.')", None),
        ("datasets.SVHN('.', split='test')", "test"),
        ("datasets.SVHN('.', split='train')", None),
        ("Subset(datasets.MNIST('.', train=False), rows)", "test"),
        ("datasets.ImageNet('.', split='val')", "validation"),
        ("datasets.MNIST('.', train=is_train)", None),
    ],
)
def test_what_data_are_held_out(made: str, part: str | None) -> None:
    read = program(f"wanted({made})")
    (call,) = read.calls_named("wanted")
    assert held_out(call.argument_value(0)) == part


def test_parts_of_a_split_are_traced_to_the_whole() -> None:
    read = program("whole = datasets.MNIST('.')\none, two = random_split(whole, [5, 5])\nwanted(Subset(two, rows))")
    (call,) = read.calls_named("wanted")
    whole, is_part = whole_of(call.argument_value(0))
    assert whole.name == "torchvision.datasets.MNIST"
    assert is_part


# Rules in other styles than their cases


def test_a_builder_used_for_both_phases_is_not_accused() -> None:
    text = """
    def build(is_train):
        return DataLoader(one if is_train else two, 64, shuffle=is_train, drop_last=is_train)
    train(net, build(True), optimizer)
    score(net, build(False))
    """
    assert found("TDX507", text) == []


def test_a_measured_loader_that_drops_samples_is_found_through_functions() -> None:
    text = LOADERS.replace("(two, 64)", "(two, 64, drop_last=True)") + "train(net, a, optimizer)\nscore(net, b)\n"
    assert found("TDX507", text) == [LOADERS.strip().splitlines()[0].replace("(two, 64)", "(two, 64, drop_last=True)")]


SORTED = """
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loader = DataLoader(datasets.ImageFolder("train"), batch_size=32{more})
train(net, loader, optimizer)
"""


@pytest.mark.parametrize(
    ("more", "count"), [("", 1), (", shuffle=False", 1), (", shuffle=True", 0), (", sampler=s", 0), (", **more", 0)]
)
def test_a_folder_of_classes_in_its_own_order(more: str, count: int) -> None:
    text = SORTED.replace("{more}", more)
    assert len(found("TDX503", text)) == count
    assert found("TDX508", text) == []


def test_a_transform_for_both_phases() -> None:
    text = """
    both = T.Compose([T.RandomHorizontalFlip(), T.ToTensor()])
    never = T.Compose([T.RandomHorizontalFlip(p=0.0), T.ToTensor()])
    test = datasets.CIFAR10(".", train=False, transform=both)
    plain = datasets.CIFAR10(".", train=False, transform=never)
    either = datasets.CIFAR10(".", train=False, transform=both if augment else never)
    """
    assert found("TDX506", text) == ['test = datasets.CIFAR10(".", train=False, transform=both)']


KEPT = """
def fit(model, loader, optimizer):
    best = 0
    for epoch in range(9):
        train(model, loader, optimizer)
        if epoch > best:
            best_state = {kept}
            {then}
    {after}
"""


@pytest.mark.parametrize(
    ("kept", "then", "after", "count"),
    [
        ("model.state_dict()", "pass", "return best_state", 1),
        ("model.state_dict()", "pass", "torch.save(best_state, 'best.pt')", 1),
        ("model.state_dict()", "torch.save(best_state, 'best.pt')", "return best", 0),
        ("model.state_dict()", "break", "model.load_state_dict(best_state)", 0),
        ("copy.deepcopy(model.state_dict())", "pass", "model.load_state_dict(best_state)", 0),
        ("{k: v.clone() for k, v in model.state_dict().items()}", "pass", "model.load_state_dict(best_state)", 0),
        ("optimizer.state_dict()", "pass", "optimizer.load_state_dict(best_state)", 0),
    ],
)
def test_what_is_kept_by_reference(kept: str, then: str, after: str, count: int) -> None:
    text = KEPT.replace("{kept}", kept).replace("{then}", then).replace("{after}", after)
    assert len(found("TDX804", text)) == count


def test_weights_kept_by_an_object_that_stops_early() -> None:
    text = """
    class Stopper:
        def __call__(self, loss, model):
            if loss < self.least:
                self.best_state = model.state_dict()
            elif self.patience < 0:
                model.load_state_dict(self.best_state)
    """
    assert found("TDX804", text) == ["self.best_state = model.state_dict()"]


RUN = """
net = Net().to("cuda")
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(9):
    {first}
    train(net, a, optimizer)
    score(net, b)
    {last}
"""


@pytest.mark.parametrize(
    ("first", "last", "count"),
    [("pass", "pass", 1), ("net.train()", "pass", 0), ("pass", "net.train(True)", 0), ("net = Net()", "pass", 0)],
)
def test_a_mode_set_in_a_function_and_left_so(first: str, last: str, count: int) -> None:
    assert len(found("TDX406", RUN.replace("{first}", first).replace("{last}", last))) == count


SUM = """
loss_of = nn.CrossEntropyLoss({reduction})
def measure(model, loader):
    total = count = rounds = 0
    for x, y in loader:
        total += {added}
        count += y.size(0)
        rounds += 1
    return total / {divisor}
"""


@pytest.mark.parametrize(
    ("reduction", "added", "divisor", "count"),
    [
        ("", "loss_of(model(x), y).item()", "len(loader.dataset)", 1),
        ("", "loss_of(model(x), y).item()", "count", 1),
        ("", "loss_of(model(x), y).item()", "rounds", 0),
        ("", "loss_of(model(x), y).item()", "len(loader)", 0),
        ("", "loss_of(model(x), y).item() * y.size(0)", "count", 0),
        ("", "loss_of(model(x), y).item() * y.size(0)", "rounds", 1),
        ("reduction='sum'", "loss_of(model(x), y).item()", "len(loader.dataset)", 0),
        ("size_average=False", "loss_of(model(x), y).item()", "len(loader.dataset)", 0),
    ],
)
def test_sums_and_what_they_are_divided_by(reduction: str, added: str, divisor: str, count: int) -> None:
    text = SUM.replace("{reduction}", reduction).replace("{added}", added).replace("{divisor}", divisor)
    assert len(found("TDX802", text)) == count
