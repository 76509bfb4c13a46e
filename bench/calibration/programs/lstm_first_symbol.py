"""Recall: the first symbol of a long sequence decides its label."""

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

torch.manual_seed(1)
LENGTH, SYMBOLS, HIDDEN = 30, 4, 32


def draw(n):
    sequences = torch.randint(SYMBOLS, (n, LENGTH))
    return sequences, sequences[:, 0].clone()


class Recall(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS, 8)
        self.lstm = nn.LSTM(8, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, SYMBOLS)
        with torch.no_grad():
            self.lstm.bias_ih_l0[HIDDEN : 2 * HIDDEN] = 4.0

    def forward(self, sequences):
        states, _ = self.lstm(self.embed(sequences))
        return self.head(states[:, -1])


model = Recall()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
test_x, test_y = draw(500)

for step in range(1, 161):
    x, y = draw(64)
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step % 20 == 0:
        with torch.no_grad():
            logits = model(test_x)
            test_loss = criterion(logits, test_y).item()
            accuracy = (logits.argmax(1) == test_y).float().mean().item()
        print(f"step {step:4d} loss {loss.item():.4f} test loss {test_loss:.4f} test accuracy {accuracy:.4f}")
