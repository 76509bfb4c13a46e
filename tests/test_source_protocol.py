"""The protocol of a training round, in the styles people write it: what is out of order, and what only seems so."""

from __future__ import annotations

import textwrap

import pytest

from torchdx.rules import SourceRule, find_rule
from torchdx.source import Program

HEAD = """
import torch
from torch import nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()
"""
CODES = ("TDX703", "TDX704", "TDX903", "TDX904", "TDX905", "TDX906", "TDX907", "TDX908")


def read(text: str) -> Program:
    return Program.of({"main.py": HEAD + textwrap.dedent(text)})


def codes(text: str) -> list[str]:
    """The codes of what the rules about the protocol find, notes left out."""
    program, found = read(text), []
    for rule in map(find_rule, CODES):
        assert isinstance(rule, SourceRule)
        found += [rule.code for finding in rule.in_source(program) if (finding.severity or rule.severity) != "note"]
    return found


FAULTY = {
    "clipped in a trainer's method, after the step": (
        "TDX904",
        """
class Trainer:
    def __init__(self):
        self.model, self.optim = nn.Linear(2, 2), None
        self.optim = torch.optim.AdamW(self.model.parameters())
    def step(self, batch):
        self.optim.zero_grad()
        self.model(batch).mean().backward()
        self.optim.step()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
""",
    ),
    "clipped while scaled, in one branch of two": (
        "TDX904",
        """
def train(loader, amp, limit):
    for x, y in loader:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        if amp:
            scaler.scale(loss).backward()
            nn.utils.clip_grad_norm_(net.parameters(), limit)
            scaler.step(opt)
            scaler.update()
        else:
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), limit)
            opt.step()
""",
    ),
    "a scaler without update": (
        "TDX905",
        """
for x, y in []:
    opt.zero_grad()
    scaler.scale(F.cross_entropy(net(x), y)).backward()
    scaler.step(opt)
""",
    ),
    "unscaled twice": (
        "TDX905",
        """
for x, y in []:
    opt.zero_grad()
    scaler.scale(F.cross_entropy(net(x), y)).backward()
    scaler.unscale_(opt)
    scaler.unscale_(opt)
    scaler.step(opt)
    scaler.update()
""",
    ),
    "added up, with a scaler, and not divided": (
        "TDX906",
        """
for i, (x, y) in enumerate([]):
    loss = F.cross_entropy(net(x), y)
    scaler.scale(loss).backward()
    if (i + 1) % 8 == 0:
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
""",
    ),
    "one cycle of batches, stepped by epochs in another function": (
        "TDX703",
        """
def epoch(loader):
    for x, y in loader:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
def main(data, epochs):
    loader = DataLoader(data)
    course = OneCycleLR(opt, 0.1, epochs=epochs, steps_per_epoch=len(loader))
    for _ in range(epochs):
        epoch(loader)
        course.step()
""",
    ),
    "a plateau of batches": (
        "TDX703",
        """
def main(data):
    loader, plateau = DataLoader(data), ReduceLROnPlateau(opt)
    for _ in range(9):
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            plateau.step(loss)
""",
    ),
    "a scheduler at the top, in the training phase only": (
        "TDX704",
        """
def main(loaders, schedule=StepLR(opt, 7)):
    scheduler = StepLR(opt, 7)
    for epoch in range(9):
        for phase in ["train", "val"]:
            if phase == "train":
                scheduler.step()
            for x, y in loaders[phase]:
                opt.zero_grad()
                loss = F.cross_entropy(net(x), y)
                if phase == "train":
                    loss.backward()
                    opt.step()
""",
    ),
    "an adversarial pair that shares one forward pass": (
        "TDX903",
        """
G, D = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
for_g, for_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for x in []:
    fake = D(G(torch.randn(8, 4)))
    d_loss = -torch.log(D(x)).mean() - torch.log(1 - fake).mean()
    g_loss = torch.log(1 - fake).mean()
    for_d.zero_grad()
    d_loss.backward(retain_graph=True)
    for_d.step()
    for_g.zero_grad()
    g_loss.backward()
    for_g.step()
""",
    ),
    "a mode that is only named": ("TDX907", "def test(model):\n    model.eval\n    return model(1)\n"),
    "no backward pass": (
        "TDX908",
        """
for x, y in []:
    opt.zero_grad()
    loss = F.cross_entropy(net(x), y)
    opt.step()
""",
    ),
}

FINE = {
    "two models made by one function, the first of which is stepped before the second is differentiated": """
def build():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

G, D = build(), build()
for_g, for_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for x in []:
    for_g.zero_grad()
    for_d.zero_grad()
    d_loss = D(x).mean()
    G(x).mean().backward()
    for_g.step()
    d_loss.backward()
    for_d.step()
""",
    "clipped, then stepped, before the next backward pass": """
for i, (x, y) in enumerate([]):
    if i:
        nn.utils.clip_grad_norm_(net.parameters(), 1)
        opt.step()
        opt.zero_grad()
    F.cross_entropy(net(x), y).backward()
""",
    "every branch keeps to its own protocol": """
for x, y in []:
    opt.zero_grad()
    loss = F.cross_entropy(net(x), y)
    if x.is_cuda:
        scaler.scale(loss).backward()
        if y is not None:
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(net.parameters(), 1)
        else:
            scaler.unscale_(opt)
        scaler.step(opt)
        scaler.update()
        continue
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1)
    opt.step()
""",
    "Accelerate unscales, divides and counts by itself": """
from accelerate import Accelerator
accelerator = Accelerator(gradient_accumulation_steps=4)
net, opt = accelerator.prepare(net, opt)
for i, (x, y) in enumerate([]):
    loss = F.cross_entropy(net(x), y)
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(net.parameters(), 1.0)
    if i % 4 == 0:
        opt.step()
        opt.zero_grad()
""",
    "divided in another place": """
def main(loader, accum):
    for i, (x, y) in enumerate(loader):
        loss = F.cross_entropy(net(x), y)
        loss /= accum
        loss.backward()
        if (i + 1) % accum == 0:
            opt.step()
            opt.zero_grad()
""",
    "a critic of several rounds is no accumulation": """
critic = nn.Linear(4, 1)
for_critic = torch.optim.RMSprop(critic.parameters())
for i, x in enumerate([]):
    for_critic.zero_grad()
    F.mse_loss(critic(x), x).backward()
    for_critic.step()
    if i % 5 == 0:
        opt.zero_grad()
        F.mse_loss(net(x), x).backward()
        opt.step()
""",
    "schedules in the rhythm of their numbers": """
def main(data, epochs):
    loader = DataLoader(data)
    course, fading = OneCycleLR(opt, 0.1, total_steps=epochs * len(loader)), CosineAnnealingLR(opt, T_max=epochs)
    for _ in range(epochs):
        for i, (x, y) in enumerate(loader):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
            course.step()
        fading.step()
""",
    "a schedule by the epoch's number": """
scheduler = StepLR(opt, 7)
for epoch in range(9):
    scheduler.step(epoch)
    for x, y in []:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
""",
    "the adversary is asked again after its step": """
G, D = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
for_g, for_d = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
for x in []:
    fake = G(torch.randn(8, 4))
    d_loss = D(fake.detach()).mean() - D(x).mean()
    for_d.zero_grad()
    d_loss.backward()
    for_d.step()
    for_g.zero_grad()
    g_loss = -D(fake).mean()
    g_loss.backward()
    for_g.step()
""",
    "a warm-up that leaves the round": """
from itertools import count
for i, x in zip(count(), []):
    y = net(x)
    if i < 100:
        F.mse_loss(y, x).backward()
        opt.step()
        opt.zero_grad()
        continue
    loss = F.mse_loss(net(y), x)
    loss.backward()
    opt.step()
    opt.zero_grad()
""",
    "an attack on the input": """
for x, y in []:
    opt.zero_grad()
    x.requires_grad_()
    F.cross_entropy(net(x), y).backward()
    x = x + 0.1 * x.grad.sign()
""",
    "the optimizer is handed to somebody": """
from elsewhere import Engine
engine = Engine(net, opt)
for x, y in []:
    opt.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    engine.go()
""",
    "a property called step": """
class Counter:
    @property
    def step(self):
        self.n += 1
Counter().step
""",
}


@pytest.mark.parametrize(("code", "text"), FAULTY.values(), ids=FAULTY)
def test_out_of_order(code: str, text: str) -> None:
    assert codes(text) == [code]


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_in_order(text: str) -> None:
    assert codes(text) == []


def test_events_of_a_round_with_a_scaler_come_in_order() -> None:
    program = read("""
def step(loss):
    scaler.scale(loss).backward()
    scaler.unscale_(opt)
    nn.utils.clip_grad_norm_(net.parameters(), 1)
    scaler.step(opt)
    scaler.update()
for x, y in []:
    opt.zero_grad()
    step(net(x).mean())
""")
    (loop,) = program.training_loops
    assert [event.effect for event in loop.events] == ["zero_grad", "backward", "unscale", "clip", "step", "update"]
    assert [type(other).__name__ for other in program.training_rounds] == ["TrainingLoop"]


def test_a_function_that_somebody_else_repeats_is_a_round() -> None:
    program = read("""
def learn(x):
    opt.zero_grad()
    net(x).mean().backward()
    opt.step()
""")
    assert program.training_loops == ()
    (only,) = program.training_rounds
    assert [event.effect for event in only.directly] == ["zero_grad", "backward", "step"]


def test_loops_around_loops_that_train_are_epochs() -> None:
    program = read("""
def epoch(loader):
    for x in loader:
        opt.zero_grad()
        net(x).mean().backward()
        opt.step()
for _ in range(3):
    epoch([])
""")
    assert len(program.training_loops) == len(program.epoch_loops) == 1
    assert program.stepless_loops == ()


def test_what_stands_in_another_branch_is_not_beside() -> None:
    program = read("""
for x in []:
    if x:
        net(x).mean().backward()
        opt.step()
    else:
        opt.zero_grad()
""")
    (loop,) = program.training_loops
    (step,) = loop.all("step")
    assert {event.effect for event in loop.beside(step)} == {"backward", "step"}
    assert loop.is_conditional(step)


LIGHTNING = """
import lightning.pytorch as pl
class Lit(pl.LightningModule):
    {attribute}
    def training_step(self, batch, number):
        return net(batch).mean()
    def validation_step(self, batch, number):
        self.log("loss", net(batch).mean())
"""


@pytest.mark.parametrize(("attribute", "automatic"), [("x = 1", True), ("automatic_optimization = False", False)])
def test_lightning_runs_its_steps(attribute: str, automatic: bool) -> None:
    steps = read(LIGHTNING.format(attribute=attribute)).framework_steps
    assert [(step.phase, step.automatic) for step in steps] == [("training", automatic), ("evaluation", automatic)]


def test_a_trainer_of_transformers_computes_its_own_loss() -> None:
    program = read("""
from transformers import Trainer
class Mine(Trainer):
    def compute_loss(self, model, inputs):
        return model(**inputs).loss
""")
    (step,) = program.framework_steps
    assert (step.framework, step.phase, step.automatic) == ("transformers", "training", True)
