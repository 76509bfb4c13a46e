"""Draws of distributions and their log-probabilities, where no gradient goes through them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchdx.source.effects import without_gradient
from torchdx.source.graphs import calls_around, carries_graph, past_of
from torchdx.source.rewards import Rewards
from torchdx.source.values import Instance, Operation, Result

if TYPE_CHECKING:
    from torchdx.finding import Site
    from torchdx.source.expressions import Expression
    from torchdx.source.program import Program
    from torchdx.source.values import Value

DRAWN = tuple(f"torch.distributions.{name}.sample" for name in ("Normal", "LogNormal", "Laplace", "MultivariateNormal"))
DIVERGENCES = ("torch.distributions.kl_divergence", "torch.distributions.kl.kl_divergence")
CHANCES = re.compile(rb"log_prob|log_softmax")
NUMBERS = frozenset({"torch.randn", "torch.rand", "torch.normal", "torch.empty"})
"""What gives tensors of numbers that nobody trained."""


def chances_without_gradient(program: Program) -> Iterator[tuple[Site, str]]:
    """The products of log-probabilities and rewards that are minimised, where all the former are cut from the graph."""
    files = program.torch_files
    if not any(CHANCES.search(file.bytes) for file in files):
        return
    found = [part for _, _, parts in Rewards(program).minimised() for part in parts if part.what == "product"]
    if not found or not all(part.cut for part in found):
        return
    for part in found:
        node = part.product
        file = next((one for one in files if node is not None and node in one.index.parents), None)
        if node is not None and file is not None:
            yield file.site(node), file.text_of(node)
            return


def draws_without_gradient(program: Program, loss: Expression) -> Iterator[Result]:
    """The draws that layers are given, of a distribution computed by others that the loss holds to a prior as well."""
    if any(True for _ in program.calls_named("log_prob", "detach")):
        return  # a gradient may go round the draw: by its probability, or straight through
    for value in past_of(loss.value):
        if not isinstance(value, Result) or value.dotted not in DRAWN:
            continue
        source = value.given
        if (
            not isinstance(source, Instance)
            or source.call is None
            or any(map(without_gradient, calls_around(value.call)))
        ):
            continue
        encoding = {id(one.call.node) for one in _layers(source.call.argument_value(0, "loc"))}
        besides = {id(one.call.node) for one in _layers(loss.value, but=value)}
        follows = any(past is value for one in _layers(loss.value) for past in past_of(one.input))
        if encoding and follows and (encoding <= besides or _is_held_to_a_prior(source, loss)):
            yield value


def _is_held_to_a_prior(source: Instance, loss: Expression) -> bool:
    """Is its divergence from another distribution a part of the loss?"""
    calls = [one.call for one in past_of(loss.value) if isinstance(one, Result) and one.dotted in DIVERGENCES]
    held = [given.value for call in calls for given in call.arguments()]
    nodes = [one.call.node for one in held if isinstance(one, Instance) and one.call is not None]
    return source.call is not None and any(node is source.call.node for node in nodes)


def _layers(value: Value | None, but: Value | None = None) -> list[Result]:
    """The layers with weights that a value was computed by, but for those that this one was."""
    found = past_of(value, but) if value is not None else ()
    return [one for one in found if isinstance(one, Result) and isinstance(one.module, Instance) and carries_graph(one)]


def are_numbers_of_chance(value: Value) -> str:
    """What drew these numbers, alone or times something; empty where that is not known."""
    inner = [value]
    if isinstance(value, Operation) and value.operator in ("Mult", "Div"):
        inner = list(value.values())
        if value.operator == "Div":
            inner = inner[:1]
    return next((one.name for one in inner if one.name in NUMBERS), "")
