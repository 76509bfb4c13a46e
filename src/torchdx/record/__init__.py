"""A record: what was seen of a run, and the questions that rules ask of it.

Facts lie on disk as they were written (`facts`); `Record` gathers them into layers, parameters, optimizers, loaders,
losses and phases, and its questions read like English.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torchdx.finding import Site
from torchdx.record.anatomy import Layer, Loader, LossUse, Optimizer, Parameter, Phase, site_of
from torchdx.record.answers import Answers, answers_of
from torchdx.record.clips import Clip, clips_of
from torchdx.record.experiments import Experiments
from torchdx.record.facts import PATTERN, RUN, Fact, UnreadableRecord, read_facts, read_run
from torchdx.record.job import Job
from torchdx.record.movement import Movement, movements_of
from torchdx.record.norms import Norm, norms_of
from torchdx.record.pairs import Pairs, pairs_of
from torchdx.record.pipelines import Journey, Pipeline, Step, pipelines_of
from torchdx.record.process import Process
from torchdx.record.progress import Progress, progress_of
from torchdx.record.schedules import Schedule, schedules_of
from torchdx.record.series import Series
from torchdx.record.states import Load
from torchdx.record.twins import Twin, twins_of

__all__ = [
    "Answers",
    "Clip",
    "Experiments",
    "Fact",
    "Job",
    "Journey",
    "Layer",
    "Load",
    "Loader",
    "LossUse",
    "Movement",
    "Norm",
    "Optimizer",
    "Pairs",
    "Parameter",
    "Phase",
    "Pipeline",
    "Process",
    "Progress",
    "Record",
    "Schedule",
    "Series",
    "Step",
    "Twin",
    "UnreadableRecord",
    "site_of",
]

ACTIVATIONS = frozenset({"Sigmoid", "Tanh", "Relu", "ReLU", "Hardtanh", "Hardsigmoid", "Softsign"})
CLASSIFIERS = frozenset({"cross_entropy", "nll_loss"})


@dataclass
class Record:
    """A watched run. Questions about training are answered for the process that took the most steps."""

    folder: Path | None = None
    run: Fact = field(default_factory=dict)
    processes: Sequence[Process] = ()

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read a record's folder.

        Raises UnreadableRecord if it is no record, cannot be read, or is of a newer version.
        """
        if not folder.is_dir():
            raise UnreadableRecord(f"{folder} is not a folder; a record is the folder that `torchdx run` names.")
        files = sorted(folder.glob(PATTERN))
        if not files and not (folder / RUN).exists():
            raise UnreadableRecord(f"{folder} holds no record.")
        return cls(folder, read_run(folder), [Process.of(read_facts(file)) for file in files])

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> Record:
        """The record of one process, from facts at hand."""
        return cls(processes=[Process.of(facts)])

    # --- the run as a whole

    @cached_property
    def process(self) -> Process:
        """The process that trained: the one with the most optimizer steps."""
        return max(self.processes, key=lambda p: (p.steps, -p.joined.get("rank", 0)), default=Process())

    @cached_property
    def job(self) -> Job | None:
        """The ranks of a job, beside each other; None for a program that is not one."""
        return Job.of(self.processes)

    def until(self, step: int) -> Record:
        """The record as it would be had it been read after this optimizer step."""
        return Record(self.folder, self.run, [process.until(step) for process in self.processes])

    @property
    def saw_torch(self) -> bool:
        """Did any watched process import torch?"""
        return bool(self.processes)

    @property
    def steps(self) -> int:
        """How many optimizer steps were taken."""
        return self.process.steps

    @property
    def looks(self) -> int:
        """How many of them were looked at closely."""
        return len({fact["step"] for kind in ("gradients", "outputs") for fact in self.process.all(kind)})

    @property
    def overhead(self) -> float:
        """The time spent watching over all other time of the process, by the watcher's own books."""
        seen = [*self.process.all("step"), *self.process.all("end")]
        spent = max((fact.get("spent", 0.0) for fact in seen), default=0.0)
        passed = max((fact.get("t", 0.0) for fact in seen), default=0.0)
        passed += self.process.first("torch").get("before", 0.0)
        return spent / (passed - spent) if passed > spent else 0.0

    @property
    def ended(self) -> Fact:
        """How the training process ended, as far as it could still say so."""
        return self.process.last("end")

    @cached_property
    def experiments(self) -> Experiments:
        """What was found by experiments on copies of the model, where they were asked for."""
        return Experiments(self.process)

    @cached_property
    def pipelines(self) -> Sequence[Pipeline]:
        """Every pipeline of data that was audited."""
        return pipelines_of(self.process)

    @property
    def nonfinite(self) -> list[Fact]:
        """Where NaN or infinity was met, first things first."""
        return self.process.all("nonfinite")

    # --- what the program is made of

    @property
    def layers(self) -> list[Layer]:
        """Every layer that computes something itself, in order of use."""
        return [layer for layer in self.process.layers.values() if layer.leaf]

    def inner_layers(self, *classes: str) -> list[Layer]:
        """The layers of these classes (any case, module or functional) that are not their model's last."""
        wanted = {name.lower() for name in classes}
        last = {layer.model: layer.id for layer in self.layers if layer.looks}
        return [layer for layer in self.layers if layer.cls.lower() in wanted and last.get(layer.model) != layer.id]

    @property
    def parameters(self) -> list[Parameter]:
        """Every parameter of every model."""
        return list(self.process.parameters.values())

    def parameters_within(self, module: int) -> list[Parameter]:
        """The parameters of the module of this number and of everything in it."""
        facts = self.process.all("module")
        root = next((fact for fact in facts if fact["id"] == module), None)
        if root is None:
            return []
        own, inside = root["name"], f"{root['name']}." if root["name"] else ""
        parts = [f for f in facts if f["model"] == root["model"] and (f["name"] == own or f["name"].startswith(inside))]
        ids = {number for part in parts for number in part.get("params", {}).values()}
        return [parameter for parameter in self.parameters if parameter.id in ids]

    @property
    def weights(self) -> list[Parameter]:
        """The trainable matrices and kernels that a gradient was measured for."""
        return [p for p in self.parameters if p.trainable and p.is_weight and p.gradient]

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """Every optimizer that took a step."""
        return self.process.optimizers

    def unoptimised_parameters(self) -> list[Parameter]:
        """The trainable parameters of used models that no optimizer holds; empty if no optimizer was seen."""
        if not self.optimizers:
            return []
        held = frozenset().union(*(optimizer.parameter_ids for optimizer in self.optimizers))
        return [p for p in self.parameters if p.trainable and p.id not in held]

    def left_out_parameters(self) -> list[Parameter]:
        """The unoptimised parameters that hold a gradient for nothing, in a model other parts of which are optimised.

        Gradients reach the parts of a loss that nobody means to train, too: so those of whole other models, and those
        whose values were loaded, are not among them.
        """
        held = frozenset().union(*(optimizer.parameter_ids for optimizer in self.optimizers))
        trained = {parameter.model for parameter in self.parameters if parameter.id in held}
        pulled = self.process.last("gradients").get("outside", ())  # the last: others may have been added since
        return [p for p in self.unoptimised_parameters() if p.id in pulled and p.model in trained and not p.loaded]

    @property
    def loaders(self) -> Sequence[Loader]:
        """Every DataLoader that gave a batch."""
        return self.process.loaders

    @property
    def loads(self) -> Sequence[Load]:
        """Every `load_state_dict` of a module that was told of."""
        return self.process.loads

    # --- how training went

    @property
    def objective(self) -> Series:
        """The value that `backward` was called on, over optimizer steps."""
        return self.process.objective

    @property
    def learning_rate(self) -> Series:
        """The learning rate of the first parameter group, over optimizer steps."""
        return self.process.learning_rate

    @cached_property
    def progress(self) -> Progress:
        """How far training got, on the loss's own scale."""
        return progress_of(self)

    @cached_property
    def movements(self) -> list[Movement]:
        """How the weights of each optimizer move."""
        return movements_of(self)

    @cached_property
    def norms(self) -> list[Norm]:
        """Every layer of batch normalisation that was seen in use."""
        return norms_of(self)

    @cached_property
    def clips(self) -> Sequence[Clip]:
        """What clipping did to the gradients, at each step told of that had any."""
        return clips_of(self)

    @cached_property
    def schedules(self) -> Sequence[Schedule]:
        """How each schedule of a learning rate was followed, in a run that could say so at its end."""
        return schedules_of(self)

    @cached_property
    def twins(self) -> Sequence[Twin]:
        """Every untrained copy of a trained module that was there when training began, or came later."""
        return twins_of(self.process.all("twin"))

    @property
    def idle_updates(self) -> Sequence[Site]:
        """Lines that would update one module from another, and were never reached; asked where a copy stood still."""
        told = self.process.last("idle_update").get("sites", ())
        return [site for place in told if (site := site_of(place)) is not None]

    def phases(self, what: str) -> list[Phase]:
        """The phases of this kind: "train" or "eval"."""
        return [phase for phase in self.process.phases if phase.what == what]

    @property
    def losses(self) -> Sequence[LossUse]:
        """Every loss function called, by place."""
        return self.process.losses

    @cached_property
    def answers(self) -> Sequence[Answers]:
        """What the losses' answers were like, by place and phase."""
        return answers_of(self.process.all("answers"))

    @cached_property
    def pairs(self) -> Sequence[Pairs]:
        """The samples and targets of each loss, as far as they were looked at beside each other."""
        return pairs_of(self.process.all("pairs"))

    def losses_called(self, *functions: str) -> list[LossUse]:
        """The uses of these functions, such as "cross_entropy"."""
        return [use for use in self.losses if use.function in functions]

    @cached_property
    def latest_start(self) -> int:
        """The step after which the latest training began: earlier ones had other optimizers, which rest since then.

        A program that trains a teacher and then a student, or one model for each fold, trains several times; a
        program whose optimizers take turns, as a GAN's do, trains once.
        """
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for fact in self.process.all("step"):
            first.setdefault(fact.get("optimizer", 0), fact["n"])
            last[fact.get("optimizer", 0)] = fact["n"]
        begins = {fact["id"]: fact.get("step", 0) for fact in self.process.all("optimizer")}
        starts = [begins.get(own, n - 1) for own, n in first.items()]
        alone = (s for s in starts if all(last[own] <= s or begins.get(own, n - 1) >= s for own, n in first.items()))
        return max(alone, default=0)

    def training_loss(self) -> Series:
        """The mean loss of each training phase of the latest training, over the step it ended at."""
        phases = [phase for phase in self.phases("train") if phase.last_step > self.latest_start]
        return Series.of((phase.last_step, phase.loss) for phase in phases)

    def validation_loss(self) -> Series:
        """The mean loss of each evaluation phase of the latest training, over the step it was made at."""
        phases = [phase for phase in self.phases("eval") if phase.last_step > self.latest_start]
        return Series.of((phase.last_step, phase.loss) for phase in phases)

    # --- classification, on its scale

    @cached_property
    def classification(self) -> LossUse | None:
        """The loss use that trains a classifier on class indices, if there is one."""
        for use in self.losses_called(*CLASSIFIERS):
            if any(look["target"].get("counts") for look in use.calls()):
                return use
        return None

    @property
    def classes(self) -> int | None:
        """How many classes the classifier tells apart."""
        return self._class_count(self.classification) if self.classification else None

    @staticmethod
    def _class_count(use: LossUse) -> int | None:
        shapes: Iterator[Sequence[int]] = (look["input"]["shape"] for look in use.looks)
        return next((shape[1] if len(shape) > 1 else shape[0] for shape in shapes), None)

    @cached_property
    def label_counts(self) -> Counter[int]:
        """How often each label was seen in training, at the looks."""
        counts: Counter[int] = Counter()
        if self.classification:
            for look in self.classification.calls():
                counts.update({int(label): n for label, n in look["target"].get("counts", {}).items()})
        return counts

    @property
    def uniform_loss(self) -> float | None:
        """log C in nats: the cross entropy of guessing uniformly."""
        return math.log(self.classes) if self.classes else None

    @property
    def label_entropy(self) -> float | None:
        """H(Y) in nats: the cross entropy of knowing nothing but the class frequencies."""
        total = sum(self.label_counts.values())
        if not total:
            return None
        return -sum(n / total * math.log(n / total) for n in self.label_counts.values() if n)
