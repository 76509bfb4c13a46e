"""A convolutional autoencoder that squeezes digits into eight numbers."""

import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits


class AutoEncoder(nn.Module):
    def __init__(self, code=8):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(32 * 2 * 2, code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, 32 * 2 * 2),
            nn.Unflatten(1, (32, 2, 2)),
            nn.ELU(),
            nn.ConvTranspose2d(32, 16, 2, stride=2),
            nn.ELU(),
            nn.ConvTranspose2d(16, 1, 2, stride=2),
        )

    def forward(self, x):
        code = self.encoder(x)
        return self.decoder(code)


def batches(data, size):
    for rows in torch.randperm(len(data)).split(size):
        yield data[rows]


def main():
    torch.manual_seed(12)
    images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
    images = images[torch.randperm(len(images))]
    train_images, val_images = images[:1400], images[1400:]
    mean, std = train_images.mean(), train_images.std()
    train_images = (train_images - mean) / std
    val_images = (val_images - mean) / std

    net = AutoEncoder()
    criterion = nn.MSELoss()
    optimizer = optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(12):
        net.train()
        for batch in batches(train_images, 50):
            optimizer.zero_grad()
            restored = net(batch)
            loss = criterion(restored, batch)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            val = criterion(net(val_images), val_images).item()
        print(f"epoch {epoch + 1:2d}: last batch {loss.item():.4f}, validation {val:.4f}")


if __name__ == "__main__":
    main()
