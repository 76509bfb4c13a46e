"""Two tasks, one trunk: which digit is it, and how much ink does its lower half hold?"""

from collections import defaultdict

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 96), nn.ELU(), nn.Dropout(0.2), nn.Linear(96, 64), nn.ELU())
        self.heads = nn.ModuleDict({"digit": nn.Linear(64, 10), "ink": nn.Linear(64, 1)})

    def forward(self, x):
        h = self.trunk(x)
        return {k: head(h) for k, head in self.heads.items()}

    def losses(self, x, digit, ink):
        out = self(x)
        return {
            "digit": F.cross_entropy(out["digit"], digit),
            "ink": F.smooth_l1_loss(out["ink"].squeeze(-1), ink),
        }, out


def param_groups(model, wd):
    decay, rest = [], []
    for name, p in model.named_parameters():
        (rest if name.endswith("bias") else decay).append(p)
    return [dict(params=decay, weight_decay=wd), dict(params=rest, weight_decay=0.0)]


def batches(loader, epochs):
    for e in range(epochs):
        for b in loader:
            yield e, b


def main(epochs=14, seed=4):
    torch.manual_seed(seed)
    ds = load_digits()
    x = torch.as_tensor(ds.data / 16, dtype=torch.float32)
    ink = x[:, 32:].sum(1)
    ink = (ink - ink.mean()) / ink.std()
    tensors = [x - 0.3, torch.as_tensor(ds.target), ink]
    order = torch.randperm(len(x))
    train = TensorDataset(*[t[order[:1440]] for t in tensors])
    valid = [t[order[1440:]] for t in tensors]
    loader = DataLoader(train, batch_size=48, shuffle=True)
    model = MultiTask()
    opt = torch.optim.AdamW(param_groups(model, 0.05), lr=2e-3)
    history = defaultdict(list)
    last = 0
    gen = batches(loader, epochs)
    for epoch, batch in gen:
        if epoch != last:
            report(model, valid, history, last)
            last = epoch
        losses, _ = model.losses(*batch)
        total = losses["digit"] + 0.5 * losses["ink"]
        opt.zero_grad()
        total.backward()
        opt.step()
        for k, v in losses.items():
            history[k].append(v.item())
    report(model, valid, history, last)


def report(model, valid, history, epoch):
    model.eval()
    with torch.no_grad():
        losses, out = model.losses(*valid)
    acc = (out["digit"].argmax(-1) == valid[1]).float().mean()
    msg = " | ".join(f"{k}: {sum(v) / len(v):.4f} -> {losses[k]:.4f}" for k, v in history.items())
    print(f"[{epoch}] {msg} | acc {acc:.3f}")
    history.clear()
    model.train()


if __name__ == "__main__":
    main()
