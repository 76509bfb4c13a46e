import math

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits

# Digits, convolutions with batch norm, SGD with a cosine schedule (by hand).

torch.manual_seed(2)


def conv(i, o, stride=1):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(o),
        nn.LeakyReLU(0.1, inplace=True),
    )


net = nn.Sequential(
    conv(1, 8), conv(8, 16, 2), conv(16, 32, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
)
criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)

X, y = load_digits(return_X_y=True)
X = torch.FloatTensor(X).view(-1, 1, 8, 8)
y = torch.LongTensor(y)
idx = torch.randperm(len(X))
trn, tst = idx[:1437], idx[1437:]
X = (X - X[trn].mean()) / X[trn].std()

n_epochs, bs, lr_max = 8, 48, 0.1
n_steps = n_epochs * (len(trn) // bs)
step = 0
for epoch in range(n_epochs):
    net.train()
    perm = trn[torch.randperm(len(trn))]
    for b in range(len(trn) // bs):
        sel = perm[b * bs : (b + 1) * bs]
        lr = lr_max * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        for group in optimizer.param_groups:
            group["lr"] = lr
        out = net(X[sel])
        loss = criterion(out, y[sel])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    net.eval()
    with torch.no_grad():
        out = net(X[tst])
        err = (out.argmax(1) != y[tst]).float().mean().item()
    print("epoch", epoch, "loss", round(loss.item(), 4), "lr", round(lr, 4), "test error", round(err, 4))
