"""What is seen of training that is spread over helpers, base classes, hooks, dictionaries and several models."""

from __future__ import annotations

import textwrap

import pytest

from torchdx.rules import SourceRule, all_rules
from torchdx.source import Program

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
NET = "net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))\n"


def findings(*texts: str) -> list[str]:
    """The codes of every finding but TDX402's, notes included, in a program of several files: one.py, two.py."""
    names = ("one.py", "two.py", "three.py")
    program = Program.of({name: HEAD + textwrap.dedent(text) for name, text in zip(names, texts, strict=False)})
    rules = [rule for rule in all_rules() if isinstance(rule, SourceRule)]
    return [rule.code for rule in rules if rule.code != "TDX402" for _ in rule.in_source(program)]


LOOP = """
class Loop:
    def __init__(self, net, opt):
        self.net, self.opt = net, opt
    def prepare(self):
        {prepare}
    def step(self, x, y):
        F.cross_entropy(self.net(x), y).backward()
        self.prepare()
        self.opt.step()
    def run(self, data):
        for x, y in data:
            self.step(x, y)
{more}
"""
RUN = "from one import Loop\n" + NET + "Loop(net, torch.optim.Adam(net.parameters())).run(data)\n"
DERIVED = """
class Other(Loop):
    def prepare(self):
        pass
"""


def test_gradients_cleared_in_a_hook_right_before_the_step() -> None:
    assert findings(LOOP.format(prepare="self.opt.zero_grad()", more=""), RUN) == ["TDX902"]


def test_a_hook_that_others_override_or_that_does_more_is_left_alone() -> None:
    assert findings(LOOP.format(prepare="self.opt.zero_grad()", more=DERIVED), RUN) == []
    again = "self.opt.zero_grad(); self.again()"
    assert findings(LOOP.format(prepare=again, more=""), RUN) == []


TWINS = """
def build():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

net, other = build(), build()
opt = torch.optim.Adam(net.parameters())
for x, y in data:
    opt.zero_grad()
    F.cross_entropy(net(x), y).backward()
    {cleared}.zero_grad()
    opt.step()
"""


@pytest.mark.parametrize(("cleared", "codes"), [("net", ["TDX902"]), ("other", [])])
def test_of_two_models_made_by_one_function_the_right_one_is_meant(cleared: str, codes: list[str]) -> None:
    assert findings(TWINS.format(cleared=cleared)) == codes


LISTED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers = []
        for _ in range(3):
            layers.append(nn.Linear(2, 2))
        self.layers = layers
        {more}
    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x
"""


@pytest.mark.parametrize(
    ("more", "codes"), [("pass", ["TDX304"]), ("self.all = nn.Sequential(*layers)", []), ("self.keep(layers)", [])]
)
def test_a_plain_list_whose_modules_are_registered_by_its_local_name(more: str, codes: list[str]) -> None:
    assert findings(LISTED.format(more=more)) == codes


ASKED = """
class Probe(nn.Module):
    def __init__(self):
        super().__init__()
        self.point = torch.zeros(3, requires_grad=True)
        self.layer = nn.Linear(3, 1)
    def forward(self):
        {given}
"""


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ("return self.layer(self.point)", ["TDX215"]),
        ("return torch.autograd.grad(self.layer(self.point).sum(), self.point)", []),
    ],
)
def test_a_tensor_whose_gradient_is_asked_for_by_itself(given: str, codes: list[str]) -> None:
    assert findings(ASKED.format(given=given)) == codes


SCALED = """
class Base:
    def __init__(self, net, opt):
        self.net, self.opt = net, opt
        self.scaler = torch.amp.GradScaler("cuda")
    def update(self, loss):
        self.opt.zero_grad()
        self.scaler.scale(loss).backward()
        {step}
        self.scaler.update()
    def run(self, data):
        for x, y in data:
            self.update(self.loss(x, y))
"""
HEIRS = (
    """
from one import Base
class Own(Base):
    def loss(self, x, y): return F.cross_entropy(self.net(x), y)
"""
    + NET
    + "Own(net, torch.optim.Adam(net.parameters())).run(data)",
    """
from one import Base
class Own(Base):
    def __init__(self, net, rate):
        super().__init__(net, torch.optim.Adam(net.parameters(), rate))
    def loss(self, x, y): return F.cross_entropy(self.net(x), y)
"""
    + NET
    + "Own(net, 0.1).run(data)",
)


@pytest.mark.parametrize("heir", HEIRS)
def test_what_a_base_class_is_given_is_known_from_its_heirs(heir: str) -> None:
    assert findings(SCALED.format(step="self.opt.step()"), heir) == ["TDX905"]
    assert findings(SCALED.format(step="self.scaler.step(self.opt)"), heir) == []


SCHEDULED = """
class Once:
    def __init__(self, net):
        self.net = net
        self.opt = torch.optim.SGD(net.parameters(), lr=0.1)
        self.plan = torch.optim.lr_scheduler.StepLR(self.opt, 10)
    def __call__(self, x, y):
        self.opt.zero_grad()
        F.cross_entropy(self.net(x), y).backward()
        {0}
        {1}
"""


def test_scheduler_before_the_optimizer_in_a_method() -> None:
    steps = ("self.plan.step()", "self.opt.step()")
    use = f"from one import Once\n{NET}once = Once(net)\nfor x, y in data:\n    once(x, y)\n"
    assert findings(SCHEDULED.format(*steps), use) == ["TDX704"]
    assert findings(SCHEDULED.format(*reversed(steps)), use) == []


PAIR = """
gen, dis = nn.Linear(8, 4), nn.Linear(4, 1)
for_gen, for_dis = torch.optim.Adam({held}), torch.optim.Adam(dis.parameters())
def of_dis(x):
    for_dis.zero_grad()
    (dis(gen(torch.randn(3, 8)).detach()) - dis(x)).mean().backward()
    for_dis.step()
def of_gen():
    {clear}
    (-dis(gen(torch.randn(3, 8)))).mean().backward()
    for_gen.step()
for x in data:
    of_dis(x)
    of_gen()
"""
SOUND = (
    ("gen.parameters()", "for_gen.zero_grad()"),
    ("gen.parameters()", "gen.zero_grad()"),
    ("gen.parameters()", "for opt in [for_gen, *others]: opt.zero_grad()"),
    ("gen.parameters()", "for p in gen.parameters(): p.grad = None"),
    ("dis.parameters()", "pass"),
    ("unknown", "pass"),
)


def test_only_one_of_two_optimizers_is_cleared() -> None:
    assert findings(PAIR.format(held="gen.parameters()", clear="pass")) == ["TDX901"]


@pytest.mark.parametrize(("held", "clear"), SOUND)
def test_another_way_to_clear_is_left_alone(held: str, clear: str) -> None:
    assert "TDX901" not in findings(PAIR.format(held=held, clear=clear))


MEASURED = """
class T:
    def __init__(self, net):
        self.net, self.opt = net, torch.optim.Adam(net.parameters())
    def score(self, data):
        self.net.eval()
        with torch.no_grad():
            return sum(self.net(x).argmax(1).eq(y).float().mean() for x, y in data)
    def run(self, data, every):
        self.net.train()
        for n, (x, y) in enumerate(data):
            self.opt.zero_grad()
            F.cross_entropy(self.net(x), y).backward()
            self.opt.step()
            if {when}:
                print(self.score(data))
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
T(net).run(data, 10)
"""


def test_evaluation_mode_left_on_by_a_function_that_returns() -> None:
    assert findings(MEASURED.format(when="n % every == 0")) == ["TDX406"]
    assert findings(MEASURED.format(when="n == len(data) - 1")) == []
    assert findings(MEASURED.format(when="n == every")) == []


KEPT = """
def train(net, opt, data):
    best = {{"score": 0.0, "state": None}}
    for epoch in range(9):
        for x, y in data:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
        score = measure(net)
        if score > best["score"]:
            {keep}
    net.load_state_dict({load})
"""
WAYS = (
    "best.update(score=score, state=net.state_dict())",
    'best.update({"score": score, "state": net.state_dict()})',
    'best["state"] = net.state_dict()',
    'best = {"score": score, "state": net.state_dict()}',
    "best = dict(score=score, state=net.state_dict())",
)


@pytest.mark.parametrize("keep", WAYS)
def test_best_weights_kept_by_reference_in_a_dictionary(keep: str) -> None:
    assert findings(KEPT.format(keep=keep, load='best["state"]')) == ["TDX804"]
    copied = keep.replace("net.state_dict()", "copy.deepcopy(net.state_dict())")
    assert findings("import copy" + KEPT.format(keep=copied, load='best["state"]')) == []
    assert findings(KEPT.format(keep=keep, load='best["first"]')) == []


ADDED = """
net = nn.Linear(4, 2)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
every, steps = 4, len(data) // 4
for n, (x, y) in enumerate(data):
    {loss}.backward()
    if {when}:
        opt.step()
        opt.zero_grad()
"""


@pytest.mark.parametrize("when", ["n % every == 0 or n == len(data)", "not (n + 1) % every", "(n + 1) % every == 0"])
def test_undivided_sum_of_gradients(when: str) -> None:
    assert findings(ADDED.format(loss="F.cross_entropy(net(x), y)", when=when)) == ["TDX906"]
    assert findings(ADDED.format(loss="(F.cross_entropy(net(x), y) / every)", when=when)) == []


def test_undivided_sum_of_a_ready_made_models_loss() -> None:
    made = "from transformers import AutoModelForCausalLM\n" + ADDED.replace("nn.Linear(4, 2)", "{made}")
    text = made.format(
        loss="net(x, labels=y).loss", when="n % every == 0", made="AutoModelForCausalLM.from_pretrained(m)"
    )
    assert findings(text) == ["TDX906"]


FROZEN = """
from torchvision import models
class Probe(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = models.{body}(weights="DEFAULT")
        for p in self.body.parameters():
            p.requires_grad = False
        self.head = nn.Linear(1000, 2)
    def forward(self, x): return self.head(self.body(x))
net = Probe()
opt = torch.optim.Adam(net.head.parameters())
net.train()
{more}
for x, y in data:
    opt.zero_grad()
    F.cross_entropy(net(x), y).backward()
    opt.step()
"""


def test_frozen_batch_norm_in_training_mode() -> None:
    assert findings(FROZEN.format(body="resnet50", more="")) == ["TDX405"]


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("vgg16", ""),
        ("resnet50", "net.body.eval()"),
        ("resnet50", "net.body.train(False)"),
        ("resnet50", "for m in net.modules():\n    if isinstance(m, nn.BatchNorm2d): m.eval()"),
        ("resnet50", "if late: net.body.requires_grad_(True)"),
    ],
)
def test_frozen_features_that_stay_as_they_are_are_left_alone(body: str, more: str) -> None:
    assert findings(FROZEN.format(body=body, more=more)) == []
