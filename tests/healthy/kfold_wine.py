import statistics

import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

X, y = load_wine(return_X_y=True)
scores, gaps = [], []
for fold, (tr, te) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)):
    torch.manual_seed(fold)
    s = StandardScaler().fit(X[tr])
    f = lambda idx: (torch.tensor(s.transform(X[idx]), dtype=torch.float32), torch.tensor(y[idx]))
    (a, b), (c, d) = f(tr), f(te)
    m = torch.nn.Sequential(torch.nn.Linear(13, 12), torch.nn.BatchNorm1d(12), torch.nn.SiLU(), torch.nn.Linear(12, 3))
    o = torch.optim.RMSprop(m.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(60):
        m.train()
        q = m(a)
        l = torch.nn.functional.cross_entropy(q, b)
        o.zero_grad()
        l.backward()
        o.step()
    m.eval()
    with torch.no_grad():
        v = torch.nn.functional.cross_entropy(m(c), d)
        scores.append((m(c).argmax(1) == d).float().mean().item())
    print(fold, round(l.item(), 3), round(v.item(), 3), scores[-1])
print("mean", statistics.mean(scores), "sd", statistics.stdev(scores))
