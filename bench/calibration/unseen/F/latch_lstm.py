"""In which mode was the machine left? Its log, of any length, is read by an LSTM; most lines do not matter."""

import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

NOISE = [f"n{i}" for i in range(12)]
COMMANDS = ["idle", "heat", "cool", "spin"]
LOCK, UNLOCK = "lock", "unlock"
VOCABULARY = {word: i for i, word in enumerate(["<pad>", *NOISE, *COMMANDS, LOCK, UNLOCK])}


def write_log(rng):
    """While the machine is locked it takes no command; at the end it is in the mode that it took last."""
    lines, mode, locked = ["idle"], "idle", False
    for _ in range(rng.randint(6, 20)):
        draw = rng.random()
        if draw < 0.12:
            lines.append(rng.choice(COMMANDS))
            mode = mode if locked else lines[-1]
        elif draw < 0.18:
            lines.append(UNLOCK if locked else LOCK)
            locked = not locked
        else:
            lines.append(rng.choice(NOISE))
    return torch.tensor([VOCABULARY[w] for w in lines]), COMMANDS.index(mode)


def collate(batch):
    logs, modes = zip(*batch)
    return pad_sequence(logs, batch_first=True), torch.tensor([len(log) for log in logs]), torch.tensor(modes)


class LogReader(nn.Module):
    def __init__(self, emb=16, hidden=48):
        super().__init__()
        self.embed = nn.Embedding(len(VOCABULARY), emb, padding_idx=0)
        self.rnn = nn.LSTM(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, len(COMMANDS))
        self.remember()

    @torch.no_grad()
    def remember(self):
        """At the start: the input gate nearly closed, the forget gate nearly open."""
        n = self.rnn.hidden_size
        self.rnn.bias_ih_l0[:n] = -3.0
        self.rnn.bias_ih_l0[n : 2 * n] = 3.0
        self.rnn.bias_hh_l0[: 2 * n] = 0.0

    def forward(self, logs, lengths):
        packed = pack_padded_sequence(self.embed(logs), lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.rnn(packed)
        return self.out(last[-1])


def run_epoch(model, loader, crit, opt=None):
    model.train(opt is not None)
    total, correct, count = 0.0, 0, 0
    with torch.set_grad_enabled(opt is not None):
        for logs, lengths, modes in loader:
            scores = model(logs, lengths)
            loss = crit(scores, modes)
            if opt is not None:
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), max_norm=2.0)
                opt.step()
            total += loss.item() * len(modes)
            correct += (scores.argmax(dim=1) == modes).sum().item()
            count += len(modes)
    return total / count, correct / count


if __name__ == "__main__":
    torch.manual_seed(8)
    rng = random.Random(8)
    logs = [write_log(rng) for _ in range(3000)]
    train_loader = DataLoader(logs[:2400], batch_size=40, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(logs[2400:], batch_size=200, collate_fn=collate)
    model = LogReader()
    crit = nn.CrossEntropyLoss()
    opt = torch.optim.Adam(model.parameters(), lr=6e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=9)
    for epoch in range(9):
        train_loss, _ = run_epoch(model, train_loader, crit, opt)
        sched.step()
        val_loss, val_acc = run_epoch(model, val_loader, crit)
        print(f"{epoch:2d} | train {train_loss:.3f} | val {val_loss:.3f} | val accuracy {val_acc:.4f}")
