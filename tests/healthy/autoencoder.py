"""An autoencoder squeezes the digits' 64 pixels through 12 numbers and gives them back."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader

torch.manual_seed(1)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 96),
            nn.ReLU(True),
            nn.Linear(96, 12),
        )
        self.decoder = nn.Sequential(
            nn.Linear(12, 96),
            nn.ReLU(True),
            nn.Linear(96, 64),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


imgs = torch.tensor(load_digits().data, dtype=torch.float32) / 16
imgs = imgs[torch.randperm(len(imgs))]
dataloader = DataLoader(imgs[:1500], batch_size=50, shuffle=True)
held_out = imgs[1500:].to(device)

model = AE().to(device)
distance = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

num_epochs = 25
for epoch in range(num_epochs):
    model.train()
    total = 0.0
    for img in dataloader:
        img = img.to(device)
        output = model(img)
        loss = distance(output, img)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        val = distance(model(held_out), held_out).item()
    explained = 1 - val / held_out.var(0).mean().item()
    print(f"epoch [{epoch + 1}/{num_epochs}], loss:{total / len(dataloader):.5f}, val:{val:.5f}, R2:{explained:.3f}")
