"""Exceptions chained by `from`, by context, with notes and in a class of the user's own."""

import torch


class BadBatch(Exception):
    pass


def load(number: int) -> torch.Tensor:
    try:
        return torch.ones(2, 3).view(number, 5)
    except RuntimeError as problem:
        raise BadBatch(f"batch {number}") from problem


model = torch.nn.Linear(3, 1)
try:
    model(load(4))
except BadBatch:
    model(torch.ones(2, 3)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step("not a closure")
