"""Weights are loaded under other names than the model's, so the model keeps what it had.

Seen as fine-tuning that starts, and often ends, as badly as training from scratch. Measured at `load_state_dict` is how
many of the model's keys were found in the dictionary; what was not found is no error there with `strict=False`.

Hurts because `strict=False` passes over every key that does not fit, and all of them where a prefix is off: `module.`
is put before each name by `DataParallel`, `_orig_mod.` by `torch.compile`, and `model.` by a class around the model.

Helped by taking the prefix off the keys (or putting it on), by loading into the part of the model that was saved, and
by `strict=True`, or at least a look at the `missing_keys` that `load_state_dict` returns.

No fault when only a replaced head is missing, when the dictionary holds an adapter's few weights and all of them found
their places, or when another load fills the rest.

Sources: PyTorch documentation, `torch.nn.Module.load_state_dict`; PyTorch tutorial, "Saving and Loading Models".
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import edits

if TYPE_CHECKING:
    from torchdx.record import Load, Record
    from torchdx.source import Program

code, family, severity = "TDX220", "gradients", "warning"
needs: frozenset[str] = frozenset()
explains = frozenset(
    {
        "not-learning",
        "frozen-random-weights",
        "parameter-not-optimised",
        "learning-rate-too-low",
        "validation-gap",
        "one-class-predictions",
    }
)

MISSING = 0.5
"""Share of the model's keys that were not found. A replaced head is 0.02 to 0.3 of a model; a prefix that is off leaves
all of them out, or all but those of a head (0.6 and more)."""

RENAMED = 0.5
"""Share of those keys that one other prefix would fill. Where a prefix is off it is 1, but for buffers; parts that were
never saved have no twins among the keys left over: 0."""


def in_run(record: Record) -> Iterator[Finding]:
    """Every model in use that was to be filled, and was not."""
    for load in record.loads:
        if load.module is None or _is_filled(record, load):
            continue
        if load.matched == 0 and load.unexpected:
            yield _finding(load, f"none of the {load.unexpected} weights given to {load.cls} has a name that it knows")
        elif _is_misnamed(load):
            yield _finding(load, f"{load.missing} of the {load.wanted} weights of {load.cls} were not found")
        elif _is_empty(load):
            yield _finding(load, f"nothing of the {load.read} tensors read before reaches {load.cls} by this")


def readings(record: Record) -> Iterator[tuple[str, float]]:
    """The greatest share of keys missing, and of these of ones that another prefix would fill, of any load."""
    loads = [load for load in record.loads if load.wanted and load.unexpected]
    if loads:
        yield "MISSING", max(load.missing / load.wanted for load in loads)
        yield "RENAMED", max(_fitting(load) for load in loads)


def _is_filled(record: Record, load: Load) -> bool:
    """Did the module get most of its weights by another load, before or afterwards?"""
    others = [one for one in record.loads if one is not load and one.module == load.module and not one.gives_back]
    loaded = [parameter.loaded for parameter in record.parameters_within(load.module or 0)]
    return any(one.missing < load.missing for one in others) or (load.matched == 0 and any(loaded))


def _is_misnamed(load: Load) -> bool:
    """Are most keys missing, though they are there, behind another prefix?"""
    off, on, _ = load.renamed or ("", "", 0)
    nested = off.startswith(on) or on.startswith(off)  # else a part may have been saved that is like another
    return nested and load.missing > MISSING * load.wanted and _fitting(load) >= RENAMED


def _fitting(load: Load) -> float:
    return load.renamed[2] / load.missing if load.renamed and load.missing else 0.0


def _is_empty(load: Load) -> bool:
    """Was it given nothing at all, or what it has already, after as many weights were read from a file?"""
    at_once = load.gives_back and not load.changed and load.taken == load.step
    given = load.matched + load.unexpected
    return load.read >= load.wanted > 0 and (given == 0 or at_once)


def _finding(load: Load, what: str) -> Finding:
    off, on, count = load.renamed or ("", "", 0)
    change = f"`{off}` before them in the dictionary" if off else f"no `{on}` before them"
    named = [load.unexpected_names[0], load.missing_names[0]] if load.unexpected_names and load.missing_names else []
    hint = f": `{named[0]}` was given, `{named[1]}` is wanted" if named else ""
    cure = "give every key the name that the model has for it, and load with `strict=True`"
    if count:
        cure = f"{count} of them would fit, but for {change}: rename the keys, and load with `strict=True`"
    return Finding(
        message=f"{what}{hint}; it goes on with the values it had",
        site=load.site,
        evidence={
            "keys found": load.matched,
            "keys of the model": load.wanted,
            "keys left over": load.unexpected,
            "take off": off,
            "put on": on,
            "fit when renamed": count,
        },
        cure=cure,
        severity="error" if load.unexpected and load.matched == 0 else "warning",
        confidence=0.97 if load.matched == 0 and load.unexpected else 0.85,
    )


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Rename the keys on their way."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    told = finding.evidence
    if file is None or not isinstance(node, ast.Call) or not node.args or not told.get("fit when renamed"):
        return
    off, on = told["take off"], told["put on"]
    key = f'key.removeprefix("{off}")' if off else "key"
    if on:
        if told["keys found"]:  # others have their right names already
            return
        key = f'"{on}" + {key}'
    text = f"{{{key}: value for key, value in {file.text_of(node.args[0])}.items()}}"
    found = edits.fix("give the keys the names they have in the model", file, [edits.replace(file, node.args[0], text)])
    if found is not None:
        yield found


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def train(model: nn.Module, rate: float) -> float:
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(6):
            for rows in torch.randperm(len(inputs)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        return loss.item()

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    first = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    print(train(nn.DataParallel(first), 0.003))
    saved = {name: value.clone() for name, value in nn.DataParallel(first).state_dict().items()}
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    model.load_state_dict(saved, strict=False)  # TDX220
    print(train(model, 0.001))


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def train(model: nn.Module, rate: float) -> float:
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(6):
            for rows in torch.randperm(len(inputs)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        return loss.item()

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)
    first = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    print(train(nn.DataParallel(first), 0.003))
    saved = {name: value.clone() for name, value in nn.DataParallel(first).state_dict().items()}
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    model.load_state_dict({name.removeprefix("module."): value for name, value in saved.items()}, strict=False)
    print(train(model, 0.001))


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    labels = torch.tensor(digits.target)

    def train(model: nn.Module, targets: torch.Tensor) -> float:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for _ in range(6):
            for rows in torch.randperm(len(inputs)).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
                loss.backward()
                optimizer.step()
        return loss.item()

    def net(head: str) -> nn.Sequential:
        made = nn.Sequential()
        made.add_module("body", nn.Sequential(nn.Linear(64, 64), nn.ReLU()))
        made.add_module(head, nn.Linear(64, 10))
        return made

    first, model = net("fc"), net("classifier")
    print(train(first, labels))
    saved = {name: value.clone() for name, value in first.state_dict().items()}
    model.load_state_dict(saved, strict=False)  # a new head on an old body
    print(train(model, 9 - labels))
