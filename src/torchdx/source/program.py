"""A user's program as read: files, and everything that can be asked about what is in them."""

from __future__ import annotations

import ast
import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from torchdx.source.attributes import attribute_of
from torchdx.source.calling import batch_of
from torchdx.source.definitions import UserClass, UserFunction
from torchdx.source.effects import Effects
from torchdx.source.evaluate import Evaluator
from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile, imported_files
from torchdx.source.frameworks import FrameworkStep, framework_steps
from torchdx.source.index import Binding, FunctionNode
from torchdx.source.leading import Calling, callings
from torchdx.source.loops import (
    EpochLoop,
    Evaluation,
    Round,
    TrainingLoop,
    evaluations,
    loops_with_gradients,
    training_rounds,
)
from torchdx.source.losses import LossUse, find_losses
from torchdx.source.models import Model
from torchdx.source.names import Names
from torchdx.source.notebook import source_file
from torchdx.source.parts import linked
from torchdx.source.phases import Pass, passes
from torchdx.source.reading import Problem, python_files, read_bytes
from torchdx.source.registries import Registries
from torchdx.source.values import Frame, Instance, ModuleReference, Reference, Setting, Value

MOST_CALLERS = 8


class Program:
    """The files of one program, or of one folder of programs."""

    def __init__(
        self, files: Iterable[SourceFile], problems: Iterable[Problem] = (), named: Iterable[str] = ()
    ) -> None:
        self.files = tuple(files)
        self.named = frozenset(named)
        self._problems = list(problems)
        self.names = Names(self)
        self.evaluator = Evaluator(self)
        self.entered: list[UserFunction] = []
        self.anybody: dict[UserClass, Instance] = {}
        self._functions: dict[ast.AST, UserFunction] = {}
        self._classes: dict[ast.AST, UserClass] = {}
        self._resolved: dict[ast.AST, Reference | ModuleReference | None] = {}
        self._callers: dict[UserFunction, list[Call]] = {}

    # Made from

    @classmethod
    def read(cls, paths: Iterable[str | Path]) -> Program:
        """Read files and folders; whatever cannot be read becomes a problem, never an exception."""
        files, problems, seen = [], [], set()
        for path in python_files(paths := list(paths)):
            name = str(path)
            if name in seen:
                continue
            seen.add(name)
            data = read_bytes(path, name)
            if isinstance(data, Problem):
                problems.append(data)
            else:
                files.append(source_file(name, data))
        return cls(files, problems, map(str, map(Path, paths)))

    @classmethod
    def of(cls, sources: Mapping[str, str | bytes]) -> Program:
        """A program given as text, by path."""
        data = {path: text.encode() if isinstance(text, str) else text for path, text in sources.items()}
        return cls((source_file(path, text) for path, text in data.items()), named=data)

    @classmethod
    def around(cls, script: str | Path, contents: bytes | None = None) -> Program:
        """A script, with other contents than on disk if any are given, and the files of its project that it imports."""
        script = Path(script)
        homes = list(dict.fromkeys((script.parent, Path.cwd())))
        found: dict[str, SourceFile] = {}
        problems = []
        queue = [script]
        for path in queue:
            name = str(path)
            if name in found:
                continue
            data = read_bytes(path, name) if contents is None or path is not script else contents
            if isinstance(data, Problem):
                problems.append(data)
                continue
            found[name] = source_file(name, data)
            queue += imported_files(found[name], homes)
        return cls(found.values(), problems)

    def forget(self) -> None:
        """Take everything apart, so that the trees are gone at once: the program can be asked nothing more.

        What refers to each other would else wait for a search among millions of objects.
        """
        definitions = (*self._functions.values(), *self._classes.values())
        for each in (*definitions, self.evaluator, self.names, *self.files, self):
            vars(each).clear()

    # Files

    @cached_property
    def torch_files(self) -> tuple[SourceFile, ...]:
        """The files that could have to do with PyTorch; only these are searched, the others are read on demand.

        A trainer that is handed its model need not name torch itself, but some file of its program does.
        """
        if not any(file.mentions_torch for file in self.files):
            return ()
        with without_collection():
            return tuple(file for file in self.files if (file.mentions_torch or file.could_train) and file.index)

    @cached_property
    def parts(self) -> tuple[Program, ...]:
        """The separate programs in it: groups of files that no import links to each other, without those of no concern.

        A part asks for nothing outside itself; files that could not be read at all stay with the whole.
        """
        groups = linked(self.files, self.names)
        concerned = (group for group in groups if any(f.mentions_torch or f.path in self.named for f in group))
        return tuple(Program(group, named=self.named) for group in concerned)

    @property
    def unread(self) -> tuple[Problem, ...]:
        """What kept files from being opened."""
        return tuple(sorted(self._problems))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that could not be read, among the files named one by one and those that mention torch.

        Cells of notebooks are often left unfinished: those that do not parse are told of where the notebook is named.
        """
        looked_at = [file for file in self.files if file.path in self.named or file.mentions_torch]
        found = [file.problem for file in looked_at if file.index and file.problem is not None]
        gaps = [gap for file in looked_at if file.path in self.named for gap in file.gaps]
        return tuple(sorted([*self._problems, *found, *gaps]))

    def file(self, path: str) -> SourceFile | None:
        """The file at this path."""
        if path in self._by_path:
            return self._by_path[path]
        wanted = os.path.realpath(path)
        return next((f for f in self.files if os.path.realpath(f.path) == wanted), None)

    @cached_property
    def _by_path(self) -> dict[str, SourceFile]:
        return {file.path: file for file in self.files}

    # Names and values

    def resolve(self, file: SourceFile, node: ast.AST) -> Reference | ModuleReference | None:
        """The class, function or module that a (dotted) name stands for."""
        if node not in self._resolved:
            self._resolved[node] = self.names.resolve(file, node)
        return self._resolved[node]

    def evaluate(self, file: SourceFile, node: ast.expr, frame: Frame | None = None) -> Value:
        """What an expression may be worth."""
        return self.evaluator.evaluate(file, node, frame)

    def member(self, value: Value, name: str) -> Value:
        """What a dot and a name lead to from a value."""
        return attribute_of(self.evaluator, value, name)

    def batch_of(self, loader: Instance) -> Value:
        """What a loader gives in one round."""
        return batch_of(loader)

    def function(self, file: SourceFile, node: ast.AST) -> UserFunction:
        """The function that this node defines."""
        known = self._functions.get(node)
        if known is None:
            assert isinstance(node, FunctionNode)
            known = self._functions[node] = UserFunction(self, file, node)
        return known

    def class_(self, file: SourceFile, node: ast.ClassDef) -> UserClass:
        """The class that this node defines."""
        known = self._classes.get(node)
        if known is None:
            known = self._classes[node] = UserClass(self, file, node)
        return known

    def setting(self, namespace: Instance, name: str) -> Value:
        """A command-line option as parsed, with its default."""
        home = namespace.call.file if namespace.call is not None else None
        for call in self.calls_named("add_argument"):
            words = [getattr(arg, "value", None) for arg in call.node.args]
            if (home is None or call.file is home) and any(
                isinstance(word, str) and word.lstrip("-").replace("-", "_") == name for word in words
            ):
                return Setting(name, call.argument_value(None, "default"))
        return Setting(name)

    # Calls

    @cached_property
    def _by_last_word(self) -> dict[str, list[tuple[SourceFile, ast.Call]]]:
        found: dict[str, list[tuple[SourceFile, ast.Call]]] = {}
        for file in self.torch_files:
            for word, nodes in file.index.calls.items():
                found.setdefault(word, []).extend((file, node) for node in nodes)
        return found

    @cached_property
    def _aliases(self) -> dict[str, set[str]]:
        """Other last words under which things are imported: `CE` for `CrossEntropyLoss`."""
        found: dict[str, set[str]] = {}
        for file in self.torch_files:
            for scope in file.index.scopes.values():
                for name, bindings in scope.bindings.items():
                    for binding in bindings:
                        last = binding.origin.rpartition(".")[2]
                        if binding.how == "import" and last != name:
                            found.setdefault(last, set()).add(name)
        return found

    def calls_named(self, *words: str) -> Iterator[Call]:
        """Every call whose last word before the parenthesis is one of these."""
        for word in words:
            for file, node in self._by_last_word.get(word, ()):
                yield Call(self, file, node)

    def calls(self, *names: str) -> Iterator[Call]:
        """Every call of these things of a library, by canonical dotted name, however imported."""
        wanted = set(names)
        words = dict.fromkeys(name.rpartition(".")[2] for name in names)
        for word in list(words):
            words.update(dict.fromkeys(self._aliases.get(word, ())))
        for call in self.calls_named(*words):
            if call.name in wanted:
                yield call

    def calls_in(self, file: SourceFile, scope: ast.AST, frame: Frame | None = None) -> Iterator[Call]:
        """Every call in a function's, class's or module's own code, in source order."""
        for node in file.index.calls_in.get(scope, ()):
            yield Call(self, file, node, frame)

    def attributes_in(self, function: UserFunction) -> list[Binding]:
        """What a function assigns to attributes."""
        return function.file.index.attributes_in.get(function.node, [])

    def callers(self, function: UserFunction) -> list[Call]:
        """Where the project calls one of its functions; empty when nobody does, or too many to compare."""
        known = self._callers.get(function)
        if known is None:
            self._callers[function] = []
            known = self._callers[function] = self._find_callers(function)
        return known

    def _find_callers(self, function: UserFunction) -> list[Call]:
        names = [cls.name for cls in self._made_by(function)] or [function.name]
        candidates = [found for name in names for found in self._by_last_word.get(name, ())]
        if len(candidates) > 4 * MOST_CALLERS:
            return []
        calls = [Call(self, file, node) for file, node in candidates]
        found = [call for call in calls if self._calls(call, function)]
        found += self._handed_up(function)
        return found if len(found) <= MOST_CALLERS else []

    def _handed_up(self, function: UserFunction) -> Iterator[Call]:
        """The calls, in constructors of derived classes, of the base's constructor."""
        owner = function.owner
        for heir in self._heirs.get(owner.name, ()) if owner is not None and function.name == "__init__" else ():
            own = next((method for method in heir.own_methods if method.name == "__init__"), None)
            for call in own.calls() if own is not None else ():
                if call.method == "__init__" and self.effects.targets(call) == (function,):
                    yield call

    def _made_by(self, function: UserFunction) -> list[UserClass]:
        """The classes whose objects a constructor makes: its own, and those derived from it that have none."""
        owner = function.owner
        if owner is None or function.name != "__init__":
            return []
        heirs = self._heirs.get(owner.name, ())
        return [owner, *(cls for cls in heirs if cls.method("__init__") is function)]

    @cached_property
    def _heirs(self) -> dict[str, list[UserClass]]:
        """The classes derived from each other one, by its name."""
        found: dict[str, list[UserClass]] = {}
        for cls in self.classes():
            for ancestor in cls.lineage[1:]:
                found.setdefault(ancestor.name, []).append(cls)
        return found

    def _calls(self, call: Call, function: UserFunction) -> bool:
        owner = function.owner
        target = self.resolve(call.file, call.node.func)
        if isinstance(target, Reference) and target.definition is not None:
            if owner is not None and function.name == "__init__":
                return isinstance(target.definition, UserClass) and target.definition.method("__init__") is function
            return target.definition is function
        if owner is None or call.receiver is None:
            return False
        return any(
            isinstance(value, Instance) and value.definition is not None and owner in value.definition.lineage
            for value in call.receiver.value.alternatives()
        )

    @property
    def called_words(self) -> Iterable[str]:
        """The last word of everything that is called anywhere."""
        return self._by_last_word.keys()

    @cached_property
    def callings(self) -> tuple[Calling, ...]:
        """What every function is called and calls, by name alone."""
        return tuple(callings(self))

    # What it does

    @cached_property
    def registries(self) -> Registries:
        """Dictionaries that decorators fill."""
        return Registries(self)

    @cached_property
    def effects(self) -> Effects:
        """What code does to gradients, weights and modes."""
        return Effects(self)

    @cached_property
    def loss_uses(self) -> tuple[LossUse, ...]:
        return tuple(find_losses(self))

    def losses(self, *kinds: str) -> Iterator[LossUse]:
        """Every computation of a loss of these kinds ("cross_entropy", ...), of all if none is named."""
        return (use for use in self.loss_uses if not kinds or use.kind in kinds)

    @cached_property
    def training_loops(self) -> tuple[TrainingLoop, ...]:
        """Every loop that trains: it is right around a step, and runs backward."""
        return tuple(loop for loop in self._loops_with_gradients if isinstance(loop, TrainingLoop))

    @property
    def epoch_loops(self) -> tuple[EpochLoop, ...]:
        """Every loop around loops that train."""
        return tuple(loop for loop in self._loops_with_gradients if isinstance(loop, EpochLoop))

    @property
    def stepless_loops(self) -> tuple[Round, ...]:
        """Every loop that runs backward and, as far as can be seen, takes no step."""
        return tuple(loop for loop in self._loops_with_gradients if not isinstance(loop, TrainingLoop | EpochLoop))

    @cached_property
    def _loops_with_gradients(self) -> tuple[Round, ...]:
        return tuple(loops_with_gradients(self))

    @cached_property
    def training_rounds(self) -> tuple[Round, ...]:
        """Every loop that trains, and every function that is one round of a loop somewhere else."""
        return tuple(training_rounds(self))

    @cached_property
    def framework_steps(self) -> tuple[FrameworkStep, ...]:
        """Every method that Lightning, or transformers' Trainer, runs on each batch."""
        return tuple(framework_steps(self))

    @cached_property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Every call of a model that measures it: without gradients, outside the rounds that train."""
        return tuple(evaluations(self))

    @cached_property
    def passes(self) -> tuple[Pass, ...]:
        """Every loader, each time it is known to serve training or a measurement."""
        return tuple(passes(self))

    @cached_property
    def models(self) -> tuple[Model, ...]:
        """Every class of the project's that is a model."""
        return tuple(Model.of_class(definition) for definition in self.classes() if definition.is_model)

    # Definitions

    def functions(self) -> Iterator[UserFunction]:
        """Every function and method of the files that have to do with torch, lambdas left out."""
        for file in self.torch_files:
            for node in file.index.functions:
                if not isinstance(node, ast.Lambda):
                    yield self.function(file, node)

    def classes(self) -> Iterator[UserClass]:
        """Every class of the files that have to do with torch."""
        for file in self.torch_files:
            for node in file.index.classes:
                yield self.class_(file, node)

    def expression(self, file: SourceFile, node: ast.expr) -> Expression:
        """An expression to be asked about."""
        return Call(self, file, node) if isinstance(node, ast.Call) else Expression(self, file, node)


@contextmanager
def without_collection() -> Iterator[None]:
    """Trees are many small objects that all stay: looking for garbage among them is half the time of reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
