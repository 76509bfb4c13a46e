"""Ratings by users and films: factors and biases, learned with AdamW; the test ratings are other pairs of the same people."""

import torch
from torch import nn

USERS, FILMS, FACTORS = 200, 120, 6
EPOCHS, BATCH = 20, 128


class Ratings:
    """Pairs of users and films, and the stars given, made by people with three tastes."""

    def __init__(self, count=9000, test=1500, seed=21):
        g = torch.Generator().manual_seed(seed)
        taste, kind = torch.randn(USERS, 3, generator=g), torch.randn(FILMS, 3, generator=g)
        mildness, fame = 0.4 * torch.randn(USERS, generator=g), 0.5 * torch.randn(FILMS, generator=g)
        pairs = torch.randperm(USERS * FILMS, generator=g)[:count]
        self.user, self.film = pairs // FILMS, pairs % FILMS
        liking = (taste[self.user] * kind[self.film]).sum(1) * 0.6
        stars = 3.2 + liking + mildness[self.user] + fame[self.film] + 0.25 * torch.randn(count, generator=g)
        self.stars = stars
        self.train_rows, self.test_rows = slice(0, count - test), slice(count - test, count)

    def rows(self, which):
        return self.user[which], self.film[which], self.stars[which]


class Factors(nn.Module):
    def __init__(self, typical):
        super().__init__()
        self.user, self.film = nn.Embedding(USERS, FACTORS), nn.Embedding(FILMS, FACTORS)
        self.user_bias, self.film_bias = nn.Embedding(USERS, 1), nn.Embedding(FILMS, 1)
        for table in (self.user, self.film):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.user_bias, self.film_bias):
            nn.init.zeros_(table.weight)
        self.register_buffer("typical", torch.tensor(typical))

    def forward(self, user, film):
        match = (self.user(user) * self.film(film)).sum(1)
        bias = self.user_bias(user).squeeze(1) + self.film_bias(film).squeeze(1)
        return self.typical + bias + match


def squared(error):
    return (error**2).mean()


def fit(ratings, model, opt, sched):
    user, film, stars = ratings.rows(ratings.train_rows)
    test_user, test_film, test_stars = ratings.rows(ratings.test_rows)
    for epoch in range(EPOCHS):
        train = 0.0
        for idx in torch.randperm(len(stars)).split(BATCH):
            loss = squared(model(user[idx], film[idx]) - stars[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            train += loss.item() * len(idx) / len(stars)
        sched.step()
        with torch.no_grad():
            test = squared(model(test_user, test_film) - test_stars).item()
        print(f"{epoch=} {train=:.4f} {test=:.4f}")


torch.manual_seed(21)
ratings = Ratings()
model = Factors(ratings.stars[ratings.train_rows].mean().item())
opt = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.9)
fit(ratings, model, opt, sched)
