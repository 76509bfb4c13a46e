"""Tensors, models, optimizers and loaders are freed as soon as the script lets them go."""

import gc
import weakref

import torch
from torch.utils.data import DataLoader

model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(torch.ones(8, 3), batch_size=2)
for batch in loader:
    optimizer.zero_grad()
    out = model(batch)
    loss = torch.nn.functional.cross_entropy(out, torch.zeros(2, dtype=torch.long))
    loss.backward()
    optimizer.step()
    seen = [weakref.ref(thing) for thing in (batch, out, loss)]
    del out, loss, batch
    print([ref() is None for ref in seen])
seen = [weakref.ref(thing) for thing in (loader, optimizer, model, model[0], model[0].weight)]
del loader, optimizer, model
gc.collect()
print([ref() is None for ref in seen], gc.garbage)
