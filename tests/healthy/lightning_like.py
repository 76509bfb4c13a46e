"""The Lightning way of writing it, with a home-made base class and Trainer."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class MiniModule(nn.Module):
    """What a Trainer needs from a model."""

    def __init__(self):
        super().__init__()
        self._logged = {}

    def log(self, name, value):
        self._logged.setdefault(name, []).append(value.detach().item())

    def pop_logs(self):
        means = {k: sum(v) / len(v) for k, v in self._logged.items()}
        self._logged.clear()
        return means

    def training_step(self, batch, batch_idx):
        raise NotImplementedError

    def validation_step(self, batch, batch_idx):
        raise NotImplementedError

    def configure_optimizers(self):
        raise NotImplementedError


class MiniTrainer:
    def __init__(self, max_epochs, gradient_clip_val=None, accelerator="auto"):
        self.max_epochs = max_epochs
        self.gradient_clip_val = gradient_clip_val
        use_gpu = accelerator == "auto" and torch.cuda.is_available()
        self.device = torch.device("cuda" if use_gpu else "cpu")

    def _to_device(self, batch):
        return tuple(t.to(self.device) for t in batch)

    def fit(self, module, datamodule):
        module.to(self.device)
        (optimizer,), (scheduler,) = module.configure_optimizers()
        for epoch in range(self.max_epochs):
            module.train()
            for i, batch in enumerate(datamodule.train_dataloader()):
                loss = module.training_step(self._to_device(batch), i)
                optimizer.zero_grad()
                loss.backward()
                if self.gradient_clip_val is not None:
                    nn.utils.clip_grad_norm_(module.parameters(), self.gradient_clip_val)
                optimizer.step()
            scheduler.step()
            module.eval()
            with torch.inference_mode():
                for i, batch in enumerate(datamodule.val_dataloader()):
                    module.validation_step(self._to_device(batch), i)
            logs = " ".join(f"{k}={v:.4f}" for k, v in module.pop_logs().items())
            print(f"Epoch {epoch}: {logs}")


class DigitsDataModule:
    def __init__(self, batch_size=64):
        self.batch_size = batch_size
        bunch = load_digits()
        x = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16 - 0.3
        full = TensorDataset(x, torch.tensor(bunch.target))
        generator = torch.Generator().manual_seed(0)
        self.train_set, self.val_set = random_split(full, [0.8, 0.2], generator=generator)

    def train_dataloader(self):
        return DataLoader(self.train_set, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=self.batch_size)


class ResidualUnit(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv = nn.Conv2d(ch, ch, 3, padding=1)
        self.norm = nn.GroupNorm(4, ch)

    def forward(self, x):
        return x + F.silu(self.norm(self.conv(x)))


class LitDigits(MiniModule):
    def __init__(self, channels=16, lr=3e-3):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.SiLU(),
            ResidualUnit(channels),
            ResidualUnit(channels),
            nn.Flatten(),
            nn.Linear(channels * 16, 10),
        )

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=1e-2)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.3)]


if __name__ == "__main__":
    torch.manual_seed(2021)
    MiniTrainer(max_epochs=10, gradient_clip_val=1.0).fit(LitDigits(), DigitsDataModule())
