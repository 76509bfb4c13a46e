"""A program insists on a CUDA device without asking whether there is one.

Seen as `AssertionError: Torch not compiled with CUDA enabled`, or `RuntimeError: No CUDA GPUs are available`, as soon
as the program runs on a laptop, on a Mac (whose accelerator is `mps`), in continuous integration, or on another
maker's card.

Hurts because `.cuda()` and the string "cuda" can name nothing but an NVIDIA (or ROCm) GPU, while `.to(device)` can
name any device, the CPU included. Where some tensors are moved by `.cuda()` and others by `.to(device)`, the two also
drift apart, and the first operation on both fails with "Expected all tensors to be on the same device".

Helped by choosing one device where the program starts, and moving everything by `.to(device)`:

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Net().to(device)

No fault when the call is made only where CUDA was found or asked for: under `if torch.cuda.is_available()`, a
command-line option, a `try`, or after the program has refused to go on without a GPU; nor in a program that is about
GPUs: it says so in its name or its folder's, uses several, stands on a library for nothing else, or moves a tensor in
a notebook to show how that is done.

Sources: PyTorch documentation, "CUDA semantics: device-agnostic code".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.source import Call, edits
from torchdx.source.notebook import Notebook
from torchdx.source.tensors import is_tensor

if TYPE_CHECKING:
    from torchdx.source import Program, SourceFile

code, family, severity = "TDX101", "device", "warning"
needs: frozenset[str] = frozenset()
explains: frozenset[str] = frozenset()

ASKS = re.compile(r"cuda|gpu|device|is_available|cpu", re.IGNORECASE)
CUDA_ALONE = re.compile(
    rb"cuda\.set_device|init_process_group|nccl|LOCAL_RANK|assert torch\.cuda\.is_available|\nexec\(|CUDAExtension"
    rb"|max_memory_allocated|reset_peak_memory_stats"
    rb"|(?:import|from)[ \t]+(?:transformer_engine|msamp|apex|flash_attn|pycuda|cupy|tensorrt|triton)\b"
)
"""Words of programs that several GPUs share, that measure one, or that stand on libraries for nothing else."""
LESSON = re.compile(r"(gpu|cuda|parallel|pin_?mem)[^/]*$", re.IGNORECASE)
SUBJECT = re.compile(r"(?:^|[\W_\d])gpus?(?:[\W_\d]|$)|cuda_?(?:ext|kernel)", re.IGNORECASE)
PLACE = re.compile(rb"cuda(?::|\(\s*(?:device\s*=\s*)?)(\d)")
QUOTED = re.compile(rb"[\"']cuda")
NAMED = re.compile(rb"\b([A-Za-z_]\w*)\s*(?::[^=\n]*)?=\s*[rbuf]?[\"']*$")
OTHERS = ("autocast", "GradScaler", "Generator", "startswith", "type")
CHOICE = '"cuda" if torch.cuda.is_available() else "cpu"'


def in_source(program: Program) -> Iterator[Finding]:
    """Every file with calls that need a CUDA device and stand under no condition that could have to do with devices."""
    for file in program.torch_files:
        places = _places(program, file) if b"cuda" in file.bytes else []
        if places:
            first = places[0]
            yield Finding(
                message=f"`{_short(file.text_of(first))}` needs a CUDA device, {_why(file)}{_others(len(places) - 1)}",
                site=file.site(first),
                evidence={"places": [str(file.site(node)) for node in places]},
                cure="choose `device` once, from torch.cuda.is_available(), and use `.to(device)` everywhere",
                confidence=0.9,
            )


def _short(text: str) -> str:
    """An expression on one line, without its middle where it is long."""
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:40]}...{words[-17:]}"


def _why(file: SourceFile) -> str:
    if b"is_available" in file.bytes:
        return "though elsewhere the program asks whether there is one"
    return "and nothing asks whether there is one"


def _others(count: int) -> str:
    return "" if not count else f"; so {'does' if count == 1 else 'do'} {count} other place{'s' * (count > 1)} here"


def _places(program: Program, file: SourceFile) -> list[ast.expr]:
    """What in the file insists on CUDA, in order; nothing where the file is for CUDA devices alone, or is a test."""
    found = set(_hard_wired(program, file))
    if not found or file.is_test or _is_about_gpus(file) or any(map(_leaves_without, program.torch_files)):
        return []
    kept = (node for node in found if not _asked(program, file, node) and not _is_past_return(file, node))
    return sorted(
        (node for node in kept if not _is_lesson(program, file, node)), key=lambda node: (node.lineno, node.col_offset)
    )


def _is_about_gpus(file: SourceFile) -> bool:
    """Are CUDA devices what the file is for: by its name, by what it imports or measures, or sharing several out?"""
    subject = LESSON if isinstance(file, Notebook) else SUBJECT
    nearby = "/".join(file.path.replace("\\", "/").split("/")[-2:])
    named = subject.search(nearby) is not None
    return named or CUDA_ALONE.search(file.bytes) is not None or len(set(PLACE.findall(file.bytes))) > 1


def _is_lesson(program: Program, file: SourceFile, node: ast.expr) -> bool:
    """Is it a notebook that moves a tensor once, by itself, for its reader to look at?"""
    call = node if isinstance(node, ast.Call) else file.enclosing(node, ast.Call)
    if not isinstance(file, Notebook) or not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    alone = not file.scope_of(call).is_function and not any(file.loops_around(call))
    return alone and call.func.attr in ("cuda", "to") and is_tensor(program.evaluate(file, call.func.value))


def _hard_wired(program: Program, file: SourceFile) -> Iterator[ast.expr]:
    for node in file.index.calls.get("cuda", ()):
        call = Call(program, file, node)
        if call.receiver is not None and _is_fixed(call) and not call.name:
            yield node
    for word in [word for word in file.index.calls if word.endswith("Tensor")]:
        calls = (Call(program, file, node) for node in file.index.calls[word])
        yield from (call.node for call in calls if call.name.startswith("torch.cuda."))
    quoted = [found.start() for found in QUOTED.finditer(file.bytes)]
    if quoted:
        before = [NAMED.search(file.bytes, file.bytes.rfind(b"\n", 0, start) + 1, start) for start in quoted]
        named = frozenset(found[1].decode("ascii") for found in before if found is not None)
        for word in [word for word in file.index.calls if word not in OTHERS]:
            for node in file.index.calls[word]:
                given = _device(node, word in ("to", "device"))
                if given is not None:
                    found = _word(program, file, given, named)
                    yield from (place for place in found if word == "to" or not _is_others(Call(program, file, node)))


def _device(node: ast.Call, takes_one: bool) -> ast.expr | None:
    """The argument that names a device."""
    for given in node.keywords:
        if given.arg == "device":
            return given.value
    return node.args[0] if takes_one and node.args else None


def _is_others(call: Call) -> bool:
    """Is it a library's but not torch's, which may understand a device as it likes?"""
    home = call.name.partition(".")[0]
    return bool(home) and home not in ("torch", "torchvision", "torchaudio") and not call.program.effects.targets(call)


def _is_fixed(call: Call) -> bool:
    """Is no device, or a numbered one, named, rather than a chosen one?"""
    given = next(call.arguments(), None)
    return given is None or isinstance(given.node, ast.Constant)


def _word(program: Program, file: SourceFile, node: ast.expr, named: frozenset[str]) -> Iterator[ast.expr]:
    """The string "cuda", written here or given once and for all to the name that is written here."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("cuda"):
        yield node
    elif isinstance(node, ast.Name) and node.id in named:
        binding = program.names.binding(file, node)
        if not isinstance(binding, list) and binding is not None and isinstance(binding.value, ast.Constant):
            yield from _word(program, file, binding.value, named)


def _asked(program: Program, file: SourceFile, node: ast.expr) -> bool:
    if file.enclosing(node, ast.Try, ast.arguments) is not None or any(
        _asks(program, file, test) for test in file.guards(node)
    ):
        return True
    around = program.expression(file, node).function
    callers = program.callers(around) if around is not None else []
    return bool(callers) and all(any(_asks(program, c.file, t) for t in c.file.guards(c.node)) for c in callers)


def _asks(program: Program, file: SourceFile, test: ast.expr) -> bool:
    if ASKS.search(file.text_of(test)):
        return True
    names = [node for node in ast.walk(test) if isinstance(node, ast.Name)]
    found = [program.names.binding(file, name) for name in names]
    values = [b.value for b in found if b is not None and not isinstance(b, list) and b.value is not None]
    return any(ASKS.search(file.text_of(value)) for value in values)


def _leaves_without(file: SourceFile) -> bool:
    """Does the program, in this file, refuse to go on where there is no GPU?"""
    for last in _ends_without(file):
        if isinstance(last, (ast.Assert, ast.Raise)) or (isinstance(last, ast.Expr) and "exit" in file.text_of(last)):
            return True
    return False


def _is_past_return(file: SourceFile, node: ast.expr) -> bool:
    """Has its function come back already where there is no GPU?"""
    home = file.scope_of(node)
    return any(
        isinstance(last, (ast.Return, ast.Continue)) and last.lineno < node.lineno and file.scope_of(last) is home
        for last in _ends_without(file)
    )


def _ends_without(file: SourceFile) -> Iterator[ast.stmt]:
    """The last statement of what is done where there is no GPU."""
    for node in file.index.calls.get("is_available", ()):
        statement = file.statement(node)
        if isinstance(statement, ast.Assert):
            yield statement
        elif isinstance(statement, ast.If) and _needs_none(statement.test):
            yield statement.body[-1]


def _needs_none(test: ast.expr) -> bool:
    """Is it true wherever there is no GPU: `not available`, or that `or` something else?"""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        return any(map(_needs_none, test.values))
    return isinstance(test, ast.UnaryOp)


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Ask at every place itself."""
    file = program.file(finding.site.path) if finding.site else None
    if file is None or "torch" not in file.module_scope.bindings:
        return
    changes = [edits.replace(file, node, text) for node in _places(program, file) if (text := _guarded(file, node))]
    found = edits.fix("use the GPU only where there is one", file, changes) if changes else None
    if found is not None:
        yield found


def _guarded(file: SourceFile, node: ast.expr) -> str | None:
    """What to write there instead."""
    if isinstance(node, ast.Constant):
        return f"({CHOICE})" if isinstance(file.parent(node), ast.BinOp) else CHOICE
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
        return f"{file.text_of(node.func.value)}.to({CHOICE})"
    return None


def sick() -> None:
    import sys

    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    if len(sys.argv) > 1:
        model = model.cuda()  # TDX101
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(8):
        order = torch.randperm(len(inputs))
        for rows in order.split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32, device=device) / 16
    labels = torch.tensor(digits.target, device=device)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    model = model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(8):
        order = torch.randperm(len(inputs), device=device)
        for rows in order.split(64):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
    print(f"{loss.item():.3f}")


def looks_like_it() -> None:
    import argparse

    import torch
    from torch import nn

    parser = argparse.ArgumentParser()
    parser.add_argument("--gpu", action="store_true")
    wanted = parser.parse_args().gpu and torch.cuda.is_available()
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    inputs = torch.randn(256, 4)
    targets = inputs.sum(1, keepdim=True)
    if wanted:
        model.cuda()
        inputs, targets = inputs.cuda(), targets.cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
