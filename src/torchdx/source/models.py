"""Models: what a `torch.nn.Module` of the user's, or a Sequential, is built of and ends in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torchdx.source.calling import frame_of, inherited_sequential, returned
from torchdx.source.contents import contents
from torchdx.source.definitions import UserClass
from torchdx.source.endings import UNKNOWN_ENDING, Ending, ending_of, first_output
from torchdx.source.values import CONTAINERS, Frame, Instance, Value, literal
from torchdx.source.walks import reached

MOST_MODULES = 1000
WITH_PARAMETERS = re.compile(r"^torch\.nn\.(Lazy)?(Linear|Bilinear|Conv|LSTM|GRU|RNN|Embedding|Multihead|Transformer)")


@dataclass(frozen=True)
class Submodule:
    """A module held by a model under a name, and what it may be."""

    name: str
    value: Value

    @property
    def instances(self) -> tuple[Instance, ...]:
        return tuple(choice for choice in self.value.alternatives() if isinstance(choice, Instance))


class Model:
    """One model: an object of a class of the project's (or of a torch container), as one constructor call makes it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    @classmethod
    def of_class(cls, definition: UserClass) -> Model:
        """The model that a class describes, whatever its constructor is given."""
        return cls(definition.program.evaluator.this(definition))

    @property
    def name(self) -> str:
        return self.instance.dotted.rpartition(".")[2]

    @property
    def submodules(self) -> tuple[Submodule, ...]:
        """What it holds under its own names, in order of definition."""
        return tuple(self._submodules())

    def _submodules(self) -> Iterator[Submodule]:
        definition = self.instance.definition
        if definition is None:
            held, _ = contents(self.instance) if self.instance.dotted in CONTAINERS else ((), False)
            yield from (Submodule(str(place), value) for place, value in enumerate(held))
            return
        if self.instance.is_a("torch.nn.Sequential"):
            held, _ = contents(inherited_sequential(self.instance))
            yield from (Submodule(str(place), value) for place, value in enumerate(held))
        for cls in reversed(definition.lineage):
            for name, found in cls.own_attributes.items():
                for method, binding in found:
                    frame = frame_of(self.instance, method)
                    value = definition.program.evaluator.bound(cls.file, binding, frame)
                    if any(isinstance(v, Instance) and v.is_module for v in value.alternatives()):
                        yield Submodule(name, value)

    def everything(self) -> Iterator[Instance]:
        """Every module inside it, however deep, that reading can see."""
        for inner in reached(self.instance, _held_by, MOST_MODULES):
            if isinstance(inner, Instance) and inner is not self.instance:
                yield inner

    def holds(self, *kinds: str) -> bool:
        """Does it hold, at any depth, a torch layer whose name starts so: `holds("Dropout", "BatchNorm")`?"""
        return any(instance.dotted.startswith(f"torch.nn.{kind}") for instance in self.everything() for kind in kinds)

    @property
    def changes_with_mode(self) -> bool:
        """Does it compute something else in training than in evaluation?"""
        return any(_changes(instance) for instance in self.everything())

    @property
    def ending(self) -> Ending:
        """What its forward ends in; of several outputs, the first."""
        definition = self.instance.definition
        forward = definition.method("forward") if definition is not None else None
        if forward is None:
            return UNKNOWN_ENDING
        return ending_of(first_output(returned(Frame(forward, this=self.instance))))


def _held_by(module: Value) -> Iterator[Value]:
    for submodule in Model(module).submodules if isinstance(module, Instance) else ():
        yield from (instance for instance in submodule.instances if instance.is_module)


def has_parameters(instance: Instance) -> bool:
    """Does it certainly have weights that training is meant to change?"""
    if instance.definition is None and WITH_PARAMETERS.match(instance.dotted):
        return True
    return any(WITH_PARAMETERS.match(inner.dotted) for inner in Model(instance).everything())


def _changes(instance: Instance) -> bool:
    name = instance.dotted.rpartition(".")[2]
    if instance.definition is not None or not instance.dotted.startswith("torch.nn.") or instance.call is None:
        return False
    if name.startswith("Dropout") or name == "AlphaDropout":
        rate = instance.call.argument(0, "p")
        return rate is None or rate.literal not in (0, 0.0)
    if name.startswith(("BatchNorm", "LazyBatchNorm", "SyncBatchNorm")):
        return literal(instance.call.argument_value(4, "track_running_stats")) is not False
    return False
