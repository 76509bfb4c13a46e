"""A fault, and what counts as naming it."""

from __future__ import annotations

from collections.abc import Mapping

from planting import Edit, Planted

KINDS: Mapping[str, frozenset[str]] = {
    name: frozenset(rules.split())
    for name, rules in {
        "learning rate far too high": "learning-rate-too-high loss-bounces",
        "learning rate far too low": "learning-rate-too-low",
        "gradients never cleared": "gradients-not-cleared method-not-called",
        "gradients cleared before the step": "gradients-cleared-before-step",
        "step never taken": "missing-step method-not-called update-thrown-away",
        "softmax before cross entropy": "softmax-before-cross-entropy",
        "sigmoid before its own loss": "softmax-before-cross-entropy",
        "softmax over the batch": "softmax-over-wrong-axis",
        "ReLU on the logits": "activation-before-logits-loss",
        "log-softmax missing": "nll-of-probabilities",
        "divergence of probabilities": "kl-divergence-of-probabilities",
        "broadcast loss": "broadcast-loss",
        "loss of another task": "loss-for-other-task",
        "deviation given for variance": "variance-passed-as-std variance-below-errors",
        "raw inputs": "unscaled-input",
        "scaled twice": "double-scaling",
        "labels do not belong to inputs": "labels-unrelated",
        "sorted and not shuffled": "unshuffled-batches unshuffled-training-data",
        "deep sigmoid stack": "vanishing-gradient signal-lost-in-depth",
        "deep ReLU stack, default start": "vanishing-gradient signal-lost-in-depth",
        "weights start too small": "vanishing-gradient signal-lost-in-depth",
        "weights start alike": "symmetric-initialisation",
        "weights start huge": "exploding-gradient initial-loss-off-scale saturated-activation signal-lost-in-depth",
        "dead ReLU": "dead-relu",
        "forget gate shut": "forget-gate-shut",
        "no nonlinearity": "linear-after-linear",
        "divergence averaged over classes": "kl-averaged-over-classes",
        "parameter not registered": "tensor-not-registered",
        "schedule of another length": "schedule-of-other-length",
        "part not optimised": "parameter-not-optimised",
        "modules in a plain list": "modules-in-plain-list parameter-not-optimised",
        "layer made in forward": "layer-made-in-forward",
        "another model optimised": "optimizer-of-other-parameters optimizer-before-change parameter-not-optimised",
        "random part frozen": "frozen-random-weights",
        "graph cut": "graph-cut parameter-never-reached",
        "batch norm momentum misread": "batchnorm-momentum-misread",
        "batch norm on tiny batches": "batchnorm-on-tiny-batches",
        "argument in wrong slot": "argument-in-wrong-slot",
        "evaluated in training mode": "eval-mode-missing",
        "training mode not restored": "training-mode-not-restored batchnorm-without-statistics",
        "dropout always on": "dropout-always-on",
        "too much dropout": "too-much-dropout",
        "gradients clipped to nothing": "clipped-nearly-always",
        "not a number": "nonfinite-value logarithm-of-unguarded-probability",
        "half precision": "nonfinite-value half-precision-underflow",
        "collapse to one class": "one-class-predictions one-class-weighed",
        "penalty drowns the loss": "penalty-drowns-loss",
        "rate falls to zero": "scheduler-at-wrong-cadence schedule-of-other-length",
        "accumulation not divided": "undivided-accumulation",
        "sum in place of mean": "learning-rate-too-high",
        "padding counted": "padding-in-loss",
        "state never detached": "hidden-state-not-detached",
        "overfitting": "overfitting",
        "future seen": "future-leak",
        "samples mixed": "batch-mixing view-instead-of-permute future-leak batch-taken-for-time",
        "target among the inputs": "target-among-inputs future-leak",
        "posterior collapse": "posterior-collapse penalty-drowns-loss",
        "class weights inverted": "one-class-predictions",
        "wrong custom backward": "backward-ignores-gradient",
        "train and validation scaled differently": "evaluated-on-other-scale",
        "batch_first forgotten": "batch-taken-for-time batch-mixing",
        "targets not shifted": "future-leak",
        "warm-up longer than the training": "schedule-of-other-length learning-rate-too-low",
        "attention softmax over a wrong dimension": "softmax-over-wrong-axis batch-mixing",
        "weight decay far too strong": "penalty-drowns-loss",
        "accumulation clears each micro batch": "gradients-cleared-before-step",
        "wrong sign of a loss term": "loss-without-floor",
        "output cannot reach the targets": "targets-out-of-reach",
        "generator trained on detached fakes": "graph-cut parameter-never-reached",
        "weight average never updated": "update-thrown-away average-left-behind",
        "average slower than the training": "average-left-behind",
        "target network never updated": "update-thrown-away target-never-updated",
        "padding read as the last state": "padding-counts",
        "padding pooled as if it were data": "padding-counts",
        "wrong sign of REINFORCE": "reversed-policy-gradient",
        "returns summed the wrong way": "returns-out-of-order",
        "sampler given weights of classes": "samples-never-drawn",
        "image augmented without its mask": "picture-turned-alone",
        "temperature multiplied, not divided by": "similarities-too-flat temperature-multiplied",
        "contrastive loss without negatives": "embeddings-all-alike",
        "early stopping watches the wrong way": "worst-taken-for-best",
        "noise added in place to the clean picture": "target-changed-in-place",
        "scored on the training data": "scored-on-training-data",
    }.items()
}
"""For each kind of fault, the rules that name its true cause; where there is none yet, it can only be missed."""


class Fault(Planted):
    """One fault, planted in one program."""

    @property
    def causes(self) -> frozenset[str]:
        """The rules of which one should come first."""
        return KINDS[self.kind]


def plant(program: str, kind: str, *edits: Edit, proven: str = "") -> Fault:
    """One fault."""
    return Fault(program, kind, edits, proven)
