"""A variational autoencoder on the digits, in the manner of the PyTorch examples."""

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader

torch.manual_seed(1)
data = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0
data = data[torch.randperm(len(data))]
train_loader = DataLoader(data[:1500], batch_size=64, shuffle=True)
test_loader = DataLoader(data[1500:], batch_size=100)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 100)
        self.fc21 = nn.Linear(100, 6)
        self.fc22 = nn.Linear(100, 6)
        self.fc3 = nn.Linear(6, 100)
        self.fc4 = nn.Linear(100, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


model = VAE()
optimizer = optim.Adam(model.parameters(), lr=2e-3)


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x, reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def train(epoch):
    model.train()
    train_loss = 0
    for batch in train_loader:
        optimizer.zero_grad()
        recon, mu, logvar = model(batch)
        loss = loss_function(recon, batch, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    print(f"====> Epoch: {epoch} Average loss: {train_loss / len(train_loader.dataset):.4f}")


def test():
    model.eval()
    test_loss = error = 0
    with torch.no_grad():
        for batch in test_loader:
            recon, mu, logvar = model(batch)
            test_loss += loss_function(recon, batch, mu, logvar).item()
            error += F.mse_loss(recon, batch, reduction="sum").item()
    print(f"====> Test set loss: {test_loss / len(test_loader.dataset):.4f}")
    print(f"====> Reconstruction error: {error / len(test_loader.dataset):.4f}")


for epoch in range(1, 13):
    train(epoch)
    test()
