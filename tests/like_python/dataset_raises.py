"""A dataset whose `__getitem__` raises, read in the main process."""

import torch
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 9:
            raise FileNotFoundError(f"image_{index}.png")
        return torch.full((4,), float(index))


model = torch.nn.Linear(4, 1)
for batch in DataLoader(Numbers(), batch_size=4):
    model.zero_grad()
    model(batch).mean().backward()
    print("step")
