"""A truth value on the command line is parsed by `bool`, which is true for every word, "False" among them.

Seen as an option that cannot be switched off: `--shuffle False` shuffles, `--amp 0` runs with mixed precision, and two
runs that should differ do not.

Hurts because argparse calls the `type` with the word as it was typed, and `bool("False")` asks only whether the word is
empty: it is `True`, as are `bool("0")` and `bool("no")`. The same happens to a default that is written as a string.

Helped by a flag, `action="store_true"` or `action=argparse.BooleanOptionalAction`; or, where scripts pass
`--shuffle False` already, by a `type` that reads the word.

No fault when the type is a function of one's own that compares the word, or in a parser that reads truth values itself,
such as those of click, absl, jsonargparse and Tap.

Sources: Python documentation, `argparse`, "type": "The bool() function is not recommended as a type converter".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.values import Argument, Instance, Literal, Result, Unknown, Value

if TYPE_CHECKING:
    from torchdx.source import Expression, Program, SourceFile

code, family, severity = "TDX705", "schedules", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

TYPED = re.compile(rb"type\s*=\s*(builtins\s*\.\s*)?bool\b")
OTHERS = re.compile(
    rb"(import|from)\s+(jsonargparse|tap|typer|click|absl|simple_parsing)\b|Lightning(CLI|ArgumentParser)"
)
"""Libraries whose parsers read truth values; where one of them is about, the parser has to be known."""

PARSERS = (
    "argparse.ArgumentParser",
    "argparse._ArgumentGroup",
    "configargparse.ArgumentParser",
    "transformers.HfArgumentParser",
)
MAKING = ("add_argument_group", "add_mutually_exclusive_group", "add_subparsers", "add_parser")
READ = 'lambda word: word.lower() in ("true", "t", "yes", "y", "on", "1")'


def in_source(program: Program) -> Iterator[Finding]:
    """Every option of argparse's that is typed `bool`."""
    if not any(file.imports_torch for file in program.torch_files):
        return
    for file in program.files:
        for call in _typed(program, file):
            option = _option(call)
            if not _is_read(program, call, option):
                continue
            default = call.argument_value(None, "default")
            always = not option.startswith("-") or (isinstance(default, Literal) and bool(default.value))
            yield Finding(
                message=f'`type=bool` makes `{option}` true whatever is typed, as `bool("False")` is true'
                + (": no command line can switch it off" if always else ""),
                site=file.site(_type_of(call).node),
                evidence={"option": option, **_given(default)},
                cure='make it a flag (`action="store_true"`, or `argparse.BooleanOptionalAction`), or let the type '
                "compare the word with those for true",
                confidence=0.97,
                severity="error" if always else None,
            )


def _is_read(program: Program, call: Call, option: str) -> bool:
    """Is its value asked for by name anywhere, or handed on together with all others?"""
    name = call.argument_value(None, "dest")
    word = name.value if isinstance(name, Literal) else option.lstrip("-").replace("-", "_")
    asked = re.compile(rb"\.%b\b|[\"']%b[\"']|vars\(|__dict__|parse_args_into" % (2 * (str(word).encode(),)))
    return any(asked.search(file.bytes.replace(call.text.encode(), b"")) for file in program.files)


def _typed(program: Program, file: SourceFile) -> Iterator[Call]:
    if not TYPED.search(file.bytes):
        return
    for node in file.index.calls.get("add_argument", ()):
        call = Call(program, file, node)
        kind = call.argument(None, "type")
        if kind is None or not node.args or not _is_bool(kind) or call.argument(None, "action") is not None:
            continue
        if call.receiver is not None and all(_parses(file, parser) for parser in call.receiver.value.alternatives()):
            yield call


def _is_bool(kind: Expression) -> bool:
    found = kind.program.resolve(kind.file, kind.node)
    return found is not None and found.name in ("bool", "builtins.bool")


def _parses(file: SourceFile, parser: Value) -> bool:
    """Is it a parser of argparse's, one of its groups or subcommands, or at least nothing else?"""
    if isinstance(parser, Instance):
        return parser.is_a(*PARSERS)
    if isinstance(parser, Result) and parser.given is not None and parser.dotted.rpartition(".")[2] in MAKING:
        return all(_parses(file, inner) for inner in parser.given.alternatives())
    unknown = isinstance(parser, Argument | Unknown | Literal) or (
        isinstance(parser, Result) and parser.dotted.startswith("?.")
    )
    return unknown and b"argparse" in file.bytes and not OTHERS.search(file.bytes)


def _option(call: Call) -> str:
    """The option's name, the long one if there are several."""
    named = [argument.literal for argument in call.arguments()][: len(call.node.args)]
    written = [name for name in named if isinstance(name, str)]
    return max(written, key=len, default="it")


def _given(default: Value) -> dict[str, str]:
    return {"default": repr(default.value)} if isinstance(default, Literal) else {}


def _type_of(call: Call) -> Expression:
    kind = call.argument(None, "type")
    assert kind is not None
    return kind


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Let the type read the word; what is typed on command lines and in scripts stays as it is."""
    file = program.file(finding.site.path) if finding.site else None
    for call in _typed(program, file) if file is not None else ():
        if file is not None and file.site(_type_of(call).node) == finding.site:
            change = edits.replace(file, _type_of(call).node, READ)
            proven = finding.severity == "error"
            found = edits.fix("compare the word with those for true", file, [change], safe=proven)
            if found is not None:
                yield found


def sick() -> None:
    import argparse

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    parser = argparse.ArgumentParser()
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--nesterov", type=bool, default=True)  # TDX705
    args = parser.parse_args(["--nesterov", "False"])
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=args.momentum, nesterov=args.nesterov)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"nesterov {args.nesterov}: {loss.item():.3f}")


def healthy() -> None:
    import argparse

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    parser = argparse.ArgumentParser()
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--nesterov", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(["--no-nesterov"])
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=args.momentum, nesterov=args.nesterov)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"nesterov {args.nesterov}: {loss.item():.3f}")


def looks_like_it() -> None:
    import argparse

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    def truth(word: str) -> bool:
        return word.lower() in ("true", "1")

    class Settings:
        def __init__(self) -> None:
            self.known: dict[str, bool] = {}

        def add_argument(self, name: str, type: type, default: bool) -> None:
            self.known[name] = type(default)

    parser, settings = argparse.ArgumentParser(), Settings()
    parser.add_argument("--nesterov", type=truth, default=True)
    settings.add_argument("quiet", type=bool, default=False)
    args = parser.parse_args(["--nesterov", "False"])
    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=args.nesterov)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"quiet {settings.known['quiet']}: {loss.item():.3f}")
