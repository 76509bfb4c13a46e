# Which of five soils? Field sensors, a plain network, and a running average of its weights that is what gets used.
import copy

import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

KEEP = 0.97  # of the average, at every step


def sensors(seed):
    x, y = make_classification(
        n_samples=5200, n_features=18, n_informative=9, n_redundant=4, n_classes=5,
        n_clusters_per_class=2, class_sep=1.9, flip_y=0.01, random_state=seed,
    )  # fmt: skip
    x_fit, x_rest, y_fit, y_rest = train_test_split(x, y, test_size=1600, stratify=y, random_state=seed)
    x_val, x_test, y_val, y_test = train_test_split(x_rest, y_rest, test_size=1000, stratify=y_rest, random_state=seed)
    scaler = StandardScaler().fit(x_fit)

    def ready(x, y):
        return torch.from_numpy(scaler.transform(x)).float(), torch.from_numpy(y)

    return ready(x_fit, y_fit), ready(x_val, y_val), ready(x_test, y_test)


def network():
    return torch.nn.Sequential(
        torch.nn.Linear(18, 64),
        torch.nn.ELU(),
        torch.nn.Linear(64, 64),
        torch.nn.ELU(),
        torch.nn.Dropout(0.1),
        torch.nn.Linear(64, 5),
    )


@torch.no_grad()
def follow(average, net):
    for slow, fast in zip(average.parameters(), net.parameters()):
        slow.lerp_(fast, 1 - KEEP)


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(dim=1) == y).float().mean().item()


torch.manual_seed(37)
fit, val, test = sensors(37)
net = network()
average = copy.deepcopy(net).requires_grad_(False)
loss_fn = torch.nn.CrossEntropyLoss()
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*fit), batch_size=60, shuffle=True)

for epoch in range(12):
    net.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        follow(average, net)
    print(f"epoch {epoch}: validation accuracy {accuracy(net, *val):.4f}, of the average {accuracy(average, *val):.4f}")

print(f"test accuracy of the average: {accuracy(average, *test):.4f}")
