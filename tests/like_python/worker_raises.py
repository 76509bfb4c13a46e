"""A dataset whose `__getitem__` raises, read in a worker: the worker's traceback comes inside the main one."""

import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 5:
            raise KeyError("label")
        return torch.full((4,), float(index))


if __name__ == "__main__":
    model = torch.nn.Linear(4, 1)
    for batch in DataLoader(Numbers(), batch_size=4, num_workers=1):
        model(batch).mean().backward()
        print("step", flush=True)
