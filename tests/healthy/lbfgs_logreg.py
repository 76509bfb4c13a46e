"""Ridge-penalised logistic regression by L-BFGS, full batch, float64."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
bunch = load_breast_cancer()
A, B, a, b = train_test_split(bunch.data, bunch.target, test_size=0.25, random_state=2)
A, B, a, b = (torch.as_tensor(z, dtype=torch.float64) for z in (A, B, a, b))
mu, sd = A.mean(0), A.std(0)
A, B = (A - mu) / sd, (B - mu) / sd
w = torch.zeros(30, requires_grad=True)
c = torch.zeros((), requires_grad=True)
nll = torch.nn.functional.binary_cross_entropy_with_logits
opt = torch.optim.LBFGS([w, c], max_iter=5, line_search_fn="strong_wolfe")


def closure():
    opt.zero_grad()
    obj = nll(A @ w + c, a) + 1e-2 * w.square().sum()
    obj.backward()
    return obj


for it in range(15):
    obj = opt.step(closure)
    with torch.no_grad():
        print(
            it,
            f"{obj.item():.5f}",
            f"{nll(A @ w + c, a).item():.4f}",
            f"{nll(B @ w + c, b).item():.4f}",
            f"{(((B @ w + c) > 0) == b.bool()).double().mean().item():.3f}",
        )
