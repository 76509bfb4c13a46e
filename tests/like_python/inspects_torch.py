"""Signatures, sources, names and documents of torch's functions are torch's."""

import hashlib
import inspect
import pickle

import torch
import torch.nn.functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

things = [
    F.cross_entropy,
    F.mse_loss,
    F.nll_loss,
    F.binary_cross_entropy_with_logits,
    F.kl_div,
    F.softmax,
    torch.nn.Module.__init__,
    torch.nn.Module.train,
    torch.nn.Module.to,
    torch.nn.Module.__call__,
    torch.nn.Linear.__init__,
    SGD.__init__,
    SGD.step,
    SGD.zero_grad,
    StepLR.step,
    DataLoader.__iter__,
    torch.autograd.backward,
    torch.Tensor.backward,
]
for thing in things:
    source = hashlib.md5(inspect.getsource(thing).encode()).hexdigest()
    print(thing.__module__, thing.__qualname__, inspect.signature(thing), source, len(thing.__doc__ or ""))
for thing in (torch.Tensor.item, torch.Tensor.to, torch.Tensor.numpy, torch.Tensor.cuda):
    print(thing.__name__, inspect.isroutine(thing), len(thing.__doc__))
print(pickle.loads(pickle.dumps(F.cross_entropy)) is F.cross_entropy)
print(
    torch.overrides.is_tensor_method_or_property(torch.Tensor.item),
    F.mse_loss in torch.overrides.get_testing_overrides(),
)
