"""How long an LSTM or a GRU remembers, worked out from its own gates.

What a GRU's update gate holds back is what an LSTM's forget gate keeps, and both are the second of the gates.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

_SEQUENCES = 8

Cell = nn.LSTMCell | nn.GRUCell


def cell_gate(module: Cell, length: int) -> dict[str, Any]:
    """Of a cell that was called once a step, what `forget_gates` tells of biases."""
    gate = slice(module.hidden_size, 2 * module.hidden_size)
    both = module.bias_ih.detach()[gate] + module.bias_hh.detach()[gate]
    return {"length": length, "cell": type(module).__name__, "forget_bias": [float(both.mean())]}


def is_looked_back_on(given: Any, output: Any) -> bool:
    """Are they a sequence and what torch itself gives for it, on the processor? A subclass may have its own way."""
    values = given.data if isinstance(given, PackedSequence) else given
    plain = type(values) is Tensor or isinstance(values, nn.Parameter)
    return plain and values.device.type == "cpu" and isinstance(output, tuple) and len(output) == 2


def forget_gates(module: nn.LSTM | nn.GRU, given: Tensor | PackedSequence, output: Any) -> dict[str, Any]:
    """The forget-gate bias of every layer and, for a single-layer LSTM, what its forget gates do to a memory.

    With f_t the forget gate, a memory cell keeps the share f_1 f_2 ... f_T over T steps. Told are `forget_bias` (mean
    of b_ih + b_hh over the gate, one a layer), `length` T, `forget` (geometric mean of f), and `keeps` (the largest
    share that any unit keeps over the sequence). `given` is (T, N, I), or (N, T, I) with batch_first; `output` alike.
    Of packed sequences T is the longest, and only biases are told.
    """
    hidden = module.hidden_size
    lengths = given.batch_sizes.shape if isinstance(given, PackedSequence) else given.shape
    told: dict[str, Any] = {"length": lengths[1 if module.batch_first and len(lengths) == 3 else 0]}
    told["cell"] = type(module).__name__
    if module.bias:
        gate = slice(hidden, 2 * hidden)
        told["forget_bias"] = [
            float((getattr(module, f"bias_ih_l{k}") + getattr(module, f"bias_hh_l{k}"))[gate].detach().mean())
            for k in range(module.num_layers)
        ]
    plain = module.num_layers == 1 and not module.bidirectional and not module.proj_size and len(lengths) == 3
    if plain and isinstance(given, Tensor) and given.dtype == module.weight_ih_l0.dtype:
        told |= _memory(module, given.detach(), output.detach())
    return told


def horizon(module: nn.LSTM | nn.GRU, gradient: Tensor) -> float | None:
    """RMS of the gradient with respect to the first input of a sequence over that to the last: how far back it reaches.

    None where the last input gets none, or the sequences cannot be told apart.
    """
    if gradient.dim() != 3:
        return None
    steps = gradient.transpose(0, 1) if module.batch_first else gradient
    first, last = (float(steps[k].float().square().mean().sqrt()) for k in (0, -1))
    return first / last if last > 0 and math.isfinite(first / last) else None


def _memory(module: nn.LSTM | nn.GRU, given: Tensor, output: Tensor) -> dict[str, float]:
    if module.batch_first:
        given, output = given.transpose(0, 1), output.transpose(0, 1)
    given, output = given[:, :_SEQUENCES], output[:, :_SEQUENCES]
    gate = slice(module.hidden_size, 2 * module.hidden_size)
    with torch.no_grad():
        weights = [p[gate] for p in module.parameters()]  # weight_ih, weight_hh, and with bias bias_ih, bias_hh
        drive = given[1:] @ weights[0].T + output[:-1] @ weights[1].T + sum(weights[2:])
        log_forget = nn.functional.logsigmoid(drive.float())
    if log_forget.numel() == 0:
        return {}
    kept = log_forget.sum(0).mean(0)  # over time, then over sequences: one a unit
    return {"forget": math.exp(float(log_forget.mean())), "keeps": math.exp(float(kept.max()))}
