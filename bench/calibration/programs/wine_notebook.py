# %% [markdown]
# Which cultivar is this wine from? A small tanh network, all data in one batch.

# %%
import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

np.random.seed(0)
torch.manual_seed(0)

# %%
wine = load_wine()
order = np.random.permutation(len(wine.target))
train_idx, val_idx = order[:130], order[130:]
scaler = StandardScaler().fit(wine.data[train_idx])
X_train = torch.tensor(scaler.transform(wine.data[train_idx]), dtype=torch.float32)
X_val = torch.tensor(scaler.transform(wine.data[val_idx]), dtype=torch.float32)
y_train = torch.tensor(wine.target[train_idx])
y_val = torch.tensor(wine.target[val_idx])

# %%
net = torch.nn.Sequential(
    torch.nn.Linear(13, 24),
    torch.nn.Tanh(),
    torch.nn.Linear(24, 24),
    torch.nn.Tanh(),
    torch.nn.Linear(24, 3),
)
loss_fn = torch.nn.CrossEntropyLoss()
opt = torch.optim.RMSprop(net.parameters(), lr=1e-3, weight_decay=1e-3)

# %%
history = []
for epoch in range(120):
    opt.zero_grad()
    logits = net(X_train)
    loss = loss_fn(logits, y_train)
    loss.backward()
    opt.step()
    with torch.no_grad():
        val_logits = net(X_val)
        val_loss = loss_fn(val_logits, y_val).item()
        val_acc = (val_logits.argmax(1) == y_val).float().mean().item()
    history.append((loss.item(), val_loss, val_acc))

# %%
for epoch in range(0, 120, 20):
    print("epoch %d  loss %.4f  val loss %.4f  val acc %.3f" % (epoch, *history[epoch]))
print("final validation loss %.4f" % history[-1][1])
