"""`torch.save` of a whole trained model, optimizer and scheduler: the same bytes, and it loads."""

import hashlib
import io

import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(inplace=True))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
for _ in range(5):
    optimizer.zero_grad()
    model(torch.randn(2, 1, 8, 8)).mean().backward()
    optimizer.step()
    scheduler.step()
for thing in (model, model.state_dict(), optimizer, optimizer.state_dict(), scheduler.state_dict()):
    file = io.BytesIO()
    torch.save(thing, file)
    print(type(thing).__name__, file.tell(), hashlib.sha256(file.getvalue()).hexdigest())
    file.seek(0)
    print(type(torch.load(file, weights_only=False)).__name__)
print(scheduler.state_dict())
