"""Wine, with an EMA of the weights, ReduceLROnPlateau and early stopping in a while loop."""

import copy
import itertools
import math

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedShuffleSplit
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

torch.manual_seed(99)
X, y = load_wine(return_X_y=True)
train_ix, val_ix = next(StratifiedShuffleSplit(1, test_size=0.3, random_state=9).split(X, y))
X = torch.tensor(X, dtype=torch.get_default_dtype())
y = torch.tensor(y)
X = (X - X[train_ix].mean(0)) / X[train_ix].std(0)

model = torch.nn.Sequential(
    torch.nn.Linear(13, 24), torch.nn.LeakyReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(24, 3)
)
ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.3, patience=4)
criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.05)

best, best_state, patience = math.inf, None, 0
for epoch in itertools.count(1):
    model.train()
    batch_losses = []
    for ix in torch.tensor(train_ix)[torch.randperm(len(train_ix))].chunk(6):
        opt.zero_grad()
        loss = criterion(model(X[ix]), y[ix])
        loss.backward()
        opt.step()
        ema.update_parameters(model)
        batch_losses.append(loss.item())
    ema.eval()
    with torch.inference_mode():
        out = ema(X[val_ix])
        val = criterion(out, y[val_ix]).item()
        acc = (out.argmax(1) == y[val_ix]).float().mean().item()
    plateau.step(val)
    if epoch % 5 == 0:
        print(
            f"{epoch} train {sum(batch_losses) / len(batch_losses):.4f} val {val:.4f} acc {acc:.3f} lr {opt.param_groups[0]['lr']:.4f}"
        )
    if val < best - 1e-4:
        best, best_state, patience = val, copy.deepcopy(ema.module.state_dict()), 0
    else:
        patience += 1
    if patience == 8 or epoch == 80:
        break
model.load_state_dict(best_state)
print("stopped at", epoch, "best val", round(best, 4))
