"""DataLoader workers: the batches, their order and the workers' own settings are as ever."""

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info


class Numbers(Dataset[tuple[torch.Tensor, int]]):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        info = get_worker_info()
        return torch.rand(2) + index, -1 if info is None else info.id


if __name__ == "__main__":
    torch.manual_seed(3)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    loader = DataLoader(Numbers(), batch_size=4, shuffle=True, num_workers=2, persistent_workers=True)
    print(len(loader), sorted(vars(loader)), type(iter(loader)).__name__)
    for epoch in range(2):
        for batch, workers in loader:
            optimizer.zero_grad()
            model(batch).mean().backward()
            optimizer.step()
            print(epoch, batch.sum().item(), workers.tolist())
    print(torch.rand(1).item())
