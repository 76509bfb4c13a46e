"""What is registered with atexit runs last in, first out, also after an exception; and `__del__` still speaks."""

import atexit

import torch


class Log:
    def __del__(self) -> None:
        print("log closed")


atexit.register(print, "registered before torch")
model = torch.nn.Linear(2, 2)
model(torch.ones(1, 2)).sum().backward()
torch.optim.Adam(model.parameters()).step()
atexit.register(print, "registered after torch")
log = Log()
atexit.register(lambda: print(model(torch.ones(1, 2)).shape))
raise SystemExit(4)
