"""How deep can a plain ReLU network go when it is initialised as He et al. say?"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

DEPTH = 10
WIDTH = 64
EPOCHS = 10
BATCH_SIZE = 50
LEARNING_RATE = 0.01


class DeepNet(nn.Module):
    def __init__(self, depth, width):
        super().__init__()
        sizes = [64] + [width] * depth
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])
        self.head = nn.Linear(width, 10)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)


torch.manual_seed(5)
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32)
labels = torch.tensor(digits.target)
shuffled = torch.randperm(len(images))
images, labels = images[shuffled], labels[shuffled]
images = (images - images[:1400].mean()) / images[:1400].std()
train_x, train_y, valid_x, valid_y = images[:1400], labels[:1400], images[1400:], labels[1400:]

model = DeepNet(DEPTH, WIDTH)
optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

for epoch in range(1, EPOCHS + 1):
    batches = torch.randperm(len(train_x)).split(BATCH_SIZE)
    total = 0.0
    for batch in batches:
        loss = F.cross_entropy(model(train_x[batch]), train_y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    with torch.no_grad():
        accuracy = (model(valid_x).argmax(dim=1) == valid_y).float().mean().item()
    print(f"Epoch {epoch}: training loss {total / len(batches):.3f}, validation accuracy {accuracy:.3f}")
