"""An LSTM starts with its forget gates half shut, so that it forgets before it can learn to remember.

Seen as a recurrent network that learns what lies a few steps back and nothing that lies farther, with gradients that
all but vanish on their way back in time.

Hurts because what is left of a memory after T steps is f^T, f = sigmoid(b_ih + b_hh + ...). At the usual start the
sum of the two biases is near 0, so f = 0.5 and f^20 = 1e-6; with a sum of 1, f = 0.73 and a memory's half-life is 2.2
steps, with 3 it is 14, with 5 it is 103.

Helped by starting the forget gate's bias at 1 or more. PyTorch adds two biases and orders the gates i, f, g, o:

    with torch.no_grad():
        lstm.bias_hh_l0[hidden : 2 * hidden].fill_(1.0)

No fault when nothing has to be remembered for more than a few steps; so, from source alone, this is only a note. A bias
far below zero is one whatever is learnt: no start gives it.

Sources: R. Jozefowicz, W. Zaremba and I. Sutskever, "An Empirical Exploration of Recurrent Network Architectures"
(2015); C. Tallec and Y. Ollivier, "Can recurrent neural networks warp time?" (2018).
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Fact, Record
    from torchdx.source import Call, Program

code, family, severity = "TDX302", "activations", "warning"
needs = frozenset({"outputs"})
explains = frozenset({"vanishing-gradient", "not-learning"})

INITIALISES = re.compile(rb"bias_(ih|hh)|forget|[\"']bias|all_weights|chrono|load_state_dict|from_pretrained")

OPEN = 0.5
"""Forget-gate bias below which the gate starts half shut or worse (catalogue, row 50)."""

LONG = 20
"""Steps from which a half-shut gate keeps less than a millionth: 0.5^20 = 9.5e-7 (catalogue, row 50)."""

KEPT = 1e-3
"""Share of a memory, in the best unit at any look, below which the start of a sequence is out of reach (row 50)."""

SHUT = -2.0
"""Mean forget-gate bias below which a gate was shut by hand, and keeps an eighth of a memory a step at most: then it
takes no long sequence to lose it, and what is learnt is learnt from the last steps alone. Starts lie at -0.1 to 3."""

SHORT = 4
"""Steps from which there is something to remember."""

LEARNT = 0.1
"""Share of the loss learnt away above which the memory is taken to suffice: sequences often need only their end."""

STEPS = 30
"""Optimizer steps before which nothing could have been learnt: a run that breaks off says nothing of its gates."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every LSTM in a program that nowhere sets a recurrent bias."""
    for call in program.calls("torch.nn.LSTM", "torch.nn.LSTMCell"):
        bias = call.argument(3 if call.name.endswith("LSTM") else 2, "bias")
        if call.is_certain and bias is None and not any(INITIALISES.search(text) for text in _texts(program, call)):
            yield Finding(
                message="the forget gates of this LSTM start half shut: their biases sum to about 0",
                site=call.site,
                cure="start the forget gate's part of one of the two biases at 1 or more",
                confidence=0.6,
                severity="note",
            )


def _texts(program: Program, call: Call) -> Iterator[bytes]:
    """The file of the LSTM, and those that make objects of its class."""
    yield call.file.bytes
    owner = call.function.owner if call.function is not None else None
    init = owner.method("__init__") if owner is not None else None
    for caller in program.callers(init) if init is not None else ():
        yield caller.file.bytes


def in_run(record: Record) -> Iterator[Finding]:
    """LSTMs that forget all of a long sequence, to the end of a training that learnt next to nothing."""
    for number, facts in _looks(record).items():
        layer, last = record.process.layers.get(str(number)), facts[-1]
        keeps = _kept(facts)
        gru = str(last.get("cell", "")).startswith("GRU")
        lost = not gru and last["forget_bias"][0] < OPEN and last["length"] >= LONG and keeps < KEPT
        fails = lost and record.progress.gain < LEARNT
        if layer is not None and (fails or _is_shut(facts)) and record.steps >= STEPS:
            gates = f"{'update' if gru else 'forget'} gates of {layer.name or f'this {layer.cls}'}"
            keeping = f"keep at most {keeps:.1g}" if keeps == keeps else "were shut by hand, and keep nearly nothing"
            yield Finding(
                message=f"the {gates} {keeping} of a memory over "
                f"{last['length']} steps{', and nothing is learnt' if fails else ''}",
                site=layer.site,
                layer=layer.name,
                evidence={
                    "forget-gate bias (sum of both)": last["forget_bias"][0],
                    **({"forget gate, mean": last["forget"]} if "forget" in last else {}),
                    "sequence length": last["length"],
                    **({"share kept by the best unit": keeps} if keeps == keeps else {}),
                    **_horizon(record, number),
                },
                cure=f"start the {'update' if gru else 'forget'} gate's part of one of the two biases at 1, or at "
                f"log {last['length']} = {math.log(last['length']):.1f} if the whole sequence matters",
                confidence=0.7,
            )


def _looks(record: Record) -> dict[int, list[Fact]]:
    """What was seen of each LSTM's memory."""
    looks: dict[int, list[Fact]] = {}
    for fact in record.process.all("recurrent"):
        if fact.get("forget_bias"):
            looks.setdefault(fact["module"], []).append(fact)
    return looks


def _kept(facts: Sequence[Fact]) -> float:
    """The largest share of a memory that its best unit kept; NaN where only biases are known, as of several layers."""
    return float(max((fact["keeps"] for fact in facts if "keeps" in fact), default=math.nan))


def _is_shut(facts: Sequence[Fact]) -> bool:
    """Was some layer's gate shut from the first look to the last, on sequences of some length?"""
    biases = [min(fact["forget_bias"]) for fact in facts]
    keeps = _kept(facts)
    return max(biases) < SHUT and max(fact["length"] for fact in facts) >= SHORT and not keeps >= KEPT


def _horizon(record: Record, number: int) -> dict[str, float]:
    """How far back gradients reached, where that was measured, as evidence."""
    ratios = [f["horizon"] for f in record.process.all("recurrent") if f["module"] == number and "horizon" in f]
    return {"gradient at the first step of a sequence over that at the last": median(ratios)} if ratios else {}


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """What this run reads on each threshold: the constant's name, and the number held against it."""
    looks = _looks(record).values()
    if looks:
        yield "OPEN", min(facts[-1]["forget_bias"][0] for facts in looks)
        yield "SHUT", min(max(min(fact["forget_bias"]) for fact in facts) for facts in looks)
        yield "LONG", max(facts[-1]["length"] for facts in looks)
        yield "KEPT", min(_kept(facts) for facts in looks)
        yield "LEARNT", record.progress.gain
        yield "STEPS", record.steps


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Start the forget gate's part of the second bias at 3, right after the LSTM is made."""
    call = next((c for c in program.calls("torch.nn.LSTM", "torch.nn.LSTMCell") if c.site == finding.site), None)
    statement = call.file.statement(call.node) if call is not None else None
    if call is None or not isinstance(statement, ast.Assign) or statement.value is not call.node:
        return
    func, hidden, target = call.node.func, call.argument(1, "hidden_size"), statement.targets[0]
    layers = call.argument(2, "num_layers")
    simple = layers is None or call.name.endswith("Cell") or layers.literal == 1
    if hidden is None or not simple or not isinstance(func, ast.Attribute) or isinstance(target, ast.Tuple):
        return
    owner, size = call.file.text_of(func.value), hidden.text
    size = size if isinstance(hidden.node, (ast.Name, ast.Attribute, ast.Constant)) else f"({size})"
    bias = f"{call.file.text_of(target)}.{'bias_hh' if call.name.endswith('Cell') else 'bias_hh_l0'}"
    line = f"{owner}.init.constant_({bias}[{size} : 2 * {size}], 3.0)"
    found = edits.fix("open the forget gates", call.file, [edits.insert_after(call.file, statement, line)])
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    length, hidden = 40, 32
    inputs = 0.1 * torch.randn(512, length, 1)
    labels = torch.randint(2, (512,))
    inputs[:, 0, 0] = 2.0 * labels - 1
    lstm = nn.LSTM(1, hidden, batch_first=True)  # TDX302
    head = nn.Linear(hidden, 2)
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(lstm(inputs[rows])[0][:, -1]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    length, hidden = 40, 32
    inputs = 0.1 * torch.randn(512, length, 1)
    labels = torch.randint(2, (512,))
    inputs[:, 0, 0] = 2.0 * labels - 1
    lstm = nn.LSTM(1, hidden, batch_first=True)
    with torch.no_grad():
        dict(lstm.named_parameters())["bias_hh_l0"][hidden : 2 * hidden].fill_(3.0)
    head = nn.Linear(hidden, 2)
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(lstm(inputs[rows])[0][:, -1]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
