# %% Who is at risk? Time to readmission of patients, with censoring: a small network and Cox's partial likelihood.
import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import nn

torch.manual_seed(5)
rng = np.random.default_rng(5)

# %% The records: age, potassium (too low and too high are both bad), creatinine, platelets, systolic pressure, visits
N = 5000
age = rng.normal(62, 13, N).clip(20, 95)
potassium = rng.normal(4.2, 0.6, N)
creatinine = rng.lognormal(4.5, 0.4, N)
platelets = rng.normal(245_000, 60_000, N).clip(20_000)
pressure = rng.normal(128, 18, N)
visits = rng.poisson(2.0, N)
hazard = (
    0.035 * (age - 62)
    + 2.2 * (potassium - 4.2) ** 2
    + 0.8 * np.log(creatinine / 90)
    + 0.0012 * (pressure - 128) ** 2
    - 0.000_004 * (platelets - 245_000)
    + 0.15 * visits
)
event_time = rng.exponential(np.exp(-hazard)) * 300
censor_time = rng.uniform(20, 700, N)
days = np.minimum(event_time, censor_time)
seen = event_time <= censor_time

X = np.stack([age, potassium, creatinine, platelets, pressure, visits], axis=1)
X_rest, X_test, days_rest, days_test, seen_rest, seen_test = train_test_split(X, days, seen, test_size=0.2, random_state=1)
X_fit, X_val, days_fit, days_val, seen_fit, seen_val = train_test_split(
    X_rest, days_rest, seen_rest, test_size=0.15, random_state=2
)

# %% Scale by the patients that are fitted
mean, std = X_fit.mean(0), X_fit.std(0)


def tensors(x, t, e):
    z = (x - mean) / std
    return [torch.as_tensor(a, dtype=torch.float32) for a in (z, t, e)]


fit = tensors(X_fit, days_fit, seen_fit)
val = tensors(X_val, days_val, seen_val)
test = tensors(X_test, days_test, seen_test)


# %%
class RiskNet(nn.Module):
    def __init__(self, n_in, width=32):
        super().__init__()
        self.one = nn.Linear(n_in, width)
        self.two = nn.Linear(width, width)
        self.out = nn.Linear(width, 1, bias=False)

    def forward(self, x):
        h = torch.tanh(self.one(x))
        h = torch.tanh(self.two(h))
        return self.out(h).squeeze(1)


def cox_loss(risk, t, e):
    """Negative partial log-likelihood: at each event the patient's risk against that of all who were still there."""
    order = t.argsort(descending=True)
    risk, e = risk[order], e[order]
    return -((risk - risk.logcumsumexp(0)) * e).sum() / e.sum()


@torch.no_grad()
def discordance(model, x, t, e):
    """Share of the comparable pairs that are put in the wrong order; a tie counts half."""
    model.eval()
    risk = model(x)
    comparable = (t[:, None] < t[None, :]) & (e[:, None] > 0)
    lead = risk[:, None] - risk[None, :]
    return ((lead < 0).float() + 0.5 * (lead == 0).float())[comparable].mean().item()


# %%
model = RiskNet(X.shape[1])
opt = torch.optim.Adam(model.parameters(), lr=4e-3)
BATCH, EPOCHS = 100, 15

for epoch in range(EPOCHS):
    model.train()
    mean_loss = 0.0
    batches = torch.randperm(len(fit[0])).split(BATCH)
    for rows in batches:
        loss = cox_loss(model(fit[0][rows]), fit[1][rows], fit[2][rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
        mean_loss += loss.item() / len(batches)
    if epoch % 3 == 2:
        print(f"epoch {epoch + 1:2d}: loss {mean_loss:.4f}, discordance val {discordance(model, *val):.4f}")

# %%
print("discordance, test patients:", round(discordance(model, *test), 4))
