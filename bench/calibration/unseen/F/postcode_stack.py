"""Digits of postcodes with a deep and narrow stack of ReLU layers, plain SGD, batches cut by hand."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(31)

digits = load_digits()
pixels = torch.tensor(digits.data, dtype=torch.float32)
label = torch.tensor(digits.target)

# a quarter of every digit is kept for the test
train_rows, test_rows = [], []
for d in range(10):
    of_digit = torch.nonzero(label == d).flatten()
    of_digit = of_digit[torch.randperm(len(of_digit))]
    cut = len(of_digit) * 3 // 4
    train_rows.append(of_digit[:cut])
    test_rows.append(of_digit[cut:])
train_rows, test_rows = torch.cat(train_rows), torch.cat(test_rows)
x, y = pixels[train_rows], label[train_rows]
x_test, y_test = pixels[test_rows], label[test_rows]
middle, scale = x.mean(), x.std()
x, x_test = (x - middle) / scale, (x_test - middle) / scale

DEPTH, WIDTH, BATCH, EPOCHS = 12, 64, 32, 12
modules = []
for i in range(DEPTH):
    layer = torch.nn.Linear(64 if i == 0 else WIDTH, WIDTH)
    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    torch.nn.init.constant_(layer.bias, 0.0)
    modules += [layer, torch.nn.ReLU()]
modules += [torch.nn.Linear(WIDTH, 10), torch.nn.LogSoftmax(dim=1)]
net = torch.nn.Sequential(*modules)

optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)

for epoch in range(EPOCHS):
    net.train()
    total = 0.0
    for rows in torch.randperm(len(x)).split(BATCH):
        nudge = 0.5 * torch.randn(len(rows), 64)
        log_p = net(x[rows] + nudge)
        loss = F.nll_loss(log_p, y[rows])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        total += loss.item() * len(rows)
    scheduler.step()
    net.eval()
    with torch.no_grad():
        accuracy = (net(x_test).argmax(dim=1) == y_test).float().mean().item()
    print(f"epoch {epoch + 1:2d}   loss {total / len(x):.4f}   accuracy {accuracy:.4f}")
