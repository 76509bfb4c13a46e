"""Functions that a framework runs as one step of training or evaluation: Lightning's hooks, transformers' Trainer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torchdx.source.values import literal

if TYPE_CHECKING:
    from torchdx.source.definitions import UserClass, UserFunction
    from torchdx.source.program import Program

Framework = Literal["lightning", "transformers"]
Phase = Literal["training", "evaluation"]
MODULES = (
    "pytorch_lightning.LightningModule",
    "lightning.LightningModule",
    "lightning.pytorch.LightningModule",
    "pytorch_lightning.core.LightningModule",
    "pytorch_lightning.core.lightning.LightningModule",
)
TRAINERS = ("transformers.Trainer", "transformers.Seq2SeqTrainer", "transformers.trainer.Trainer")
STEPS: dict[Framework, dict[str, Phase]] = {
    "lightning": {
        "training_step": "training",
        "validation_step": "evaluation",
        "test_step": "evaluation",
        "predict_step": "evaluation",
    },
    "transformers": {
        "training_step": "training",
        "compute_loss": "training",
        "prediction_step": "evaluation",
        "evaluation_loop": "evaluation",
    },
}


@dataclass(frozen=True, eq=False)
class FrameworkStep:
    """A method that a framework calls for each batch.

    The framework itself switches modes and gradients; where it is `automatic`, it also clears the gradients, runs
    backward, clips, divides by the batches that are added up, and steps optimizers and schedulers.
    """

    function: UserFunction
    framework: Framework
    phase: Phase
    automatic: bool


def framework_of(cls: UserClass) -> Framework | None:
    """The framework whose module or trainer a class of the project's is."""
    if not cls.ancestry.isdisjoint(MODULES):
        return "lightning"
    return "transformers" if not cls.ancestry.isdisjoint(TRAINERS) else None


def framework_steps(program: Program) -> Iterator[FrameworkStep]:
    """Every method of the project's that a framework runs on each batch."""
    for file in program.torch_files:
        if b"lightning" not in file.bytes and b"transformers" not in file.bytes:
            continue
        for node in file.index.classes:
            cls = program.class_(file, node)
            framework = framework_of(cls)
            if framework is None:
                continue
            for method in cls.own_methods:
                phase = STEPS[framework].get(method.name)
                if phase is not None:
                    yield FrameworkStep(method, framework, phase, framework != "lightning" or not is_manual(cls))


def is_manual(cls: UserClass) -> bool:
    """Does a Lightning module step its optimizers itself? It says so by `automatic_optimization = False`."""
    word = "automatic_optimization"
    if cls.method(word) is not None:
        return True
    return any(
        binding.value is None or literal(cls.program.evaluate(owner.file, binding.value)) is not True
        for owner, _, binding in cls.attribute(word)
    )
