"""Values followed through registries, dictionaries, other files, and models that a library makes."""

from __future__ import annotations

import textwrap

import pytest

from torchdx.rules import Rule, SourceRule, all_rules
from torchdx.source import Program
from torchdx.source.values import Instance, literal

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


def program(**files: str) -> Program:
    """A program of these files, all of which import torch."""
    return Program.of({f"{name}.py": HEAD + textwrap.dedent(text) for name, text in files.items()})


def codes(**files: str) -> list[str]:
    """The code of every finding above a note."""
    rules: list[Rule] = [rule for rule in all_rules() if isinstance(rule, SourceRule)]
    found = [(rule, one) for rule in rules for one in rule.in_source(program(**files))]  # type: ignore[attr-defined]
    return [rule.code for rule, one in found if (one.severity or rule.severity) != "note"]


def shown(**files: str) -> list[str]:
    """What the arguments of every call of `show` are: the class of an object, or the number."""
    given = (call.argument_value(0) for call in program(**files).calls_named("show"))
    return [value.dotted if isinstance(value, Instance) else str(literal(value)) for value in given]


REGISTRY = """
    MODELS, SIZES = {}, {}
    KNOWN = {}
    def register(name):
        def keep(thing):
            KNOWN[name] = thing
            return thing
        return keep
    class Shelf:
        def __init__(self, title):
            self.things = {}
        def add(self, name):
            def keep(thing):
                self.things[name] = thing
                return thing
            return keep
        def get(self, name):
            return self.things[name]
    HEADS = Shelf("heads")
    TAILS = Shelf("tails")
"""


def test_a_variable_of_another_file_has_the_value_that_it_gets_there() -> None:
    settings = "WIDTH = 3\nloss_of = nn.MSELoss()"
    main = (
        "from settings import WIDTH, loss_of\nfrom between import WIDTH as same\nshow(WIDTH)\nshow(same)\nshow(loss_of)"
    )
    assert shown(settings=settings, between="from settings import *", main=main) == ["3", "3", "torch.nn.MSELoss"]


def test_a_key_that_is_handed_over_picks_from_a_dictionary() -> None:
    text = """
        KINDS = {"relu": nn.ReLU(), "soft": nn.Softmax(dim=1)}
        def pick(name, table=KINDS): return table[name]
        def build(spec):
            spec = dict(spec)
            return KINDS[spec.pop("kind")]
        show(pick("soft"))
        show(build({"kind": "relu", "width": 3}))
        show(KINDS.get("soft"))
    """
    assert shown(main=text) == ["torch.nn.Softmax", "torch.nn.ReLU", "torch.nn.Softmax"]


def test_what_decorators_register_is_found_again() -> None:
    parts = """
        from registry import HEADS, TAILS, register
        @register("linear")
        def make(): return nn.Linear(1, 1)
        @HEADS.add("end")
        class Head(nn.Module): ...
        @TAILS.add("end")
        class Tail(nn.Module): ...
    """
    main = """
        from registry import HEADS, KNOWN, TAILS
        show(KNOWN["linear"]())
        show(HEADS.get("end")())
        show(TAILS.get("end")())
    """
    assert shown(registry=REGISTRY, parts=parts, main=main) == ["torch.nn.Linear", "parts.Head", "parts.Tail"]


def test_what_is_registered_in_other_ways_too_is_not_certain() -> None:
    parts = """
        from registry import KNOWN, register
        @register("one")
        class Head(nn.Module): ...
        @register("one")
        class Other(nn.Module): ...
        def counted(function):
            CALLS[function.__name__] = 0
            return lambda *given: function(*given).softmax(1)
        @counted
        def make(): return nn.Linear(1, 1)
        show(make())
    """
    known = program(registry=REGISTRY, parts=parts).registries
    assert all(table.open for table in known._tables.values())
    assert shown(registry=REGISTRY, parts=parts) == ["None"]


FAULTY = {
    "a head put on a classifier of torchvision's": (
        "TDX601",
        """
from torchvision import models
def build(kind):
    if kind == "small":
        net = models.resnet18(weights=None)
        net.fc = nn.Sequential(nn.Linear(512, 4), nn.Softmax(dim=1))
    else:
        raise ValueError(kind)
    return net
net = build("small").to("cpu")
def step(x, y): return nn.CrossEntropyLoss()(net(x), y)
""",
    ),
    "the last layer of a head": (
        "TDX612",
        """
import torchvision
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = torchvision.models.vgg16()
        self.base.classifier[6] = nn.Linear(4096, 1)
    def forward(self, x):
        return self.base(x)
net = Net()
def step(x, y): return F.cross_entropy(net(x), y)
""",
    ),
    "the raw scores of a transformers model": (
        "TDX603",
        """
from transformers import AutoModelForSequenceClassification
model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased").to("cpu")
def step(batch, y):
    out = model(**batch)
    return F.nll_loss(out.logits.view(-1, 2), y)
""",
    ),
    "a transformers Trainer's own loss": (
        "TDX607",
        """
import transformers
class Tagger(transformers.Trainer):
    def compute_loss(self, model, inputs, return_outputs=False):
        target = inputs.pop("labels")
        scores = model(**inputs)["logits"]
        return F.binary_cross_entropy(scores, target)
""",
    ),
    "one output given to cross entropy as it is": (
        "TDX612",
        """
net = nn.Linear(20, 1)
def step(x, y): return F.cross_entropy(net(x), y)
""",
    ),
    "pooling weights that are shared out over the batch": (
        "TDX609",
        """
class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = nn.Linear(8, 1)
    def forward(self, states):
        shares = F.softmax(self.rate(states).squeeze(-1), dim=0)
        return torch.sum(shares.unsqueeze(2) * states, dim=1)
""",
    ),
    "pooling weights of a batched product": (
        "TDX609",
        """
class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate, self.share = nn.Linear(8, 1), nn.Softmax(dim=0)
    def forward(self, states):
        shares = self.share(self.rate(states).squeeze(-1))
        return torch.bmm(shares.unsqueeze(1), states).squeeze(1)
""",
    ),
    "an attention over its heads": (
        "TDX609",
        """
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.both, self.values = nn.Linear(8, 16), nn.Linear(8, 8)
    def forward(self, x):
        n, t, c = x.shape
        q, k = [one.reshape(n, t, 2, 4).transpose(1, 2) for one in self.both(x).chunk(2, -1)]
        v = self.values(x).reshape(n, t, 2, 4).permute(0, 2, 1, 3)
        scores = torch.matmul(q, k.transpose(2, 3)) / 4 ** 0.5
        return torch.matmul(scores.softmax(dim=1), v)
""",
    ),
    "a position made for an embedding": (
        "TDX103",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.place = nn.Embedding(9, 4), nn.Embedding(9, 4)
    def forward(self, x):
        place = torch.arange(x.size(1)).unsqueeze(0).expand(x.size(0), -1)
        return self.word(x) + self.place(place)
net = Net().cuda() if torch.cuda.is_available() else Net()
""",
    ),
    "steps of a Compose that depend on a setting": (
        "TDX509",
        """
from torchvision import transforms as T
def steps(train, size):
    first = [T.RandomCrop(size)] if train else [T.CenterCrop(size)]
    first += [T.Normalize([0.5], [0.5]), T.ToTensor()]
    return T.Compose(first)
""",
    ),
    "layers that a function makes, in a plain list": (
        "TDX304",
        """
def layer(width): return nn.Sequential(nn.Linear(width, width), nn.ReLU())
class Net(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.layers = [layer(8) for _ in range(depth)]
    def forward(self, x):
        for one in self.layers:
            x = one(x)
        return x
""",
    ),
    "the logarithm of a diagonal of shares": (
        "TDX610",
        """
model = nn.Linear(4, 4)
def learn(a, b):
    shares = F.softmax(model(a) @ model(b).t(), dim=1)
    loss = -shares.diagonal().log().mean()
    loss.backward()
""",
    ),
}
SOUND = {
    "a net of torchvision's with an auxiliary output, and one whose head is made elsewhere": """
from torchvision import models
wide = models.inception_v3()
wide.fc = nn.Sequential(nn.Linear(2048, 4), nn.Softmax(dim=1))
plain = models.resnet18()
plain.conv1 = nn.Sequential(nn.Conv2d(1, 64, 7), nn.Softmax(dim=1))
plain.fc = nn.Identity()
def step(x, y): return F.cross_entropy(wide(x), y) + F.cross_entropy(plain(x), y)
""",
    "logits of what is no transformers model": """
class Net:
    def __call__(self, x): return self
net = Net()
def step(model, x, y): return F.nll_loss(model(x).logits, y) + F.nll_loss(net(x).logits, y)
""",
    "one score for each of several candidates": """
net = nn.Linear(20, 1)
def step(x, y): return F.cross_entropy(net(x.view(8, 5, 20)), y.unsqueeze(1))
""",
    "shares of time steps, of time-first states, of clusters and of learned weights": """
class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate, self.mix, self.centres = nn.Linear(8, 1), nn.Parameter(torch.zeros(3)), nn.Linear(8, 4)
    def forward(self, states, layers):
        first = F.softmax(self.rate(states).squeeze(-1), dim=0)
        early = (first.unsqueeze(-1) * states).sum(dim=0)
        late = torch.bmm(F.softmax(self.rate(states).squeeze(-1), dim=0).t().unsqueeze(1), states.transpose(0, 1))
        mixed = (F.softmax(self.mix, dim=0)[:, None] * layers).sum(dim=1)
        grouped = torch.bmm(F.softmax(self.centres(states), dim=2).transpose(1, 2), states)
        return early, late, mixed, grouped
""",
    "a position that is moved": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.place = nn.Embedding(9, 4)
    def forward(self, x):
        place = torch.arange(x.size(1)).unsqueeze(0)
        place = place.to(x.device)
        return self.place(place)
net = Net().cuda() if torch.cuda.is_available() else Net()
""",
    "layers that a function registers": """
def layer(owner, name):
    made = nn.Linear(8, 8)
    owner.register_module(name, made)
    return made
class Net(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.layers = [layer(self, str(place)) for place in range(depth)]
    def forward(self, x):
        for one in self.layers:
            x = one(x)
        return x
""",
    "steps of which one way is right": """
from torchvision import transforms as T
def steps(tensors):
    first = [] if tensors else [T.ToTensor()]
    return T.Compose([T.Normalize([0.5], [0.5])] + [T.ToTensor()][:0] + first)
""",
}


@pytest.mark.parametrize("name", FAULTY)
def test_found_where_it_is_led(name: str) -> None:
    code, text = FAULTY[name]
    assert codes(main=text) == [code]


@pytest.mark.parametrize("name", SOUND)
def test_left_alone(name: str) -> None:
    assert codes(main=SOUND[name]) == []
