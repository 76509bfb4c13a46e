"""The verdict of the lecture's guide: is training loss low? is validation loss low? and if not, whose fault is it?"""

from __future__ import annotations

from collections.abc import Sequence

from torchdx.exam.symptoms import ENOUGH_STEPS, Course
from torchdx.finding import Finding, Verdict
from torchdx.record import Record

AREAS = {
    "data": "data",
    "loss": "loss",
    "activations": "model",
    "normalisation": "model",
    "gradients": "optimisation",
    "schedules": "optimisation",
    "loop": "optimisation",
    "device": "program",
    "generalisation": "generalisation",
    "distributed": "ranks",
}
"""What the fault lies in, by the family of the cause found."""

BY_HEART = 0.3
"""Loss that a copy reached on one batch over a constant answer's, below which it has learnt it. Healthy programs: 0.02
to 0.13; models that cannot: 0.98 to 1.0 (see cannot-fit-one-batch)."""


def verdict_of(record: Record | None, course: Course, findings: Sequence[Finding]) -> Verdict:
    """One name, one sentence, and the numbers behind it."""
    causes = [finding for finding in findings if finding.severity != "note"]
    if record is None:
        return _of_source(causes)
    if not record.saw_torch:
        return Verdict("not enough evidence", "No process of this run imported torch, so nothing was seen of training.")
    if "non-finite" in course.symptoms or "diverged" in course.symptoms:
        return _diverged(course, causes)
    if course.steps < ENOUGH_STEPS and not causes:
        count = f"Only {course.steps} optimizer steps were" if course.steps else "No optimizer step was"
        words = f"{count} seen; learning is judged from {ENOUGH_STEPS} on."
        return Verdict("not enough evidence", words, course.evidence)
    if "not-learning" in course.symptoms:
        return _not_learning(course, causes, _one_batch(record, findings))
    if any(cause.rule == "overfitting" for cause in causes):
        rose = f" to {_said(course.validation.last)}" if course.validation else ""  # what is worked out by hand is none
        words = f"Training loss fell to {_said(course.last)} while validation loss turned and rose{rose}: "
        words += "the model fits what does not carry over."
        return Verdict("overfitting", words, course.evidence)
    if "validation-gap" in course.symptoms and not causes:
        return _not_generalising(course)
    return _learning(course, causes)


def _of_source(causes: Sequence[Finding]) -> Verdict:
    if causes:
        return Verdict("faults found", f"{_count(causes)} found in the source; nothing was run.")
    return Verdict("no fault found", "Nothing was found in the source; nothing was run.")


def _diverged(course: Course, causes: Sequence[Finding]) -> Verdict:
    if "non-finite" in course.symptoms:
        words = "Values that are not finite were met, and nothing is learnt from them."
    else:
        words = f"The loss went down to {_said(course.best)} and ended at {_said(course.last)}."
    return Verdict("diverged", words + _led_by(causes), course.evidence)


def _not_learning(course: Course, causes: Sequence[Finding], one_batch: str) -> Verdict:
    words = f"After {course.steps} steps the training loss is {_said(course.last)}; a model that sees no inputs "
    words += f"reaches {_said(course.prior)} ({course.prior_name})."
    if not causes and course.still_falls:
        return Verdict("not enough evidence", words + " But it was still falling: train for longer.", course.evidence)
    if not causes:
        return Verdict("not learning", words + " No rule found the cause." + one_batch, course.evidence)
    area = AREAS.get(causes[0].family, "model")
    return Verdict(f"not learning: {area}", words + _led_by(causes) + one_batch, course.evidence)


def _one_batch(record: Record, findings: Sequence[Finding]) -> str:
    """What the experiment with one batch says of where to look, if it was made and is clear."""
    if any("cannot-fit-one-batch" in (one.rule, *(f.rule for f in one.consequences)) for one in findings):
        return " A copy could not even learn one batch by heart: look at the model, its graph and the labels."
    left = record.experiments.left_by_heart
    if left is not None and left < BY_HEART:
        return " A copy learnt one batch by heart from the same start: the model can; look at optimisation and data."
    return ""


def _not_generalising(course: Course) -> Verdict:
    best = course.validation.lowest
    words = f"Training loss {_said(course.last)} is well below the {_said(course.prior)} of a model that sees no "
    words += f"inputs ({course.prior_name}), but validation loss is {_said(course.validation.last)}"
    if best < 0.5 * (course.last + course.validation.last):
        return Verdict("overfitting", f"{words}, after a best of {_said(best)}.", course.evidence)
    words += f", and was never better than {_said(best)}: overfitting, or validation data unlike the training data."
    return Verdict("not generalising: overfitting or mismatch", words, course.evidence)


def _learning(course: Course, causes: Sequence[Finding]) -> Verdict:
    if causes:
        learns = f"It learns (training loss {_said(course.start)} to {_said(course.last)}), but worse than it could"
        words = learns if course.last < 0.9 * course.first else "Faults were found that keep it from learning well"
        return Verdict(
            f"impaired: {AREAS.get(causes[0].family, 'model')}", words + "." + _led_by(causes), course.evidence
        )
    if course.prior is not None:
        words = f"Training loss {_said(course.last)} is below the {_said(course.prior)} of a model that sees no inputs "
        words += f"({course.prior_name})"
        if course.validation:
            words += f"; validation loss is {_said(course.validation.last)}"
        return Verdict("healthy", words + ".", course.evidence)
    if course.last < course.first:
        words = f"The training loss fell from {_said(course.start)} to {_said(course.last)}, and no fault was found."
        return Verdict("healthy", words, course.evidence)
    words = "No fault was found, but this loss has no scale that tells whether the model learns."
    return Verdict("no fault found", words, course.evidence)


def _led_by(causes: Sequence[Finding]) -> str:
    if not causes:
        return ""
    more = f", and {len(causes) - 1} more" if len(causes) > 1 else ""
    return f" First cause: {causes[0].rule}{more}."


def _count(causes: Sequence[Finding]) -> str:
    return "1 fault" if len(causes) == 1 else f"{len(causes)} faults"


def _said(loss: float | None) -> str:
    """A loss as a person says it: three digits, or whole where it is large."""
    if loss is None:
        return "unknown"
    return f"{loss:,.0f}" if 1e3 <= abs(loss) < 1e7 else f"{loss:.3g}"
