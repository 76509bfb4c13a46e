"""Ridge regression on the diabetes data, full batch, by L-BFGS with a closure.

The data are noisy: explaining about half of the variance is as well as anybody does.
"""

import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split


def standardise(a, like):
    return (a - like.mean(0)) / like.std(0)


torch.manual_seed(0)
X, y = load_diabetes(return_X_y=True)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, test_size=0.3, random_state=1)
x_t, x_v = (torch.tensor(standardise(a, X_train)).float() for a in (X_train, X_valid))
y_t, y_v = (torch.tensor(standardise(a, y_train)).float().unsqueeze(1) for a in (y_train, y_valid))

model = torch.nn.Linear(x_t.shape[1], 1)
loss_fn = torch.nn.MSELoss()
l2 = 0.02
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.2, max_iter=4, history_size=10)

for step in range(15):

    def closure():
        optimizer.zero_grad()
        objective = loss_fn(model(x_t), y_t) + l2 * model.weight.pow(2).sum()
        objective.backward()
        return objective

    objective = optimizer.step(closure)
    with torch.no_grad():
        train_mse, valid_mse = loss_fn(model(x_t), y_t), loss_fn(model(x_v), y_v)
        r2 = 1 - valid_mse / y_v.var(correction=0)
    print(
        f"step {step:2d}  objective {objective.item():.4f}  train mse {train_mse.item():.4f}  "
        f"valid mse {valid_mse.item():.4f}  R^2 {r2.item():.3f}"
    )
