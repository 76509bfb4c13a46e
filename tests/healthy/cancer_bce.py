"""Benign or malignant? A sigmoid output with BCELoss and tanh hidden units."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class BinaryClassifier(nn.Module):
    def __init__(self, input_dim, hidden_dim=16):
        super().__init__()
        self.layer_1 = nn.Linear(input_dim, hidden_dim)
        self.layer_2 = nn.Linear(hidden_dim, hidden_dim)
        self.layer_out = nn.Linear(hidden_dim, 1)
        self.tanh = nn.Tanh()
        self.sigmoid = nn.Sigmoid()

    def forward(self, inputs):
        x = self.tanh(self.layer_1(inputs))
        x = self.tanh(self.layer_2(x))
        return self.sigmoid(self.layer_out(x))


def binary_acc(y_pred, y_true):
    return ((y_pred > 0.5).float() == y_true).float().mean().item()


torch.manual_seed(69)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

X, y = load_breast_cancer(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, stratify=y, random_state=69)
scaler = StandardScaler()
X_train = torch.FloatTensor(scaler.fit_transform(X_train))
X_val = torch.FloatTensor(scaler.transform(X_val)).to(device)
y_train = torch.FloatTensor(y_train).unsqueeze(1)
y_val = torch.FloatTensor(y_val).unsqueeze(1).to(device)
train_loader = DataLoader(TensorDataset(X_train, y_train), batch_size=32, shuffle=True)

model = BinaryClassifier(X_train.shape[1])
model.to(device)
criterion = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.001, weight_decay=1e-3)

for e in range(1, 31):
    model.train()
    epoch_loss = 0
    epoch_acc = 0
    for X_batch, y_batch in train_loader:
        X_batch, y_batch = X_batch.to(device), y_batch.to(device)
        optimizer.zero_grad()
        y_pred = model(X_batch)
        loss = criterion(y_pred, y_batch)
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item()
        epoch_acc += binary_acc(y_pred.detach(), y_batch)

    model.eval()
    with torch.no_grad():
        val_pred = model(X_val)
        val_loss = criterion(val_pred, y_val).item()
    if e % 3 == 0:
        print(
            f"Epoch {e:03}: | Loss: {epoch_loss / len(train_loader):.5f} | Acc: {epoch_acc / len(train_loader):.3f}"
            f" | Val Loss: {val_loss:.5f} | Val Acc: {binary_acc(val_pred, y_val):.3f}"
        )

print("ROC AUC", round(roc_auc_score(y_val.cpu().numpy(), val_pred.cpu().numpy()), 4))
