"""A user's program as read: names resolved across functions and files, and what it does with models and losses."""

from torchdx.source.definitions import UserClass, UserFunction
from torchdx.source.effects import Event, optimizer_of, without_gradient
from torchdx.source.endings import Ending, ending_of
from torchdx.source.expressions import Call, Expression
from torchdx.source.file import SourceFile
from torchdx.source.loops import EpochLoop, Evaluation, Round, TrainingLoop
from torchdx.source.losses import LossUse
from torchdx.source.models import Model, Submodule
from torchdx.source.program import Program, without_collection
from torchdx.source.reading import Problem

__all__ = [
    "Call",
    "Ending",
    "EpochLoop",
    "Evaluation",
    "Event",
    "Expression",
    "LossUse",
    "Model",
    "Problem",
    "Program",
    "Round",
    "SourceFile",
    "Submodule",
    "TrainingLoop",
    "UserClass",
    "UserFunction",
    "ending_of",
    "optimizer_of",
    "without_collection",
    "without_gradient",
]
