"""Classes and models of `__main__` are pickled by their names, with nothing foreign in them."""

import copy
import pickle
import pickletools

import torch


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).sigmoid()


torch.manual_seed(0)
net = Net()
optimizer = torch.optim.Adam(net.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
for _ in range(4):
    optimizer.zero_grad()
    net(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
for thing in (Net, net, optimizer, scheduler.state_dict(), torch.nn.functional.mse_loss, torch.nn.CrossEntropyLoss()):
    text = pickle.dumps(thing)
    words = {argument for _, argument, _ in pickletools.genops(text) if isinstance(argument, str)}
    print(type(pickle.loads(text)), sorted(words - {"Net"})[:40])
    copy.deepcopy(thing)
