"""Passes over loaders: which loops train and which measure, what they draw from, and which data are held out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torchdx.source.effects import without_gradient
from torchdx.source.expressions import Call
from torchdx.source.file import SourceFile
from torchdx.source.frameworks import Phase
from torchdx.source.index import FUNCTIONS, LoopNode, last_word
from torchdx.source.loops import QUIET
from torchdx.source.reading import words
from torchdx.source.values import UNKNOWN, Either, Group, Instance, Item, Result, Table, Value, literal
from torchdx.source.walks import reached, walk

if TYPE_CHECKING:
    from torchdx.source.program import Program

HeldOut = Literal["validation", "test"]
LOADER = "torch.utils.data.DataLoader"
THROUGH = words("enumerate zip iter itertools.islice itertools.chain tqdm.tqdm tqdm.auto.tqdm rich.progress.track")
HOOKS: dict[str, Phase] = {
    "train_dataloader": "training",
    "val_dataloader": "evaluation",
    "test_dataloader": "evaluation",
}
TRAINERS = ("pytorch_lightning.Trainer", "lightning.Trainer", "lightning.pytorch.Trainer")
SPLITS: dict[str, HeldOut] = {"test": "test", "val": "validation", "valid": "validation", "validation": "validation"}
MEASURING = QUIET | {"eval"}
IN_ORDER = re.compile(
    rb"\bLSTM|\bGRU|\bRNN|time_?series|sequence|IterableDataset|randperm|permutation\(|\.shuffle\(|[^_]shuffle\(|"
    rb"train_test_split|sample\(frac|set_epoch",
    re.IGNORECASE,
)
"""Signs that samples stand in an order that means something, or were shuffled by other means."""
DEEPEST = 5
OF_TRAIN = words("MNIST FashionMNIST KMNIST QMNIST CIFAR10 CIFAR100 USPS")
OPTIMIZERS = words("SGD Adam AdamW RMSprop Adagrad Adadelta Adamax NAdam RAdam ASGD LBFGS Rprop")
PARTS = words("torch.utils.data.random_split torch.utils.data.Subset")
GIVE_PARAMETERS = words("torch.nn.Module.parameters ?.parameters torch.nn.Module.named_parameters ?.named_parameters")
ENDS = (ast.Return, ast.Raise, ast.Break)


@dataclass(frozen=True, eq=False)
class Pass:
    """One loader serving one phase; `loop` is where it is drawn from, unless a framework does so."""

    loader: Instance
    phase: Phase
    file: SourceFile
    loop: LoopNode | None = None

    @property
    def made(self) -> Call:
        """The call that made the loader."""
        assert self.loader.call is not None
        return self.loader.call

    @property
    def key(self) -> object:
        """The same for all passes over one loader."""
        return key_of(self.made)

    @property
    def dataset(self) -> Value:
        return self.made.argument_value(0, "dataset")


def key_of(made: Call) -> object:
    """What tells a loader from others made by the same call in other calls of its function."""
    outer = made.frame.call if made.frame is not None else None
    return made.node, outer.node if outer is not None else None


def passes(program: Program) -> Iterator[Pass]:
    """Every loader of the program's, each time it is known to serve a phase."""
    if not any(b"DataLoader" in file.bytes for file in program.torch_files):
        return
    training = {loop.node for loop in program.training_loops}
    for file in program.torch_files:
        measuring = not MEASURING.isdisjoint(file.index.calls)
        if not measuring and not training.intersection(file.index.loops):
            continue
        for loop in file.index.loops:
            if isinstance(loop, ast.While) or (isinstance(loop.iter, ast.Call) and last_word(loop.iter) == "range"):
                continue
            phase = phase_of(program, file, loop, training)
            for loader in loaders_of(program.evaluate(file, loop.iter)) if phase is not None else ():
                assert phase is not None
                yield Pass(loader, phase, file, loop)
    yield from _in_hooks(program)
    yield from _given_to_trainers(program)


def loaders_of(value: Value) -> Iterator[Instance]:
    """The loaders that a loop over this value draws from."""
    for one in reached(value, _drawn_through):
        if isinstance(one, Instance) and one.is_loader and one.call is not None:
            yield one


def _drawn_through(value: Value) -> Iterator[Value]:
    if isinstance(value, Either):
        yield from value.choices
    elif isinstance(value, Result) and value.dotted in THROUGH:
        yield from (argument.value for argument in value.call.arguments())


def phase_of(program: Program, file: SourceFile, loop: LoopNode, training: set[LoopNode]) -> Phase | None:
    """Does a loop train, or does it measure? None where neither is certain."""
    if loop in training or any(_stands_in(inner, loop) for inner in training if inner in file.index.parents):
        return "training"
    calls = [call for call in file.index.calls_in.get(file.scope_of(loop).node, ()) if _stands_in(call, loop)]
    if any(last_word(call) in ("backward", "manual_backward", "step") for call in calls):
        return None
    inner = next((call for call in calls if call is not getattr(loop, "iter", None)), None)
    if inner is not None and (without_gradient(Call(program, file, inner)) or evaluates_before(program, file, loop)):
        return "evaluation"
    return None


def evaluates_before(program: Program, file: SourceFile, loop: LoopNode) -> bool:
    """Is a model put into evaluation mode before the loop, in the same function, and not back again?"""
    scope = file.scope_of(loop).node
    modes = [
        call
        for call in file.index.calls_in.get(scope, ())
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("eval", "train") and call.lineno < loop.lineno
        if not any(isinstance(above, FUNCTIONS) and above is not scope for above in file.ancestors(call))
    ]
    last = max(modes, key=lambda call: call.lineno, default=None)
    return last is not None and last_word(last) == "eval" and not last.args


def _stands_in(node: ast.AST, loop: LoopNode) -> bool:
    first, last = loop.lineno, loop.end_lineno or loop.lineno
    return node is not loop and first <= getattr(node, "lineno", 0) <= last


def _in_hooks(program: Program) -> Iterator[Pass]:
    """Loaders that Lightning asks a module or data module for."""
    for file in program.torch_files:
        for node in file.index.functions if b"_dataloader" in file.bytes else ():
            phase = HOOKS.get(getattr(node, "name", ""))
            for value in file.index.returns.get(node, ()) if phase is not None else ():
                for loader in _all_loaders(program.evaluate(file, value)):
                    assert phase is not None
                    yield Pass(loader, phase, file)


def _given_to_trainers(program: Program) -> Iterator[Pass]:
    for call in program.calls_named("fit", "validate", "test"):
        if not any(trainer.encode() in call.file.bytes for trainer in ("lightning", "Trainer")):
            continue
        if call.receiver is None or not any(
            isinstance(value, Instance) and value.is_a(*TRAINERS) for value in call.receiver.value.alternatives()
        ):
            continue
        second = call.argument_value(1, "train_dataloaders" if call.method == "fit" else "dataloaders")
        for loader in _all_loaders(second):
            yield Pass(loader, "training" if call.method == "fit" else "evaluation", call.file)
        for loader in _all_loaders(call.argument_value(2, "val_dataloaders")) if call.method == "fit" else ():
            yield Pass(loader, "evaluation", call.file)


def _all_loaders(value: Value) -> Iterator[Instance]:
    for one in reached(value, lambda one: one.items if isinstance(one, Group) else _drawn_through(one)):
        if isinstance(one, Instance) and one.is_loader and one.call is not None:
            yield one


# Data


@walk(None)
def held_out(dataset: Value) -> HeldOut | None:
    """Is it, by the way it was made (`train=False`, `split="test"`), a library's part for validation or for test?"""
    if isinstance(dataset, Either):
        found = {held_out(choice) for choice in dataset.choices}
        return found.pop() if len(found) == 1 else None
    if isinstance(dataset, Item) and isinstance(dataset.key, str):
        return SPLITS.get(dataset.key) if dataset.of.name == "datasets.load_dataset" else None
    if not isinstance(dataset, (Instance, Result)) or dataset.call is None:
        return None
    call = dataset.call
    if dataset.name == "torch.utils.data.Subset":
        return held_out(call.argument_value(0, "dataset"))
    if dataset.name.startswith("torchvision.datasets."):
        place = 1 if dataset.name.rpartition(".")[2] in OF_TRAIN else None
        if literal(call.argument_value(place, "train")) is False:
            return "test"
    if dataset.name.startswith(("torchvision.datasets.", "datasets.load_dataset")):
        split = literal(call.argument_value(None, "split"))
        return SPLITS.get(split.partition("[")[0]) if isinstance(split, str) else None
    return None


def whole_of(dataset: Value, depth: int = 0) -> tuple[Value, bool]:
    """The dataset that this is a part of (`random_split`, `Subset`), and whether it is a part only."""
    source = dataset.of if isinstance(dataset, Item) else dataset
    if isinstance(source, (Instance, Result)) and source.name in PARTS and source.call is not None and depth < DEEPEST:
        return whole_of(source.call.argument_value(0, "dataset"), depth + 1)[0], True
    return dataset, False


def unshuffled(program: Program) -> Iterator[Pass]:
    """Every loader that trains, draws from a dataset with an index, and certainly takes it in the same order each time.

    Not where order may be the point (sequences, one batch of everything) or where something else brings in chance.
    """
    told = set()
    for served in program.passes:
        made = Call(program, served.made.file, served.made.node)  # as all callers of its function have it
        if served.phase != "training" or made.node in told or not made.is_certain:
            continue
        shuffle, size = made.argument(2, "shuffle"), made.argument(1, "batch_size")
        told.add(made.node)
        if any(made.argument(place, name) for place, name in ((3, "sampler"), (4, "batch_sampler"))):
            continue
        if shuffle is not None and shuffle.literal is not False:
            continue
        if size is None or "len(" in size.text or IN_ORDER.search(made.file.bytes):
            continue
        if served.file is made.file or not IN_ORDER.search(served.file.bytes):
            yield served


# Loops and the models that they train


def goes_on_after(file: SourceFile, node: ast.AST, loop: LoopNode) -> bool:
    """When this has been done, does the loop go on to another round, unless it is over anyway?

    In a function that the loop calls, `return` only leads back to the loop.
    """
    ends: tuple[type[ast.stmt], ...] = ENDS if loop in file.ancestors(node) else (ast.Raise,)
    child = node
    for above in file.ancestors(node):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(above, name, None)
            if isinstance(block, list) and child in block and isinstance(block[-1], ends):
                return False
        if above is loop:
            return True
        child = above
    return True


def optimizes(optimizer: Value, model: Instance) -> bool:
    """Was the optimizer certainly made with this model's parameters?"""
    return any(
        isinstance(choice, Instance)
        and choice.is_optimizer
        and choice.call is not None
        and any(is_same(owner, model) for owner in owners(choice.call.argument_value(0, "params")))
        for choice in optimizer.alternatives()
    )


def is_same(one: Value, other: Instance) -> bool:
    """Is it certainly the same object, made by the same call?"""
    if not isinstance(one, Instance) or one.call is None or other.call is None:
        return False
    return key_of(one.call) == key_of(other.call)


def owners(parameters: Value) -> Iterator[Value]:
    """The modules whose parameters these are."""
    for one in reached(parameters, _parameters_in):
        if isinstance(one, Result) and one.dotted in GIVE_PARAMETERS:
            yield from one.input.alternatives()


def _parameters_in(value: Value) -> Iterator[Value]:
    if isinstance(value, Either | Group):
        yield from value.choices if isinstance(value, Either) else value.items
    elif isinstance(value, Item):
        yield value.of  # one of those that were gone through
    elif isinstance(value, Table):
        yield value.items.get("params", UNKNOWN)
    elif isinstance(value, Result) and value.dotted in ("filter", "list", "itertools.chain", "tuple"):
        yield from (argument.value for argument in value.call.arguments())


def all_owners(parameters: Value) -> list[Instance] | None:
    """The modules all of whose parameters these are; None where any part of them is not certain."""
    if isinstance(parameters, Table):
        return all_owners(parameters.items.get("params", UNKNOWN))
    if isinstance(parameters, Group):
        inner = [all_owners(item) for item in parameters.items]
        known = [modules for modules in inner if modules is not None]
        return [m for modules in known for m in modules] if len(known) == len(inner) and not parameters.open else None
    if not isinstance(parameters, Result) or parameters.dotted not in ("torch.nn.Module.parameters", "?.parameters"):
        return None
    module = parameters.input
    return [module] if isinstance(module, Instance) and module.is_module and module.call is not None else None


def is_trained(program: Program, model: Instance) -> bool:
    """Is it certainly given to an optimizer, or are weights loaded into it?"""
    if any(optimizes(call.value, model) for call in program.calls_named(*OPTIMIZERS)):
        return True
    loading = program.calls_named("load_state_dict")
    return any(
        is_same(value, model) for call in loading if call.receiver for value in call.receiver.value.alternatives()
    )
