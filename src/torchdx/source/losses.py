"""Where a program computes a loss, which one, and from what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchdx.finding import Fix, Site
from torchdx.source import edits
from torchdx.source.endings import Ending, ending_of
from torchdx.source.expressions import Call, Expression, held_as
from torchdx.source.values import Instance, Value

if TYPE_CHECKING:
    from torchdx.source.program import Program

KINDS = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "NLLLoss2d": "nll_loss",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "KLDivLoss": "kl_div",
    "GaussianNLLLoss": "gaussian_nll_loss",
    "MSELoss": "mse_loss",
    "L1Loss": "l1_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss",
    "PoissonNLLLoss": "poisson_nll_loss",
    "CTCLoss": "ctc_loss",
}
"""Loss classes and the functions of `torch.nn.functional` that compute the same."""
LIKELY = re.compile(r"loss|crit|objective|entropy|cost|(^|_)(ce|bce|nll|kld?|mse|xent)(_|$)|func|fn$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class LossUse:
    """One computation of a loss: its kind as `torch.nn.functional` names it, and the call."""

    kind: str
    call: Call
    loss: Instance | None = None

    @property
    def site(self) -> Site:
        return self.call.site

    @property
    def input(self) -> Expression | None:
        """The prediction that goes in."""
        return self.call.argument(0, "log_probs" if self.kind == "ctc_loss" else "input")

    @property
    def target(self) -> Expression | None:
        """What it is compared with."""
        return self.call.argument(1, "targets" if self.kind == "ctc_loss" else "target")

    @property
    def ending(self) -> Ending:
        """What the prediction's numbers are."""
        return ending_of(self.input.value) if self.input is not None else Ending("unknown")

    def option(self, name: str) -> Value | None:
        """An option of the loss, wherever it is given: to the function, or to the class's constructor."""
        home = self.loss.call if self.loss is not None else self.call
        given = home.argument(None, name) if home is not None else None
        return given.value if given is not None else None

    def might_have(self, name: str) -> bool:
        """Is the option given, or might it be through `**`?"""
        home = self.loss.call if self.loss is not None else self.call
        return home is None or home.gives(name)


def exchanged(use: LossUse, layer: str, function: str, title: str) -> Fix | None:
    """A fix that has another loss in this one's place; None where it is not named by a dot, as in `nn.BCELoss`."""
    made = use.loss.call if use.loss is not None else use.call
    func = made.node.func if made is not None else None
    if made is None or not isinstance(func, ast.Attribute):
        return None
    name = layer if use.loss is not None else function
    return edits.fix(title, made.file, [edits.replace(made.file, func, f"{made.file.text_of(func.value)}.{name}")])


def find_losses(program: Program) -> Iterator[LossUse]:
    """Every use of a loss of torch's, as a function or as an object."""
    names = [f"torch.nn.functional.{kind}" for kind in dict.fromkeys(KINDS.values())]
    for call in program.calls(*names):
        yield LossUse(call.name.rpartition(".")[2], call)
    made = list(program.calls(*(f"torch.nn.{name}" for name in KINDS)))
    if not made:
        return
    words = {word for call in made for word in held_as(call)}
    words.update(word for word in program.called_words if not word or LIKELY.search(word))
    for call in program.calls_named(*sorted(words)):
        kinds = [_kind(value) for value in program.evaluate(call.file, call.node.func).alternatives()]
        if kinds and kinds[0] is not None and all(kind is not None and kind[0] == kinds[0][0] for kind in kinds):
            yield LossUse(kinds[0][0], call, kinds[0][1])


def _kind(value: Value) -> tuple[str, Instance] | None:
    if isinstance(value, Instance) and value.definition is None and value.dotted.startswith("torch.nn."):
        kind = KINDS.get(value.dotted.rpartition(".")[2])
        return (kind, value) if kind is not None else None
    return None
