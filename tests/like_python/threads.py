"""Models trained in threads, one of which fails: the others go on, and the thread's traceback is as ever."""

import threading

import torch


def train(number: int) -> None:
    model = torch.nn.Linear(2, 1)
    for step in range(4):
        model(torch.ones(1, 2)).sum().backward()
        if (number, step) == (1, 2):
            raise RuntimeError("this thread fails")


for number in range(3):
    thread = threading.Thread(target=train, args=(number,), name=f"trainer-{number}")
    thread.start()
    thread.join()
    print(number, threading.active_count())
