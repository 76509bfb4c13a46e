"""Keyword spotting: six made-up spoken commands, told apart by a small conv + GRU net on log spectrograms."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

RATE = 4000
VOWELS = {"a": (700, 1200), "i": (300, 1700), "o": (450, 850), "e": (520, 1500)}
COMMANDS = ["a-i", "i-a", "o-e", "e-o", "a-o", "i-e"]


def say(command, rng):
    """A clip of 0.4 s: two vowels, spoken at some pitch and pace, somewhere in the clip, over noise."""
    clip = 0.35 * rng.standard_normal(int(0.4 * RATE))
    at = rng.integers(0, 200)
    pitch = rng.uniform(90, 220)
    for vowel in command.split("-"):
        length = rng.integers(450, 650)
        t = np.arange(length) / RATE
        first, second = (f * rng.uniform(0.88, 1.12) for f in VOWELS[vowel])
        harmonics = np.arange(1, 1900 // pitch)
        heights = np.exp(-(((harmonics * pitch - first) / 120) ** 2)) + 0.6 * np.exp(-(((harmonics * pitch - second) / 150) ** 2))
        voice = (heights[:, None] * np.sin(2 * np.pi * harmonics[:, None] * pitch * t + rng.uniform(0, 6.28))).sum(0)
        clip[at : at + length] += voice * np.hanning(length)
        at += length
    return clip


class Commands(Dataset):
    """Clips and which command each one is."""

    def __init__(self, clips_each, seed):
        rng = np.random.default_rng(seed)
        waves, labels = [], []
        for label, command in enumerate(COMMANDS):
            for _ in range(clips_each):
                waves.append(say(command, rng))
                labels.append(label)
        order = rng.permutation(len(waves))
        self.waves = torch.tensor(np.stack(waves)[order], dtype=torch.float32)
        self.labels = torch.tensor(np.array(labels)[order])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.waves[i], self.labels[i]


class LogSpectrogram(nn.Module):
    def __init__(self, n_fft=128, hop=64):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, wave):
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True)
        return (spectrum.abs() ** 2 + 1e-3).log()[:, :60]


class Spotter(nn.Module):
    def __init__(self, channels=32, hidden=32, drop=0.3):
        super().__init__()
        self.spectrogram = LogSpectrogram()
        self.conv1 = nn.Conv1d(60, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm1d(channels)
        self.conv2 = nn.Conv1d(channels, channels, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm1d(channels)
        self.gru = nn.GRU(channels, hidden, batch_first=True)
        self.head = nn.Linear(hidden, len(COMMANDS))
        self.drop = drop

    def forward(self, wave):
        h = F.relu(self.bn1(self.conv1(self.spectrogram(wave))))
        h = F.relu(self.bn2(self.conv2(h)))
        h = F.dropout(h, self.drop, self.training)
        frames, _ = self.gru(h.transpose(1, 2))
        return self.head(frames[:, -1])


class Trainer:
    def __init__(self, net, train_set, test_set):
        self.net = net
        self.train_loader = DataLoader(train_set, batch_size=24, shuffle=True)
        self.test_loader = DataLoader(test_set, batch_size=1)  # as a device hears them: one by one
        self.opt = torch.optim.Adam(net.parameters(), lr=3e-3)
        self.loss = nn.CrossEntropyLoss()

    def train_epoch(self):
        self.net.train()
        for wave, label in self.train_loader:
            self.opt.zero_grad()
            loss = self.loss(self.net(wave), label)
            loss.backward()
            self.opt.step()
        return loss.item()

    @torch.inference_mode()
    def test(self):
        self.net.eval()
        right = 0
        for wave, label in self.test_loader:
            right += (self.net(wave).argmax(1) == label).sum().item()
        return right / len(self.test_loader.dataset)


def main():
    torch.manual_seed(3)
    trainer = Trainer(Spotter(), Commands(160, seed=1), Commands(40, seed=2))
    for epoch in range(1, 7):
        loss = trainer.train_epoch()
        print(f"[{epoch}] loss {loss:.3f}  commands understood {trainer.test():.4f}")


if __name__ == "__main__":
    main()
