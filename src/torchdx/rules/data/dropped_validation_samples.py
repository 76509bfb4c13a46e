"""A loader that serves a measurement drops the last batch, so some samples are never measured.

Seen as a validation or test score that covers fewer samples than there are, and changes with the batch size.

Hurts because `drop_last=True` leaves out the n mod b samples after the last full batch: each time the same ones where
the loader does not shuffle, and all of them where the set is smaller than a batch. A score divided by the number of all
samples is too low besides.

Helped by `drop_last=False`, the default: without gradients a smaller batch does no harm.

No fault when the loader trains, too, or when the samples left out are measured elsewhere.

Sources: PyTorch documentation, `torch.utils.data.DataLoader`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits
from torchdx.source.expressions import Call
from torchdx.source.phases import LOADER, held_out
from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.source import Program

code, family, severity = "TDX507", "data", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

DROPS, BATCH = 8, 1
"""Places of `drop_last` and `batch_size` in the loader's signature."""


def in_source(program: Program) -> Iterator[Finding]:
    """Every loader that drops samples and serves measurements only, or holds a library's data for testing."""
    if not any(b"drop_last" in file.bytes for file in program.torch_files):
        return
    told = set()
    for call, why in (*_by_use(program), *_by_data(program)):
        given = Call(program, call.file, call.node).argument(DROPS, "drop_last")  # as every caller has it
        if given is not None and call.node not in told and literal(given.value) is True and not _is_single(call):
            told.add(call.node)
            yield Finding(
                message=f"this loader {why}, and drops the samples after the last full batch",
                site=call.site,
                cure="leave out `drop_last=True` where the loader measures",
                confidence=0.9,
            )


def _by_use(program: Program) -> Iterator[tuple[Call, str]]:
    trained = {served.key for served in program.passes if served.phase == "training"}
    for served in program.passes:
        if served.phase == "evaluation" and served.key not in trained:
            loop = served.loop
            where = f"line {loop.lineno} of {served.file.path.rpartition('/')[2]}" if loop is not None else ""
            if loop is not None and served.file is served.made.file:
                where = f"line {loop.lineno}"
            yield served.made, f"is measured on by {where}" if where else "serves a trainer's validation or test"


def _by_data(program: Program) -> Iterator[tuple[Call, str]]:
    trained = {served.made.node for served in program.passes if served.phase == "training"}
    for call in program.calls(LOADER):
        if b"drop_last" in call.file.bytes and call.node not in trained and call.argument(DROPS, "drop_last"):
            part = held_out(call.argument_value(0, "dataset"))
            if part is not None:
                yield call, f"holds data for {part}"


def _is_single(call: Call) -> bool:
    """One sample a batch: none is left over."""
    size = call.argument(BATCH, "batch_size")
    return size is None or (size.literal in (1, None) and isinstance(size.node, ast.Constant))


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Keep the last batch."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    given = next((k.value for k in node.keywords if k.arg == "drop_last"), None) if isinstance(node, ast.Call) else None
    if file is not None and isinstance(given, ast.Constant):
        found = edits.fix("keep the last batch", file, [edits.replace(file, given, "False")])
        if found is not None:
            yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, random_split

    torch.manual_seed(0)
    digits = load_digits()
    everything = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    training, validation = random_split(everything, [1400, 397])
    batches = DataLoader(training, batch_size=64, shuffle=True, drop_last=True)
    held_out = DataLoader(validation, batch_size=64, drop_last=True)  # TDX507
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for images, labels in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    right = 0
    with torch.no_grad():
        for images, labels in held_out:
            right += (model(images).argmax(1) == labels).sum().item()
    print(f"{right / len(validation):.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, random_split

    torch.manual_seed(0)
    digits = load_digits()
    everything = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    training, validation = random_split(everything, [1400, 397])
    batches = DataLoader(training, batch_size=64, shuffle=True, drop_last=True)
    held_out = DataLoader(validation, batch_size=64)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(8):
        for images, labels in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
    right = 0
    with torch.no_grad():
        for images, labels in held_out:
            right += (model(images).argmax(1) == labels).sum().item()
    print(f"{right / len(validation):.3f}")


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(0)
    digits = load_digits()
    everything = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    batches = DataLoader(everything, batch_size=64, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(6):
        for images, labels in batches:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
        with torch.no_grad():  # how well the training data are known
            losses = [nn.functional.cross_entropy(model(images), labels).item() for images, labels in batches]
            for images, _ in batches:
                model(images)
    print(f"{sum(losses) / len(losses):.3f}")
