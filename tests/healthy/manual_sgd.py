# Wine classification with a hand-written gradient step, notebook style.
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

torch.manual_seed(0)

# --- data ---
X, y = load_wine(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
mu, sigma = X_train.mean(0), X_train.std(0)
X_train = torch.tensor((X_train - mu) / sigma).float()
X_test = torch.tensor((X_test - mu) / sigma).float()
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

# --- model ---
model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))

# --- training ---
lr = 0.1
weight_decay = 1e-2
batch_size = 31
for epoch in range(30):
    perm = torch.randperm(len(X_train))
    epoch_loss = 0.0
    for start in range(0, len(perm), batch_size):
        batch = perm[start : start + batch_size]
        loss = F.cross_entropy(model(X_train[batch]), y_train[batch])
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= lr * (p.grad + weight_decay * p)
                p.grad = None
        epoch_loss += loss.item() * len(batch)

    if (epoch + 1) % 3 == 0:
        with torch.no_grad():
            logits = model(X_test)
            test_loss = F.cross_entropy(logits, y_test).item()
            acc = (logits.argmax(1) == y_test).float().mean().item()
        print(f"{epoch + 1:3d}: loss {epoch_loss / len(X_train):.4f}, test loss {test_loss:.4f}, acc {acc:.3f}")
