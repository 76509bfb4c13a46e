"""torch.jit and torch.fx read functions by their source and identity: both still do."""

import warnings

import torch
import torch.nn.functional as F

warnings.simplefilter("ignore")


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(F.relu(self.layer(x)), y) + F.mse_loss(x, x * 2)


torch.manual_seed(0)
net, x, y = Net(), torch.ones(4, 3), torch.zeros(4, dtype=torch.long)
traced, scripted = torch.fx.symbolic_trace(net), torch.jit.script(net)
print(traced.code)
print(scripted.code)
for step in (net, traced, scripted):
    loss = step(x, y)
    loss.backward()
    print(f"{loss.item():.6f}")
print(torch.func.vmap(lambda row: net.layer(row).sum())(x).shape, torch.func.grad(lambda w: (w * x).sum())(x).shape)
