"""Loss functions: which, where, on what kind of input, with what value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchdx.watch.answers import Answers, blind, parts, shares, tail
from torchdx.watch.lineage import maker_of
from torchdx.watch.mixtures import axis_of
from torchdx.watch.phases import Phases
from torchdx.watch.places import Place, user_place
from torchdx.watch.session import Session
from torchdx.watch.tensors import across, describe, is_plain, likeness, number, saved

FUNCTIONS = (
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
    "gaussian_nll_loss",
    "poisson_nll_loss",
    "soft_margin_loss",
    "hinge_embedding_loss",
)
_LARGEST = 200_000
_ROWS = 256  # as many as a likeness is judged by
_MOST_TOLD = 8  # calls of one place in one step: a loss of every step of a sequence is called hundreds of times
_MOST_CLASSES = 1000
_OPTIONS = {
    "cross_entropy": {"weight": 2, "ignore_index": 4, "reduction": 6, "label_smoothing": 7},
    "nll_loss": {"weight": 2, "ignore_index": 4, "reduction": 6},
    "binary_cross_entropy": {"weight": 2, "reduction": 5},
    "binary_cross_entropy_with_logits": {"weight": 2, "reduction": 5, "pos_weight": 6},
    "mse_loss": {"reduction": 4},
    "l1_loss": {"reduction": 4},
    "smooth_l1_loss": {"reduction": 4},
    "huber_loss": {"reduction": 2},
    "poisson_nll_loss": {"reduction": 7},
    "kl_div": {"reduction": 4, "log_target": 5},
    "gaussian_nll_loss": {"full": 3, "eps": 4, "reduction": 5},
    "soft_margin_loss": {"reduction": 4},
    "hinge_embedding_loss": {"margin": 2, "reduction": 5},
}

_MOST_WEIGHTS = 50
"""Classes whose weights are told."""

_PICKS = ("IndexBackward0", "IndexSelectBackward0", "SliceBackward0")
"""What leaves rows as they are and takes some of them: the nodes of a graph, say, whose labels are known."""


class Losses:
    """Sees every call of a loss function of torch, whoever makes it."""

    def __init__(self, session: Session, phases: Phases) -> None:
        self.session = session
        self.phases = phases
        self._answers = Answers(session)
        self._told: dict[tuple[int, str, str, str], int] = {}
        for name in FUNCTIONS:
            session.weave(getattr(functional, name), after=self._called(name))

    def _called(self, name: str) -> Callable[..., None]:
        def called(result: Any, *arguments: Any) -> None:
            if is_plain(result):
                self._see(name, result, arguments, user_place(2))

        return called

    def _see(self, name: str, result: Tensor, arguments: tuple[Any, ...], place: Place | None) -> None:
        if result.grad_fn is None and not self.phases.can_take(self.session.governor.affords_glance()):
            return
        given, target = arguments[0], arguments[1] if len(arguments) > 1 else None
        value = self._value(result)
        right = None
        if self.session.looking or (result.grad_fn is None and self.session.governor.affords_glance()):
            with self.session.governor.look():
                right = self._accuracy(name, given, target)
        samples = given.shape[0] if isinstance(given, Tensor) and given.dim() else 1
        each = None if value is None else value / _terms(name, arguments)
        phase = self.phases.loss(name, place, result, each, right, samples)
        if phase == "eval" and self.phases.wants_parts(name, place) and self.session.governor.affords_glance():
            with self.session.governor.look():
                self.phases.keep_parts(name, place, parts(name, arguments))
        if self._answers.due(name, place, phase):
            with self.session.governor.look():
                self._answers.tell(name, arguments, value, place, phase)
        if self._is_told(name, place, phase):
            with self.session.governor.look():
                self._write(name, arguments, value, right, place, phase)

    def _is_told(self, name: str, place: Place | None, phase: str) -> bool:
        """Is this call written down: at a look, the first few of each place; between, one of each evaluation?"""
        if not (self.session.looking or phase == "eval"):
            return False
        step = self.session.step
        key = (step, phase, name, "" if phase == "eval" else str(place))
        times = self._told.get(key, 0)
        self._told = {k: n for k, n in self._told.items() if k[0] == step} | {key: times + 1}
        return times < (1 if phase == "eval" else _MOST_TOLD)

    @staticmethod
    def _value(result: Tensor) -> float | None:
        if result.device.type != "cpu":
            return None
        return number(result) if result.numel() == 1 else number(result.detach().float().mean())

    def _accuracy(self, name: str, given: Any, target: Any) -> float | None:
        """The share of right answers, where input and target are a classifier's and small enough to look through."""
        if not (isinstance(given, Tensor) and isinstance(target, Tensor)) or given.device.type != "cpu":
            return None
        if given.numel() > _LARGEST or given.numel() == 0:
            return None
        if name in ("cross_entropy", "nll_loss") and given.dim() == target.dim() + 1 and given.dim() > 1:
            return number((given.detach().argmax(1) == target).float().mean())
        if name.startswith("binary_cross_entropy") and given.shape == target.shape:
            middle = 0.0 if name.endswith("logits") else 0.5
            return number(((given.detach() > middle) == (target > 0.5)).float().mean())
        return None

    def _write(
        self, name: str, arguments: tuple[Any, ...], value: float | None, right: float | None, place: Any, phase: str
    ) -> None:
        given, target = arguments[0], arguments[1] if len(arguments) > 1 else None
        dim = -1 if name == "kl_div" else 1
        told_input: dict[str, Any] = {}
        told_target: dict[str, Any] = {}
        if isinstance(given, Tensor):
            told_input = {**describe(given), **across(given)}
            if given.dim() > 1 or (dim == -1 and given.dim()):
                told_input["like"] = likeness(given, dim if dim == 1 else given.dim() - 1)
                told_input["predicted"] = _predicted(name, given)
            if name in ("nll_loss", "kl_div", "cross_entropy"):
                told_input.update(_along_batch(given, told_input.get("like")))
            told_input["made_by"] = maker_of(given.grad_fn)
        if isinstance(target, Tensor):
            told_target = describe(target)
            told_target["counts"] = _counts(target)
            if phase == "train":
                told_target["tail"] = tail(given, target)
                told_target.update({**blind(name, arguments), **shares(name, target)})
            if target.is_floating_point() and target.dim() > 1:
                told_target["like"] = likeness(target, target.dim() - 1)
                told_target.update(_along_batch(target, told_target["like"]))
        extra: dict[str, Any] = {}
        if name == "gaussian_nll_loss" and isinstance(arguments[2], Tensor):
            extra["variance"] = describe(arguments[2])
        self.session.write(
            "loss",
            step=self.session.step + (phase == "train"),
            fn=name,
            site=place,
            phase=phase,
            value=value,
            accuracy=right,
            input=told_input,
            target=told_target,
            options=_options(name, arguments),
            **extra,
        )


def _along_batch(scores: Tensor, like: Any) -> dict[str, bool | int]:
    """Are these, which are no distributions over classes, distributions over the samples of a batch?"""
    if like not in ("unit", "logits") or scores.dim() != 2 or scores.shape[0] < 2:
        return {}
    whole = _softmax_of_rows(scores)
    if whole is not None:
        return {"along_batch": True, "of": whole}
    summed = scores.shape[0] <= _ROWS and likeness(scores, 0).endswith("probabilities")
    return {"along_batch": True} if summed else {}


def _softmax_of_rows(scores: Tensor) -> int | None:
    """How many rows a softmax along them had, some or all of which these are; None if the graph shows none."""
    node: Any = scores.grad_fn
    while node is not None and node.name() in _PICKS:
        node = node.next_functions[0][0]
    if node is None or node.name() not in ("LogSoftmaxBackward0", "SoftmaxBackward0"):
        return None
    result = saved(node, "_saved_result")
    along = result is not None and result.dim() == 2 and axis_of(node._saved_dim, 2) == 0
    return result.shape[0] if result is not None and along else None


def _terms(name: str, arguments: tuple[Any, ...]) -> int:
    """How many terms a loss is summed up over, so that phases are compared by the mean whatever the reduction."""
    place = _OPTIONS.get(name, {}).get("reduction", len(arguments))
    summed = place < len(arguments) and arguments[place] == "sum" and isinstance(arguments[1], Tensor)
    return max(1, arguments[1].numel()) if summed else 1


def _options(name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The options that change what the value means; of a tensor, but for weights of classes, only that it was given."""
    given = {o: arguments[k] for o, k in _OPTIONS.get(name, {}).items() if k < len(arguments)}
    return {option: _weights(name, option, v) if isinstance(v, Tensor) else v for option, v in given.items()}


def _weights(name: str, option: str, value: Tensor) -> Any:
    """The weights of a few classes; else only that there are some."""
    few = 0 < value.numel() <= _MOST_WEIGHTS and value.device.type == "cpu" and is_plain(value)
    of_classes = option == "pos_weight" or name in ("cross_entropy", "nll_loss")
    return value.detach().flatten().tolist() if few and of_classes else True


def _counts(target: Tensor) -> dict[str, int] | None:
    """How often each class index occurs."""
    if target.is_floating_point() or target.is_complex() or target.device.type != "cpu" or target.numel() == 0:
        return None
    labels = target.detach().flatten()
    labels = labels[labels >= 0]
    if labels.numel() == 0 or int(labels.max()) >= _MOST_CLASSES:
        return None
    counts = torch.bincount(labels.long()).tolist()
    return {str(label): count for label, count in enumerate(counts) if count}


def _predicted(name: str, given: Tensor) -> dict[str, int] | None:
    """How often each class is the most probable one."""
    if name not in ("cross_entropy", "nll_loss") or given.numel() > _LARGEST or given.dim() < 2:
        return None
    return _counts(given.detach().argmax(1)) if given.shape[1] < _MOST_CLASSES else None
