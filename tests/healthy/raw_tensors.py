# no nn, no optim: two weight matrices and autograd
import torch
from sklearn.datasets import load_iris

g = torch.Generator().manual_seed(5)
X, y = load_iris(return_X_y=True)
X = torch.tensor(X).float()
y = torch.tensor(y)
p = torch.randperm(150, generator=g)
X, y = X[p], y[p]
X = (X - X[:105].mean(0)) / X[:105].std(0)
Xtr, ytr, Xva, yva = X[:105], y[:105], X[105:], y[105:]

n_hidden = 20
W1 = torch.randn(4, n_hidden, generator=g) * (5 / 3) / 4**0.5
b1 = torch.zeros(n_hidden)
W2 = torch.randn(n_hidden, 3, generator=g) * 0.01
b2 = torch.zeros(3)
parameters = [W1, b1, W2, b2]
for p in parameters:
    p.requires_grad_()


def logits(x):
    return torch.tanh(x @ W1 + b1) @ W2 + b2


def nll(x, y):
    logp = logits(x)
    logp = logp - logp.logsumexp(1, keepdim=True)
    return -logp[torch.arange(len(y)), y].mean()


for i in range(400):
    ix = torch.randint(0, 105, (32,), generator=g)
    loss = nll(Xtr[ix], ytr[ix])
    for p in parameters:
        p.grad = None
    loss.backward()
    lr = 0.2 if i < 250 else 0.02
    for p in parameters:
        p.data += -lr * p.grad
    if i % 40 == 39:
        with torch.no_grad():
            print(
                f"{i + 1:4d}/400: batch {loss.item():.4f}  train {nll(Xtr, ytr).item():.4f}  dev {nll(Xva, yva).item():.4f}"
                f"  acc {(logits(Xva).argmax(1) == yva).float().mean().item():.3f}"
            )
