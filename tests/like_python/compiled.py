"""torch.compile: nothing breaks the graph, and it is compiled as often as ever."""

import torch
import torch._dynamo
import torch._dynamo.testing

torch.manual_seed(0)
counter = torch._dynamo.testing.CompileCounter()
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


@torch.compile(backend=counter, fullgraph=True)
def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(model(x), y)


for _ in range(5):
    optimizer.zero_grad()
    loss = loss_of(torch.ones(4, 3), torch.zeros(4, dtype=torch.long))
    loss.backward()
    optimizer.step()
    print(f"{loss.item():.6f}")
print(counter.frame_count, counter.op_count)
