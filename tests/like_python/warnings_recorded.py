"""Warnings recorded, silenced, turned to errors and shown by the script's own function."""

import warnings

import torch
import torch.nn.functional as F

x, y = torch.zeros(3, 1, requires_grad=True), torch.zeros(3)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(2):
        F.mse_loss(x, y).backward()
    warnings.warn("the user's own", DeprecationWarning, stacklevel=1)
print([(w.category.__name__, str(w.message)[:40], w.lineno, w.filename == __file__) for w in seen])
with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        F.mse_loss(x, y)
    except UserWarning as problem:
        print("raised", problem.__traceback__.tb_lineno, problem.__traceback__.tb_next.tb_frame.f_code.co_name)
warnings.showwarning = lambda message, kind, file, line, *_: print("shown", kind.__name__, line)
F.mse_loss(x, y)
print(len(warnings.filters), warnings.showwarning is warnings._showwarnmsg_impl)
