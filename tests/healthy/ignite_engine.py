"""The wines under Ignite: an Engine with a process function, events, metrics and a learning-rate schedule."""

import torch
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.handlers import PiecewiseLinear
from ignite.metrics import Accuracy, Loss
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(11)
x, y = load_wine(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=2, stratify=y)
scaler = StandardScaler().fit(x_train)


def as_dataset(features, labels):
    return TensorDataset(torch.tensor(scaler.transform(features), dtype=torch.float32), torch.tensor(labels))


train_loader = DataLoader(as_dataset(x_train, y_train), batch_size=16, shuffle=True)
test_loader = DataLoader(as_dataset(x_test, y_test), batch_size=54)
model = nn.Sequential(nn.Linear(13, 24), nn.Tanh(), nn.Linear(24, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
loss_fn = nn.CrossEntropyLoss()


def update(engine, batch):
    model.train()
    optimizer.zero_grad()
    features, labels = batch
    loss = loss_fn(model(features), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


trainer = Engine(update)
evaluator = create_supervised_evaluator(model, metrics={"accuracy": Accuracy(), "nll": Loss(loss_fn)})
schedule = PiecewiseLinear(optimizer, "lr", [(0, 0.05), (80, 0.05), (160, 0.005)])
trainer.add_event_handler(Events.ITERATION_STARTED, schedule)


@trainer.on(Events.EPOCH_COMPLETED(every=5))
def validate(engine):
    evaluator.run(test_loader)
    metrics = evaluator.state.metrics
    print(f"epoch {engine.state.epoch}: accuracy {metrics['accuracy']:.3f}, loss {metrics['nll']:.3f}")


trainer.run(train_loader, max_epochs=20)
