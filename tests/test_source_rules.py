"""What the rules make of source in other styles than their own cases: what to find, and what to leave alone."""

from __future__ import annotations

import textwrap

import pytest

from torchdx.finding import Finding
from torchdx.rules import Rule, SourceRule, all_rules
from torchdx.source import Program

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
TRAIN = """
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""


def findings(text: str) -> list[tuple[str, Finding]]:
    """Every finding above a note, with its code."""
    program = Program.of({"main.py": HEAD + textwrap.dedent(text)})
    rules: list[Rule] = [rule for rule in all_rules() if isinstance(rule, SourceRule)]
    found = [(rule, finding) for rule in rules for finding in rule.in_source(program)]  # type: ignore[attr-defined]
    return [(rule.code, f) for rule, f in found if (f.severity or rule.severity) != "note"]


FAULTY = {
    "cleared only in another function that is never called": (
        "TDX901",
        TRAIN
        + """
def reset(): optimizer.zero_grad()
def main(loader):
    for x, y in loader:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
""",
    ),
    "backward and step in methods, in a while loop": (
        "TDX901",
        """
class Trainer:
    def __init__(self):
        self.net = nn.Linear(2, 2)
        self.opt = torch.optim.AdamW(self.net.parameters())
    def learn(self, x):
        loss = self.net(x).mean()
        loss.backward()
        self.opt.step()
    def fit(self, data):
        while data:
            self.learn(data.pop())
""",
    ),
    "cleared around the batches only": (
        "TDX901",
        TRAIN
        + """
for epoch in range(3):
    optimizer.zero_grad()
    for x, y in data:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
""",
    ),
    "softmax as a local variable and a loss kept in a dictionary": (
        "TDX601",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
    def forward(self, x):
        logits = self.fc(x)
        out = logits.softmax(dim=-1)
        return out
criteria = {"ce": nn.CrossEntropyLoss()}
def step(x, y):
    net = Net()
    criterion = criteria["ce"]
    return criterion(net(x), y)
""",
    ),
    "sigmoid at the end of a Sequential, then the loss with logits": (
        "TDX601",
        """
net = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
bce = nn.BCEWithLogitsLoss()
def step(x, y):
    p = net(x).squeeze(1)
    return bce(p, y)
""",
    ),
    "kl_div with its arguments swapped": (
        "TDX602",
        """
def distil(student, teacher):
    p = F.softmax(teacher, dim=1)
    log_q = F.log_softmax(student, dim=1)
    return F.kl_div(p, log_q, reduction="batchmean")
""",
    ),
    "KLDivLoss as an object in a class": (
        "TDX602",
        """
class Distiller:
    def __init__(self):
        self.kl = nn.KLDivLoss(reduction="batchmean")
    def loss(self, a, b, t=2.0):
        return self.kl(torch.softmax(a / t, -1), torch.softmax(b / t, -1))
""",
    ),
    "likelihood of raw scores": (
        "TDX603",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
    def forward(self, x):
        return self.fc(torch.flatten(x, 1))
net = Net()
def step(x, y): return F.nll_loss(net(x), y)
""",
    ),
    "reparameterisation by the variance": (
        "TDX604",
        """
class VAE(nn.Module):
    def reparameterize(self, mu, logvar):
        std = torch.exp(logvar)
        eps = torch.randn_like(std)
        return mu + eps * std
""",
    ),
    "a variance as scale": (
        "TDX604",
        "from torch.distributions import Normal\ndef fit(x):\n    return Normal(x.mean(0), x.var(0))\n",
    ),
    "a standard deviation as variance": (
        "TDX604",
        "loss = nn.GaussianNLLLoss()\ndef f(mu, y, log_var):\n    return loss(mu, y, torch.exp(0.5 * log_var))\n",
    ),
    "evaluation in a function of its own, batch norm deep inside": (
        "TDX401",
        """
def block(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, bias=False), nn.BatchNorm2d(o), nn.ReLU())
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([block(1, 2), block(2, 3)])
    def forward(self, x):
        for b in self.blocks:
            x = b(x)
        return x
@torch.no_grad()
def accuracy(net, loader):
    return sum((net(x).argmax(1) == y).sum().item() for x, y in loader)
def main(train, test):
    net = Net()
    opt = torch.optim.Adam(net.parameters())
    for x, y in train:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    print(accuracy(net, test))
""",
    ),
    "divided by ToTensor and again in a Lambda": (
        "TDX501",
        """
from torchvision import transforms as T
scale = T.Compose([T.Resize(3), T.ToTensor(), T.Lambda(lambda x: x / 255)])
""",
    ),
    "divided by ToTensor in the dataset and again in the loop": (
        "TDX501",
        """
from torchvision import datasets, transforms
loader = torch.utils.data.DataLoader(datasets.MNIST(".", transform=transforms.ToTensor()), batch_size=3)
for i, (images, labels) in enumerate(loader):
    images = images.view(-1, 784).div(255.)
""",
    ),
    "a result thrown away in a loop over pairs": (
        "TDX102",
        """
def run(dataset, device):
    for x, y in torch.utils.data.DataLoader(dataset):
        x.to(device)
""",
    ),
    "one half of a model optimised": (
        "TDX201",
        """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 2), nn.Linear(2, 3)
    def forward(self, x): return self.decoder(self.encoder(x))
net = Net()
opt = torch.optim.Adam([{"params": net.encoder.parameters(), "lr": 0.1}])
""",
    ),
    "cuda in a default string": ("TDX101", 'DEVICE = "cuda"\nmodel = nn.Linear(2, 2).to(DEVICE)\n'),
}

SOUND = {
    "a helper clears": TRAIN
    + """
def reset_grad(*opts):
    for o in opts: o.zero_grad()
for x, y in data:
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    reset_grad(optimizer)
""",
    "gradients are added up on purpose": TRAIN
    + """
for i, (x, y) in enumerate(data):
    (F.cross_entropy(model(x), y) / 4).backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
""",
    "n_critic is no accumulation": TRAIN
    + """
critic = nn.Linear(2, 1)
other = torch.optim.Adam(critic.parameters())
for i, x in enumerate(data):
    other.zero_grad()
    critic(x).mean().backward()
    other.step()
    if i % 5 == 0:
        optimizer.zero_grad()
        critic(model(x)).mean().backward()
        optimizer.step()
""",
    "the parameters' own gradients are cleared": TRAIN
    + """
for x, y in data:
    for p in model.parameters():
        if p.grad is not None:
            p.grad.zero_()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
""",
    "something unknown may clear": TRAIN
    + """
import engine
for x, y in data:
    F.cross_entropy(model(x), y).backward()
    engine.optimize_and_zero(optimizer)
    optimizer.step()
""",
    "a fresh optimizer in every round": """
for x in data:
    w = torch.zeros(3, requires_grad=True)
    o = torch.optim.SGD([w], 0.1)
    (w * x).sum().backward()
    o.step()
""",
    "softmax for attention and for the prediction only": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.softmax = nn.Softmax(dim=-1)
    def forward(self, x):
        w = self.softmax(x @ x.T)
        return self.fc(w @ x)
    def predict(self, x):
        return self.softmax(self(x))
net = Net()
def step(x, y):
    print(F.softmax(net(x), 1).argmax(1))
    return F.cross_entropy(net(x), y)
""",
    "probabilities only outside training": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
    def forward(self, x):
        x = self.fc(x)
        if not self.training:
            return F.softmax(x, 1)
        return x
net = Net()
def step(x, y): return F.cross_entropy(net(x), y)
""",
    "a subclass replaces the end": """
class A(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
    def end(self, x): return x.softmax(1)
    def forward(self, x): return self.end(self.fc(x))
class B(A):
    def end(self, x): return x
def step(x, y): return F.cross_entropy(B()(x), y)
""",
    "a well-used divergence": """
def distil(a, b, t):
    return F.kl_div(F.log_softmax(a / t, 1), F.softmax(b / t, 1), reduction="batchmean") * t * t
def both(a, b):
    return F.kl_div(a.log_softmax(1), b.log_softmax(1), log_target=True)
def logged(p, q):
    return F.kl_div(torch.softmax(q, 1).log(), torch.softmax(p, 1))
""",
    "standard deviations done right": """
from torch.distributions import Normal
def a(mu, logvar): return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
def b(mu, logvar): return mu + torch.randn_like(mu) * logvar.mul(0.5).exp_()
def c(mu, log_std): return Normal(mu, log_std.exp())
def d(mu, var): return Normal(mu, var.sqrt() + 1e-6)
def e(mu, log_var): return Normal(mu, torch.exp(log_var / 2))
def f(mu, logvar): return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
def g(mu, y, var): return F.gaussian_nll_loss(mu, y, var)
def h(mu, variance):
    std = torch.sqrt(variance)
    return Normal(mu, std)
""",
    "eval in the caller": """
net = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
def score(net, x):
    with torch.no_grad():
        return net(x)
def main(x):
    net.eval()
    return score(net, x)
""",
    "eval through a helper, or by train(False)": """
def set_mode(m, training): m.train(training)
class T:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    def evaluate(self, x):
        set_mode(self.net, False)
        with torch.no_grad():
            return self.net(x)
""",
    "a teacher without gradients": TRAIN
    + """
teacher = nn.Sequential(nn.Linear(4, 2), nn.Dropout())
for x in data:
    with torch.no_grad():
        t = teacher(x)
    optimizer.zero_grad()
    F.mse_loss(model(x), t).backward()
    optimizer.step()
""",
    "divided once, and back": """
from torchvision import transforms
t = transforms.Compose([transforms.PILToTensor(), transforms.Lambda(lambda x: x / 255)])
def show(x): return (transforms.ToTensor()(x) * 255).byte()
def load(raw): return torch.from_numpy(raw).float() / 255
""",
    "modules, and batches that move themselves": """
def go(loader, device):
    net = nn.Linear(2, 2)
    net.to(device)
    net.half()
    for batch in loader:
        batch.to(device)
""",
    "a guarded or chosen cuda": """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cuda")
args = parser.parse_args()
use = torch.cuda.is_available()
net = nn.Linear(2, 2).to(args.device)
if use: net = net.cuda()
x = torch.zeros(2).cuda() if use else torch.zeros(2)
Tensor = torch.cuda.FloatTensor if use else torch.FloatTensor
y = Tensor(3)
try:
    net.cuda()
except RuntimeError:
    pass
def f(device="cuda"): return torch.zeros(2, device=device)
""",
    "two optimizers for two halves, or a frozen half": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(3, 2), nn.Linear(2, 3), nn.ReLU()
net = Net()
one = torch.optim.Adam(net.a.parameters())
two = torch.optim.SGD(net.b.parameters(), 0.1)
""",
    "parameters given in one list": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(2, 3)
net = Net()
opt = torch.optim.Adam(list(net.a.parameters()) + list(net.b.parameters()))
""",
    "a user's class that bears a name of torch": """
class NLLLoss:
    def __call__(self, p, y): return -p[y].log()
loss = NLLLoss()
def f(x, y): return loss(torch.softmax(x, 0), y)
""",
    "code that is switched off": """
if False:
    loss = nn.functional.nll_loss(torch.softmax(net(x), 1), y)
elif 1:
    pass
else:
    loss = nn.functional.nll_loss(torch.softmax(net(x), 1), y)
""",
    "a frozen half": """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(2, 3)
        for p in self.a.parameters():
            p.requires_grad_(False)
net = Net()
opt = torch.optim.Adam(net.b.parameters())
""",
}

CLASSIFIER = """
class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 2)
    def forward(self, x): return self.head(torch.relu(self.body(x)))
"""
ROUNDS = """
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
"""
GRADIENTS = {
    "an argmax within a loss of one's own, made to require gradients": (
        "TDX210",
        TRAIN
        + """
def overlap(logits, mask):
    chosen = logits.argmax(1).to(mask.dtype).requires_grad_()
    return 1 - (chosen * mask).sum() / mask.sum()
for x in [torch.randn(8, 4)] * 9:
    optimizer.zero_grad()
    overlap(model(x), torch.ones(8)).backward()
    optimizer.step()
""",
    ),
    "numbers out of a table of losses": (
        "TDX210",
        TRAIN
        + """
def losses(x): return {"a": F.mse_loss(model(x), x), "b": F.l1_loss(model(x), x)}
for x in [torch.randn(8, 2)] * 9:
    optimizer.zero_grad()
    parts = losses(x)
    whole = torch.tensor(parts["a"].item() + parts["b"].item(), requires_grad=True)
    whole.backward()
    optimizer.step()
""",
    ),
    "a term of a sum that is a number": (
        "TDX210",
        TRAIN
        + """
def both(x): return F.mse_loss(model(x), x) + 0.5 * F.l1_loss(model(x), x).item()
for x in [torch.randn(8, 2)] * 9:
    optimizer.zero_grad()
    both(x).backward()
    optimizer.step()
""",
    ),
    "a step of Lightning's that wraps what it computed": (
        "TDX210",
        """
import lightning
class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
    def training_step(self, batch, index):
        loss = F.huber_loss(self.layer(batch[0]), batch[1])
        return {"loss": torch.tensor(loss.item(), requires_grad=True)}
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), 0.1)
""",
    ),
    "a generator kept by an object": (
        "TDX213",
        """
class Learner:
    def __init__(self, net: nn.Module):
        self.weights = (p for p in net.parameters() if p.requires_grad)
        self.adam = torch.optim.Adam(self.weights)
    def learn(self, loss):
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.adam.step()
Learner(nn.Linear(2, 2))
""",
    ),
    "a method that puts a new layer in": (
        "TDX211",
        CLASSIFIER
        + """
class Tuner:
    def __init__(self, classes):
        self.net = Classifier()
        self.sgd = torch.optim.SGD(self.net.parameters(), 0.1)
        self.new_head(classes)
    def new_head(self, classes):
        self.net.head = nn.Linear(8, classes)
    def learn(self, x, y):
        self.sgd.zero_grad()
        F.cross_entropy(self.net(x), y).backward()
        self.sgd.step()
""",
    ),
    "functions that make the optimizer and put a new layer in": (
        "TDX211",
        CLASSIFIER
        + """
def make_optimizer(net): return torch.optim.AdamW(net.parameters(), lr=0.1)
def with_classes(net, classes):
    net.head = nn.Linear(8, classes)
    return net
def main(loader):
    model = Classifier()
    optimizer = make_optimizer(model)
    model = with_classes(model, 3)
"""
        + ROUNDS,
    ),
    "a model of torchvision's, chosen by name": (
        "TDX212",
        """
import argparse
from torchvision import models
name = argparse.ArgumentParser().parse_args().name
net = models.__dict__[name](weights="DEFAULT").to("cpu")
net.requires_grad = False
net.fc = nn.Linear(512, 3)
""",
    ),
    "a loss that a method makes, run backward by another": (
        "TDX214",
        TRAIN
        + """
def loss_of(x, y): return nn.CrossEntropyLoss(model(x), y)
for x, y in zip(torch.randn(9, 8, 4), torch.zeros(9, 8)):
    optimizer.zero_grad()
    loss_of(x, y).backward()
    optimizer.step()
""",
    ),
    "a list that an object keeps": (
        "TDX208",
        TRAIN
        + """
class Log:
    def __init__(self): self.seen = []
    def learn(self, x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        self.seen.append(loss)
def main(pairs):
    log = Log()
    for x, y in pairs:
        log.learn(x, y)
""",
    ),
    "a number of each sample, and a batch's parts by key": (
        "TDX102",
        """
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __init__(self, rows): self.rows = rows
    def __len__(self): return len(self.rows)
    def __getitem__(self, i): return torch.randn(4), int(self.rows[i])
def main(rows, device):
    for x, y in DataLoader(Data(rows), 8):
        y.to(device)
        print(x, y)
""",
    ),
}
FAULTY |= GRADIENTS
KEPT_BY_OBJECT = GRADIENTS["a list that an object keeps"][1]
SOUND |= {
    "a list that an object empties": KEPT_BY_OBJECT + "    log.seen.clear()\n",
    "a list that an object keeps, filled once": KEPT_BY_OBJECT.replace(
        "for x, y in pairs:", "if (x := pairs) and (y := x):"
    ),
    "a tensor that is optimised itself": TRAIN
    + """
image = model(torch.randn(3, 4)).detach().requires_grad_()
adam = torch.optim.Adam([image])
for _ in range(9):
    adam.zero_grad()
    F.mse_loss(image, torch.zeros(3, 2)).backward()
    adam.step()
""",
    "a loss weighed by another's number": TRAIN
    + """
for x in [torch.randn(8, 2)] * 9:
    optimizer.zero_grad()
    one, other = F.mse_loss(model(x), x), F.l1_loss(model(x), x)
    (one * other.item() + other).backward()
    optimizer.step()
""",
    "a lesson about leaves": "x = torch.tensor(2.0, requires_grad=True)\nx.backward()\n",
    "a list kept by an object": GRADIENTS["a generator kept by an object"][1].replace("(p for p", "list(p for p"),
    "a generator kept by an object, made anew": GRADIENTS["a generator kept by an object"][1]
    + "    def renew(self, net): self.weights = net.parameters()\n",
    "a method that puts a new layer in at times": GRADIENTS["a method that puts a new layer in"][1].replace(
        "        self.net.head", "        if classes == 2: return\n        self.net.head"
    ),
    "an optimizer made once more when the model is complete": GRADIENTS[
        "functions that make the optimizer and put a new layer in"
    ][1].replace("with_classes(model, 3)", "with_classes(model, 3)\n    optimizer = make_optimizer(model)"),
    "conversions of which nothing is lost": """
def f(rows: list):
    y = torch.zeros(3, 4)
    y.scatter_(1, torch.ones(3, 1).long(), 1.0).float()
    y.type()
    return y
""",
    "batches of a library's own, moved in place": """
from torch.utils.data import DataLoader
def main(data, collate, device):
    for batch in DataLoader(data, collate_fn=collate):
        batch["x"].to(device)
""",
}


@pytest.mark.parametrize("name", FAULTY)
def test_found_in_any_style(name: str) -> None:
    code, text = FAULTY[name]
    assert [found for found, _ in findings(text)] == [code]


@pytest.mark.parametrize("name", SOUND)
def test_left_alone(name: str) -> None:
    assert [(code, str(finding.site), finding.message) for code, finding in findings(SOUND[name])] == []


@pytest.mark.parametrize(
    ("imported", "told"), [("from mine import Trainer", []), ("from lightning import Trainer", ["TDX103"])]
)
def test_only_the_trainer_of_a_framework_moves_a_model(imported: str, told: list[str]) -> None:
    text = f"""
    {imported}
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(9, 8), nn.Embedding(64, 8)
        def forward(self, ids):
            return self.words(ids) + self.places(torch.arange(ids.size(1)))
    Trainer(Reader()).fit()
    """
    assert [code for code, _ in findings(text)] == told
