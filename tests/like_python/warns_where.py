"""torch's warnings name the user's line, and come once a line: broadcasting losses, schedulers stepped too early."""

import torch
import torch.nn.functional as F

model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
scheduler.step()
for _ in range(3):
    F.mse_loss(model(torch.ones(4, 3)), torch.zeros(4)).backward()
    optimizer.step()
    scheduler.step()
F.l1_loss(model(torch.ones(4, 3)), torch.zeros(4))
F.smooth_l1_loss(model(torch.ones(4, 3)), torch.zeros(4))
F.kl_div(model(torch.ones(4, 3)), torch.zeros(4, 1))
F.softmax(model(torch.ones(4, 3)))
torch.nn.MSELoss(size_average=True)
