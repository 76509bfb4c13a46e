"""`torch.multiprocessing.spawn`: children train, and the traceback of the one that fails is told in the parent."""

import torch
import torch.multiprocessing


def work(rank: int, count: int) -> None:
    model = torch.nn.Linear(2, 2)
    for _ in range(count):
        model(torch.ones(1, 2)).sum().backward()
    print("worked", rank, flush=True)
    if count == 2:
        raise ArithmeticError("diverged")


if __name__ == "__main__":
    torch.multiprocessing.spawn(work, args=(3,), nprocs=1)
    try:
        torch.multiprocessing.start_processes(work, args=(2,), nprocs=1, start_method="fork")
    except torch.multiprocessing.ProcessRaisedException as problem:
        print(problem)
