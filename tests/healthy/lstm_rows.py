"""LSTM that reads a digit one row of pixels at a time."""

import random

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

SEED = 7
EPOCHS = 18
BATCH = 50

random.seed(SEED)
np.random.seed(SEED)
torch.manual_seed(SEED)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


class RowLSTM(nn.Module):
    def __init__(self, n_in=8, n_hidden=64, n_out=10):
        super().__init__()
        self.lstm = nn.LSTM(n_in, n_hidden, batch_first=True)
        self.fc = nn.Linear(n_hidden, n_out)
        self.reset_parameters()

    def reset_parameters(self):
        h = self.lstm.hidden_size
        nn.init.xavier_uniform_(self.lstm.weight_ih_l0)
        nn.init.orthogonal_(self.lstm.weight_hh_l0)
        with torch.no_grad():
            self.lstm.bias_ih_l0.zero_()
            self.lstm.bias_hh_l0.zero_()
            # Gates come in the order i, f, g, o; the two biases are summed.
            self.lstm.bias_ih_l0[h : 2 * h].fill_(1.0)

    def forward(self, seq):
        _, (h_n, _) = self.lstm(seq)
        return self.fc(h_n[-1])


digits = load_digits()
perm = np.random.permutation(len(digits.target))
x = torch.from_numpy(digits.images[perm]).float().div(8.0).sub(1.0)
y = torch.from_numpy(digits.target[perm]).long()
x_tr, y_tr, x_va, y_va = x[:1450], y[:1450], x[1450:], y[1450:]

net = RowLSTM().to(device)
criterion = nn.CrossEntropyLoss()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=EPOCHS)

for epoch in range(EPOCHS):
    net.train()
    idx = torch.randperm(len(x_tr))
    losses = []
    for i in range(0, len(idx), BATCH):
        sel = idx[i : i + BATCH]
        xb, yb = x_tr[sel].to(device), y_tr[sel].to(device)
        opt.zero_grad()
        loss = criterion(net(xb), yb)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        losses.append(loss.item())
    sched.step()

    net.eval()
    with torch.no_grad():
        out = net(x_va.to(device))
        val_loss = criterion(out, y_va.to(device)).item()
        val_acc = (out.argmax(1).cpu() == y_va).float().mean().item()
    print(f"epoch {epoch:02d} | train {np.mean(losses):.4f} | val {val_loss:.4f} | acc {val_acc:.2%}")
