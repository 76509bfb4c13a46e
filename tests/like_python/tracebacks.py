"""Tracebacks and stacks that the script itself prints have its frames and torch's, and no others."""

import inspect
import traceback

import torch


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        print("init:", [frame.function for frame in inspect.stack()])
        self.layer = torch.nn.Linear(2, 2)

    def train(self, mode: bool = True) -> "Net":
        print("train:", [frame.function for frame in inspect.stack()])
        return super().train(mode)


class Plain(torch.optim.SGD):
    def step(self, closure: object = None) -> None:
        print("step:", [line.name for line in traceback.extract_stack()])
        super().step()


net = Net().eval()
optimizer = Plain(net.parameters(), lr=0.1)
for _ in range(3):
    net.layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
try:
    torch.nn.functional.cross_entropy(torch.ones(2, 3), torch.ones(3, dtype=torch.long))
except ValueError:
    print(traceback.format_exc())
    traceback.print_stack()
