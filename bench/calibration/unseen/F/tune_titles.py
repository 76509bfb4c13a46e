# Which title belongs to which tune? Two towers, one for contours and one for words, meet in one space
# (as CLIP does with pictures and captions). Score: how often the right one of 100 titles comes first.
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(33)
rng = np.random.default_rng(33)

MOODS = ["merry", "sad", "calm", "wild", "proud"]
FORMS = ["jig", "reel", "air", "march", "waltz"]
PLACES = ["glen", "harbour", "mill", "fair", "moor"]
FILLERS = ["the", "of", "at", "old", "a"]
WORDS = {w: i for i, w in enumerate([*MOODS, *FORMS, *PLACES, *FILLERS])}
STEPS = 32


def compose(n):
    """Mood: the slope. Form: the beat. Place: where the long note is. Played by any instrument, with mistakes."""
    mood, form, place = rng.integers(5, size=(3, n))
    t = np.arange(STEPS)
    slope = np.array([0.15, -0.15, 0.0, 0.07, -0.07])[mood, None] * (t - STEPS / 2)
    beat = 1.2 * np.cos(2 * np.pi * t / np.array([3, 4, 5, 6, 8])[form, None])
    long_note = 2.0 * np.exp(-((t - 3 - 6 * place[:, None]) ** 2) / 4)
    contour = slope + beat + long_note + 0.7 * rng.normal(size=(n, STEPS))
    titles = []
    for m, f, p in zip(mood, form, place):
        words = [MOODS[m], FORMS[f], PLACES[p], *rng.choice(FILLERS, size=2)]
        titles.append([WORDS[w] for w in rng.permutation(words)])
    return torch.tensor(contour, dtype=torch.float32), torch.tensor(titles)


class TuneTower(nn.Module):
    def __init__(self, dim, width=32):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, width, 7, padding=3), nn.GELU(), nn.Conv1d(width, width, 5, stride=2, padding=2), nn.GELU()
        )
        self.project = nn.Linear(width * STEPS // 2, dim)

    def forward(self, contour):
        h = self.conv(contour.unsqueeze(1))
        return F.normalize(self.project(h.flatten(1)), dim=1)


class TitleTower(nn.Module):
    def __init__(self, dim, width=48):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim))

    def forward(self, title):
        return F.normalize(self.mlp(self.words(title).mean(dim=1)), dim=1)


def clip_loss(a, b, temperature):
    logits = a @ b.t() / temperature
    partner = torch.arange(len(a))
    return (F.cross_entropy(logits, partner) + F.cross_entropy(logits.t(), partner)) / 2


@torch.no_grad()
def first_of_hundred(tunes, titles, tune_tower, title_tower):
    """Different tunes may have the same words in their titles: any title of the same words is right."""
    tune_tower.eval(), title_tower.eval()
    meant = titles.masked_fill(titles >= len(WORDS) - len(FILLERS), len(WORDS)).sort(dim=1).values
    hits = []
    for rows in torch.arange(len(tunes)).split(100):
        best = (tune_tower(tunes[rows]) @ title_tower(titles[rows]).t()).argmax(dim=1)
        hits.append((meant[rows][best] == meant[rows]).all(dim=1).float())
    return torch.cat(hits).mean().item()


train_tunes, train_titles = compose(3200)
test_tunes, test_titles = compose(1000)
centre, scale = train_tunes.mean(), train_tunes.std()
train_tunes, test_tunes = (train_tunes - centre) / scale, (test_tunes - centre) / scale

tune_tower, title_tower = TuneTower(dim=24), TitleTower(dim=24)
optimizer = torch.optim.AdamW([*tune_tower.parameters(), *title_tower.parameters()], lr=2e-3, weight_decay=0.01)
for epoch in range(5):
    tune_tower.train(), title_tower.train()
    for rows in torch.randperm(len(train_tunes)).split(80):
        loss = clip_loss(tune_tower(train_tunes[rows]), title_tower(train_titles[rows]), temperature=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = first_of_hundred(test_tunes, test_titles, tune_tower, title_tower)
    print(f"epoch {epoch}: last loss {loss.item():.3f}, right title first {found:.4f}")
