"""Starter, main course or dessert? Lines of a menu are lists of words of any length; their vectors are averaged."""

import random

import torch
import torch.nn as nn

COURSES = {
    "starter": "soup broth salad bruschetta pickles oysters olives rillettes radish crostini".split(),
    "main": "steak stew risotto roast curry lamb trout dumplings goulash ragout".split(),
    "dessert": "tart sorbet custard pudding meringue crumble parfait brownie trifle sundae".split(),
}
ANY = "with of the house and fresh warm our from garden a small day lemon herbs butter seasonal two in cream".split()
WORDS = ["<pad>", *ANY, *(word for words in COURSES.values() for word in words)]
NUMBER = {word: i for i, word in enumerate(WORDS)}
KINDS = list(COURSES)


def menu_line(rng):
    """Two or three words speak for the course, the rest is found in any; at times there is a word of another course."""
    kind = rng.randrange(len(KINDS))
    line = rng.choices(COURSES[KINDS[kind]], k=rng.randint(2, 3)) + rng.choices(ANY, k=rng.randint(0, 16))
    if rng.random() < 0.4:
        line.append(rng.choice(COURSES[rng.choice(KINDS)]))
    rng.shuffle(line)
    return [NUMBER[word] for word in line], kind


def padded(lines):
    longest = max(len(words) for words, _ in lines)
    ids = torch.tensor([words + [0] * (longest - len(words)) for words, _ in lines])
    return ids, torch.tensor([kind for _, kind in lines])


class CourseNet(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), width)
        self.hidden = nn.Linear(width, 32)
        self.out = nn.Linear(32, len(KINDS))

    def forward(self, ids):
        present = (ids != 0).unsqueeze(-1)
        mean = (self.words(ids) * present).sum(dim=1) / present.sum(dim=1)
        return self.out(torch.relu(self.hidden(mean)))


def accuracy(net, lines):
    net.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(lines), 200):
            ids, kinds = padded(lines[start : start + 200])
            right += (net(ids).argmax(1) == kinds).sum().item()
    return right / len(lines)


rng = random.Random(77)
torch.manual_seed(77)
train_lines = [menu_line(rng) for _ in range(4000)]
val_lines = [menu_line(rng) for _ in range(1500)]
net = CourseNet()
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
MICRO, PARTS = 16, 4
for epoch in range(6):
    net.train()
    rng.shuffle(train_lines)
    total = 0.0
    for start in range(0, len(train_lines) - MICRO * PARTS + 1, MICRO * PARTS):
        optimizer.zero_grad()
        for part in range(PARTS):
            first = start + part * MICRO
            ids, kinds = padded(train_lines[first : first + MICRO])
            loss = loss_fn(net(ids), kinds) / PARTS
            loss.backward()
            total += loss.item()
        optimizer.step()
    print(f"epoch {epoch + 1}: loss {total / (len(train_lines) // (MICRO * PARTS)):.4f}, validation {accuracy(net, val_lines):.4f}")
print(f"accuracy {accuracy(net, val_lines):.4f}")
