"""`view` or `reshape` is used to exchange dimensions, which only `permute` and `transpose` do.

Seen as a network that learns far worse than it should, though all shapes are right and nothing complains: pictures look
like several small ones in stripes, and a sample's features hold parts of other samples.

Hurts because `view` and `reshape` leave all numbers in their order and only cut the row of them anew. Of a batch
(N, C, H, W), `view(N, H, W, C)` has in its last dimension not the C channels of one pixel, but C neighbouring pixels of
one channel. The last states of a recurrent layer, (layers, N, hidden), become under `view(N, -1)` rows in which
different samples are mixed.

Helped by `x.permute(0, 2, 3, 1)`; by `h.transpose(0, 1).reshape(N, -1)`; where dimensions are to be joined as well, by
`permute` first and `reshape` then.

No fault when the order stays, as in `view(N, C, H * W)`, or dimensions are cut into parts on purpose, as for the heads
of an attention, or all but one of those exchanged are 1.

Sources: PyTorch documentation, `torch.Tensor.view` and `torch.nn.LSTM`, "Outputs"; numpy documentation, `reshape`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.reading import words
from torchdx.source.scales import KEEPING, divides_by_255
from torchdx.source.tensors import is_tensor
from torchdx.source.turning import Scramble, is_rest, number_in, place_of, reordered, turned
from torchdx.source.values import Instance, Item, Result, Value, literal
from torchdx.source.walks import walk

if TYPE_CHECKING:
    from torchdx.source import Program

code, family, severity = "TDX510", "data", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"not-learning", "batch-mixing", "labels-unrelated"})

RECURRENT = re.compile(rb"\b(LSTM|GRU|RNN)\b")
PICTURES = ("cv2.imread", "PIL.Image.open", "imageio.imread", "matplotlib.pyplot.imread", "skimage.io.imread")
FOLLOWED = (KEEPING - words("view reshape flatten squeeze unsqueeze permute transpose")) | words(
    "cvtColor convert resize"
)


def in_source(program: Program) -> Iterator[Finding]:
    """Every change of shape that certainly puts the numbers of one dimension into another."""
    for call in program.calls_named("view", "reshape"):
        found = _scramble(call)
        if found is not None:
            yield Finding(
                message=f"`{' '.join(call.text.split())[:60]}` {found.message}",
                site=call.site,
                cure=f"use `{found.cure}`",
                confidence=found.confidence,
            )


def _scramble(call: Call) -> Scramble | None:
    sizes = _sizes(call.node)
    if len(sizes) < 2 or call.receiver is None or call.name:
        return None
    if isinstance(call.receiver.node, ast.Name) and any(isinstance(size, ast.Name) for size in sizes):
        found = reordered(call, call.receiver.node, sizes)
        if found is not None:
            return found
    found = turned(call, sizes)
    if found is not None:
        return found
    if len(sizes) == 2 and RECURRENT.search(call.file.bytes):
        return _mixed_states(call, sizes[0])
    if len(sizes) > 2 and any(number_in(size) in (1, 3) for size in sizes[:-2]):
        return _striped_picture(call, sizes)
    return None


def _sizes(node: ast.Call) -> list[ast.expr]:
    """The sizes asked for, given one by one or as a tuple."""
    if node.keywords or not node.args:
        return []
    first = node.args[0]
    return list(first.elts) if len(node.args) == 1 and isinstance(first, ast.Tuple | ast.List) else node.args


# The last states of a recurrent layer


def _mixed_states(call: Call, size: ast.expr) -> Scramble | None:
    receiver = call.receiver
    if receiver is None or isinstance(size, ast.Constant) or re.search(r"layer|direction", call.file.text_of(size)):
        return None
    if is_rest(size) or place_of(size, receiver.text) == 0:  # they may stay as they are, one layer after the other
        return None
    layers = [_layer_of_states(choice) for choice in receiver.value.alternatives()]
    if not layers or not all(layer is not None and _has_several(layer) for layer in layers):
        return None
    return Scramble(
        "mixes samples: the last states are (layers, N, hidden), not (N, layers, hidden)",
        f"{receiver.text}.transpose(0, 1).reshape({call.file.text_of(size)}, -1)",
    )


def _layer_of_states(value: Value) -> Instance | None:
    """The recurrent layer whose last states (an LSTM's or a GRU's) the value is."""
    if not isinstance(value, Item):
        return None
    inner = value.of
    lstm = isinstance(inner, Item) and value.key in (0, 1)
    outer = inner if lstm and isinstance(inner, Item) else value
    kinds = ("torch.nn.LSTM",) if lstm else ("torch.nn.GRU", "torch.nn.RNN")
    made = outer.of
    return made.module if isinstance(made, Result) and outer.key == 1 and made.dotted in kinds else None


def _has_several(layer: Instance) -> bool:
    """Has it more layers than one, or both directions?"""
    call = layer.call
    if call is None:
        return False
    count = literal(call.argument_value(2, "num_layers"))
    return (isinstance(count, int) and count > 1) or literal(call.argument_value(6, "bidirectional")) is True


# A picture as it is read from a file


def _striped_picture(call: Call, sizes: list[ast.expr]) -> Scramble | None:
    """Height, width, channels, cut as if it were channels, height, width."""
    receiver = call.receiver
    place = next((k for k, size in enumerate(sizes[:-2]) if number_in(size) == 3), None)
    if receiver is None or place != len(sizes) - 3 or not all(_is_picture(v) for v in receiver.value.alternatives()):
        return None
    turned = "permute" if is_tensor(receiver.value) else "transpose"
    return Scramble(
        "cuts a picture of (height, width, 3) into stripes: it does not bring its channels to the front",
        f"{receiver.text}.{turned}(2, 0, 1)" + "[None]" * (len(sizes) - 3),
    )


@walk(False)
def _is_picture(value: Value) -> bool:
    """Is it certainly a picture just as it was read, in colour and with its channels last?"""
    scaled = divides_by_255(value)
    if scaled is not None:
        return _is_picture(scaled)
    if not isinstance(value, Result):
        return False
    if value.dotted in PICTURES:
        return value.dotted != "cv2.imread" or len(value.call.node.args) == 1
    if value.dotted.rpartition(".")[2] == "convert" and literal(value.call.argument_value(0)) != "RGB":
        return False
    follows = value.dotted.rpartition(".")[2] in FOLLOWED
    return follows and all(_is_picture(choice) for choice in value.input.alternatives())


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Permute in its place, or first."""
    for call in program.calls_named("view", "reshape"):
        if finding.site is not None and call.file.path == finding.site.path and call.site == finding.site:
            found = _scramble(call)
            change = edits.replace(call.file, call.node, found.cure) if found is not None else None
            cure = edits.fix("exchange the dimensions", call.file, [change]) if change is not None else None
            if cure is not None:
                yield cure


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 32, bidirectional=True, batch_first=True)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, last = self.rows(x)
            logits: torch.Tensor = self.out(last.reshape(x.shape[0], -1))  # TDX510
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(3):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 32, bidirectional=True, batch_first=True)
            self.out = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, last = self.rows(x)
            logits: torch.Tensor = self.out(last.transpose(0, 1).reshape(x.shape[0], -1))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(3):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.GRU(8, 32, batch_first=True)
            self.out = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n, h, w = x.shape
            x = x.transpose(1, 2)
            turned = x.reshape(n, w, h).reshape(n, w * h).reshape(n, -1, h)
            _, last = self.rows(turned)
            logits: torch.Tensor = self.out(last.view(n, -1))
            return logits

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(3):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")
