"""RankNet by hand: pairs of documents of one query, several queries to a step; the score is NDCG of held-out queries."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid


@dataclass
class Query:
    features: torch.Tensor
    relevance: torch.Tensor


def make_table(rng, queries):
    """Rows of: query, seven features, relevance from 0 to 3."""
    rows = []
    for q in range(queries):
        n = rng.integers(10, 21)
        x = rng.normal(size=(n, 7))
        use = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + np.abs(x[:, 3]) + 0.15 * rng.normal(size=n)
        relevance = np.digitize(use, [0.5, 1.2, 2.0])
        rows.append(np.column_stack([np.full(n, q), x, relevance]))
    return np.concatenate(rows)


def by_query(table):
    found = []
    for q in np.unique(table[:, 0]):
        rows = torch.tensor(table[table[:, 0] == q], dtype=torch.float32)
        if rows[:, -1].max() > rows[:, -1].min():
            found.append(Query(rows[:, 1:8], rows[:, -1]))
    return found


def pair_loss(scores, relevance):
    ahead = scores[:, None] - scores[None, :]
    better = relevance[:, None] > relevance[None, :]
    return -logsigmoid(ahead[better]).mean()


def ndcg(scores, relevance):
    discount = 1 / torch.log2(torch.arange(len(scores)) + 2.0)
    gain = 2**relevance - 1
    best = (gain.sort(descending=True).values * discount).sum()
    return ((gain[scores.argsort(descending=True)] * discount).sum() / best).item()


class Ranker:
    def __init__(self, n_features, per_step=16, lr=0.4):
        self.net = nn.Sequential(
            nn.Linear(n_features, 48),
            nn.Tanh(),
            nn.Linear(48, 32),
            nn.Tanh(),
            nn.Linear(32, 1),
        )
        self.per_step = per_step
        self.optim = torch.optim.SGD(self.net.parameters(), lr=lr, momentum=0.9)

    def epoch(self, queries):
        self.net.train()
        order = torch.randperm(len(queries)).tolist()
        total = 0.0
        for start in range(0, len(order), self.per_step):
            chosen = order[start : start + self.per_step]
            self.optim.zero_grad()
            for i in chosen:
                query = queries[i]
                loss = pair_loss(self.net(query.features).squeeze(1), query.relevance) / len(chosen)
                loss.backward()
                total += loss.item() * len(chosen)
            self.optim.step()
        return total / len(order)

    @torch.no_grad()
    def judge(self, queries):
        self.net.eval()
        return math.fsum(ndcg(self.net(q.features).squeeze(1), q.relevance) for q in queries) / len(queries)


if __name__ == "__main__":
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    learn, unseen = by_query(make_table(rng, 240)), by_query(make_table(rng, 80))
    ranker = Ranker(learn[0].features.shape[1])
    for number in range(1, 21):
        loss = ranker.epoch(learn)
        if number % 4 == 0:
            print(f"epoch {number}: pair loss {loss:.4f}, NDCG of unseen queries {ranker.judge(unseen):.4f}")
