"""A pool of processes started by `forkserver`, each of which trains a little."""

import multiprocessing

import torch


def train(seed: int) -> str:
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 1)
    for _ in range(4):
        model.zero_grad()
        loss = model(torch.randn(5, 3)).pow(2).mean()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
    return f"{loss.item():.6f} {__name__}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(train(0))
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        print(pool.map(train, [1, 2, 3]))
        try:
            pool.apply(train, ["not a number"])
        except Exception as problem:
            print(type(problem), problem)
