"""A recurrent state is carried from round to round together with the graphs of all rounds before.

Seen as `RuntimeError: Trying to backward through the graph a second time` in the second round, or, once `retain_graph`
has silenced that, as rounds that take longer and longer and memory that grows.

Hurts because the state that comes out of a round hangs on everything that it was computed from. The next round's loss
is then a function of that graph, too, and backward() goes down through all rounds since the first, whose buffers were
freed by their own backward().

Helped by `hidden = hidden.detach()` after each round (of an LSTM, both parts of the state): the numbers stay, the
history goes, and backpropagation through time is cut to one round.

No fault when the state is made anew in each round, detached anywhere on its way, or backward() is run only once, when
all the rounds are done.

Sources: PyTorch examples, word_language_model (`repackage_hidden`); Williams & Peng 1990, truncated backpropagation
through time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.finding import Finding, Fix
from torchdx.record import site_of
from torchdx.source import Call, edits
from torchdx.source.flow import reaching
from torchdx.source.graphs import differentiated, history_of
from torchdx.source.reading import words
from torchdx.source.values import Group, Item, Result

if TYPE_CHECKING:
    from torchdx.record import Record
    from torchdx.source import Program, SourceFile
    from torchdx.source.index import LoopNode
    from torchdx.source.values import Value

code, family, severity = "TDX209", "gradients", "error"
needs: frozenset[str] = frozenset()
explains = frozenset({"growing-graph", "graph-used-after-step", "recurrent-state-leak", "slow"})

FAILS = re.compile(r"backward through the graph a second time|modified by an inplace operation")
RECURRENT = words("RNN LSTM GRU RNNCell LSTMCell GRUCell")


def in_source(program: Program) -> Iterator[Finding]:
    """Every state that a loop with a backward pass hands from one round to the next with its graph."""
    told = set()
    for backward in program.calls_named("backward"):
        loop = next(backward.file.loops_around(backward.node), None)
        loss = differentiated(backward)
        if loop is None or loss is None or _is_guarded(backward.file, backward.node, loop):
            continue
        for call, states in _recurrences(program, backward, loop):
            if call.node not in told and all(_is_carried(call, state, loop, loss.value) for state in states):
                told.add(call.node)
                names = " and ".join(f"`{state.id}`" for state in states)
                yield Finding(
                    message=f"{names} {'goes' if len(states) == 1 else 'go'} from round to round with the graph of all "
                    f"rounds before, and `{backward.text[:40]}` goes down through it again",
                    site=call.site,
                    evidence={"backward_at": str(backward.site)},
                    cure=f"write `{_detaching(call, states)}` after the backward pass",
                    confidence=0.95,
                )


def in_run(record: Record) -> Iterator[Finding]:
    """A layer that was handed a state with the graph of an earlier step, where backward then failed on that graph."""
    error = record.ended.get("exception") or {}
    if error.get("type") != "RuntimeError" or not FAILS.search(error.get("text", "")):
        return
    last = [fact for fact in record.process.all("carried") if fact["graph"] and fact["step"] > record.steps]
    if last:
        layer = record.process.layers.get(str(last[-1]["module"]))
        yield Finding(
            message=f"at step {last[-1]['step']} the state handed to {f'`{layer.name}`' if layer else 'the layer'} "
            "hung on the graph of an earlier step, and backward failed there",
            site=site_of(last[-1]["site"]),
            layer=layer.name if layer else "",
            evidence={"step": last[-1]["step"], "error": error["text"][:80]},
            cure="detach the state after each step",
            confidence=0.95,
        )


def _is_guarded(file: SourceFile, node: ast.AST, loop: LoopNode) -> bool:
    """Does it happen in some rounds only?"""
    inside = set(ast.walk(loop))
    return any(test in inside and test is not getattr(loop, "test", None) for test in file.guards(node))


def _recurrences(program: Program, backward: Call, loop: LoopNode) -> Iterator[tuple[Call, list[ast.Name]]]:
    """Every call in the loop that is given names which it also sets, and these names as given."""
    file = backward.file
    for node in file.index.calls_in.get(file.scope_of(backward.node).node, ()):
        statement = file.parent(node)
        if not loop.lineno <= node.lineno <= (loop.end_lineno or loop.lineno) or not isinstance(statement, ast.Assign):
            continue
        targets = {name.id for target in statement.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        flat = [part for one in given for part in (one.elts if isinstance(one, (ast.Tuple, ast.List)) else [one])]
        states = [part for part in flat if isinstance(part, ast.Name) and part.id in targets]
        if states:
            yield Call(program, file, node), states


def _is_carried(call: Call, state: ast.Name, loop: LoopNode, loss: Value) -> bool:
    """Does it come in from the round before, flow into what goes out, and that into the loss, all with its graph?"""
    program, file = call.program, call.file
    scope = file.scope_of(state)
    bindings = scope.bindings.get(state.id, [])
    inside = [binding for binding in bindings if loop in file.loops_around(binding.node)]
    seen = reaching(file, bindings, state, scope.node)
    if [binding.node for binding in inside] != [file.parent(call.node)] or inside[0] not in seen:
        return False
    if b"detach_(" in file.bytes or len(seen) < 2:
        return False
    initial = [program.evaluator.bound(file, binding, None) for binding in seen if binding is not inside[0]]
    result = program.evaluator.bound(file, inside[0], None)
    history = {id(value): value for value in history_of(result)}
    recurrent = [value for value in history.values() if _is_recurrent(value)]
    flows = any(id(choice) in history for value in initial for choice in value.alternatives())
    counted = {id(value) for value in history_of(loss)}
    return flows and any(id(value) in counted for value in recurrent)


def _is_recurrent(value: Value) -> bool:
    return isinstance(value, Result) and value.module is not None and value.dotted.rpartition(".")[2] in RECURRENT


def _detaching(call: Call, states: list[ast.Name]) -> str:
    """The statement that lets go of the history."""
    names = ", ".join(state.id for state in states)
    if len(states) == 1 and _is_pair(call, states[0]):
        return f"{names} = tuple(state.detach() for state in {names})"
    return f"{names} = {', '.join(f'{state.id}.detach()' for state in states)}"


def _is_pair(call: Call, state: ast.Name) -> bool:
    """Is it the state of an LSTM, which has two parts?"""
    for binding in call.file.scope_of(state).bindings.get(state.id, []):
        if binding.node is call.file.parent(call.node):
            value = call.program.evaluator.bound(call.file, binding, None)
            whole = value.of if isinstance(value, Item) else value
            return isinstance(value, Group) or (isinstance(whole, Result) and whole.dotted.endswith("LSTM"))
    return False


def treat(program: Program, finding: Finding) -> Iterator[Fix]:
    """Let go of the history after the backward pass."""
    file = program.file(finding.site.path) if finding.site else None
    node = file.node_at(finding.site, ast.Call) if file is not None and finding.site else None
    if file is None or not isinstance(node, ast.Call):
        return
    for backward in program.calls_named("backward"):
        loop = next(backward.file.loops_around(backward.node), None)
        statement = backward.file.statement(backward.node)
        if backward.file is not file or loop is None or statement is None:
            continue
        for call, states in _recurrences(program, backward, loop):
            if call.node is node:
                change = edits.insert_after(file, statement, _detaching(call, states))
                found = edits.fix("detach the state after each round", file, [change])
                if found is not None:
                    yield found
                return


def sick() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    rnn, head = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=0.01)

    def train() -> None:
        hidden = torch.zeros(1, 64, 32)
        for rows in torch.randperm(1792).split(64):
            optimizer.zero_grad()
            outputs, hidden = rnn(inputs[rows], hidden)  # TDX209
            loss = nn.functional.cross_entropy(head(outputs[:, -1]), labels[rows])
            loss.backward()
            optimizer.step()
            print(f"{loss.item():.3f}")

    try:
        train()
    except RuntimeError as error:
        print(error)


def healthy() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    rnn, head = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=0.01)

    def train() -> None:
        hidden = torch.zeros(1, 64, 32)
        for rows in torch.randperm(1792).split(64):
            optimizer.zero_grad()
            outputs, hidden = rnn(inputs[rows], hidden)
            loss = nn.functional.cross_entropy(head(outputs[:, -1]), labels[rows])
            loss.backward()
            hidden = hidden.detach()
            optimizer.step()
            print(f"{loss.item():.3f}")

    train()


def looks_like_it() -> None:
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(8, 32, batch_first=True)
            self.head = nn.Linear(32, 10)

        def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, state = self.rnn(x, state.detach())
            return self.head(outputs[:, -1]), state

    torch.manual_seed(0)
    digits = load_digits()
    inputs = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    state = torch.zeros(1, 64, 32)
    for rows in torch.randperm(1792).repeat(4).split(64):
        optimizer.zero_grad()
        logits, state = model(inputs[rows], state)
        loss = nn.functional.cross_entropy(logits, labels[rows])
        loss.backward()
        optimizer.step()
    print(f"{loss.item():.3f}")
