"""Matrix factorisation with sparse embeddings: ratings of 200 films by 300 people."""

import torch
from torch import nn


class MatrixFactorization(nn.Module):
    def __init__(self, n_users, n_items, n_factors=4, mean=0.0):
        super().__init__()
        self.user_factors = nn.Embedding(n_users, n_factors, sparse=True)
        self.item_factors = nn.Embedding(n_items, n_factors, sparse=True)
        self.user_bias = nn.Embedding(n_users, 1, sparse=True)
        self.item_bias = nn.Embedding(n_items, 1, sparse=True)
        for e in (self.user_factors, self.item_factors):
            nn.init.normal_(e.weight, std=0.1)
        for e in (self.user_bias, self.item_bias):
            nn.init.zeros_(e.weight)
        self.register_buffer("mean", torch.tensor(mean))

    def forward(self, user, item):
        dot = (self.user_factors(user) * self.item_factors(item)).sum(1)
        return self.mean + dot + self.user_bias(user).squeeze(1) + self.item_bias(item).squeeze(1)


def simulate(n_users=300, n_items=200, n_ratings=24000, k=3):
    u, v = torch.randn(n_users, k) * 0.6, torch.randn(n_items, k) * 0.6
    bu, bi = torch.randn(n_users) * 0.4, torch.randn(n_items) * 0.5
    pairs = torch.randperm(n_users * n_items)[:n_ratings]
    users, items = pairs // n_items, pairs % n_items
    ratings = 3.4 + (u[users] * v[items]).sum(1) + bu[users] + bi[items] + 0.25 * torch.randn(n_ratings)
    return users, items, ratings


torch.manual_seed(17)
users, items, ratings = simulate()
cut = 20000
model = MatrixFactorization(300, 200, mean=ratings[:cut].mean().item())
optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=0.01)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [8, 11], gamma=0.3)
loss_func = nn.MSELoss()

prior = ratings[:cut].var().item()
print("variance of the ratings", round(prior, 3))
for epoch in range(12):
    order = torch.randperm(cut)
    running = 0.0
    for b in order.split(250):
        optimizer.zero_grad()
        loss = loss_func(model(users[b], items[b]), ratings[b])
        loss.backward()
        optimizer.step()
        running += loss.item() * len(b)
    scheduler.step()
    with torch.no_grad():
        val = loss_func(model(users[cut:], items[cut:]), ratings[cut:]).item()
    print(f"epoch {epoch}: train mse {running / cut:.4f}  val mse {val:.4f}")
