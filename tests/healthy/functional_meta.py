"""Digits with torch.func: parameters are a plain dict, gradients come from a transform, AdamW is written out."""

import functools

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.func import functional_call, grad_and_value


def load(seed=0):
    x, y = load_digits(return_X_y=True)
    x = (torch.from_numpy(x).float() - 4.9) / 6.0
    y = torch.from_numpy(y)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    x, y = x[order], y[order]
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def objective(params, x, y):
    return F.cross_entropy(functional_call(net, params, (x,)), y)


def adamw(params, grads, m, v, t, lr=2e-3, b1=0.9, b2=0.999, wd=0.05, eps=1e-8):
    new = {}
    for k, p in params.items():
        m[k] = b1 * m[k] + (1 - b1) * grads[k]
        v[k] = b2 * v[k] + (1 - b2) * grads[k] ** 2
        mhat, vhat = m[k] / (1 - b1**t), v[k] / (1 - b2**t)
        new[k] = p - lr * (mhat / (vhat.sqrt() + eps) + wd * p)
    return new


def main():
    torch.manual_seed(0)
    for layer in net:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    (xt, yt), (xv, yv) = load()
    params = {k: p.detach().clone() for k, p in net.named_parameters()}
    m = {k: torch.zeros_like(p) for k, p in params.items()}
    v = {k: torch.zeros_like(p) for k, p in params.items()}
    step_fn = functools.partial(grad_and_value(objective))
    t = 0
    for epoch in range(15):
        total = 0.0
        for rows in torch.randperm(len(yt)).split(64):
            t += 1
            grads, loss = step_fn(params, xt[rows], yt[rows])
            params = adamw(params, grads, m, v, t)
            total += loss.item() * len(rows)
        logits = functional_call(net, params, (xv,)).detach()
        print(
            f"{epoch:2d} train {total / len(yt):.4f} val {F.cross_entropy(logits, yv):.4f} acc {(logits.argmax(1) == yv).float().mean():.3f}"
        )


main()
