# How wide is a cloud of points?  The logarithm of its spread (in decimetres), from a set of 6 to 20 points, whatever
# their order; the scanner gives places in millimetres from the corner of its table.
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.manual_seed(4)


def make_clouds(n):
    clouds = []
    for _ in range(n):
        size = int(torch.randint(6, 21, ()))
        spread = torch.empty(()).uniform_(-1.0, 1.0).exp()
        centre = torch.randn(3) * 0.7
        points = centre + spread * torch.randn(size, 3)
        target = points.sub(points.mean(0)).pow(2).sum(1).mean().sqrt().log()
        clouds.append((500.0 + 100.0 * points, target))
    return clouds


def collate(batch):
    sets, targets = zip(*batch)
    sets = [(s - 500.0) / 100.0 for s in sets]
    lengths = torch.tensor([len(s) for s in sets])
    padded = pad_sequence(sets, batch_first=True)
    mask = torch.arange(padded.shape[1])[None, :] < lengths[:, None]
    return padded, mask, torch.stack(targets)


class DeepSets(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.rho = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))

    def forward(self, points, mask):
        b, n, _ = points.shape
        each = self.phi(points.reshape(b * n, 3)).view(b, n, -1)
        each = each * mask[:, :, None]
        pooled = each.sum(1) / mask.sum(1, keepdim=True)
        return self.rho(pooled).squeeze(1)


train_clouds, val_clouds = make_clouds(1500), make_clouds(400)
train_loader = DataLoader(train_clouds, batch_size=50, shuffle=True, collate_fn=collate)
val_loader = DataLoader(val_clouds, batch_size=200, collate_fn=collate)

net = DeepSets()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.9)


def mse(pred, target):
    return ((pred - target) ** 2).mean()


for epoch in range(16):
    net.train()
    seen = 0.0
    for points, mask, target in train_loader:
        loss = mse(net(points, mask), target)
        opt.zero_grad()
        loss.backward()
        opt.step()
        seen += loss.item() * len(target)
    sched.step()
    net.eval()
    with torch.no_grad():
        preds, targets = zip(*[(net(p, m).flatten(), t) for p, m, t in val_loader])
        val = (torch.cat(preds) - torch.cat(targets)).pow(2).mean().item()
    print("epoch", epoch, "train", round(seen / len(train_clouds), 5), "val", round(val, 5))
