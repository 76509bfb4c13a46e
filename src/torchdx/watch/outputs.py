"""What layers give out and what gradient comes back to them, at looked-at steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchdx.watch.highways import Highways
from torchdx.watch.masks import Masks
from torchdx.watch.models import Models
from torchdx.watch.pairs import Pairs
from torchdx.watch.places import user_place
from torchdx.watch.recurrence import Cell, cell_gate, forget_gates, horizon, is_looked_back_on
from torchdx.watch.rivals import Rivals
from torchdx.watch.session import Session
from torchdx.watch.signal import Signal
from torchdx.watch.tensors import SAMPLE, across, column_scales, describe, is_plain, sample, saved

FLAT = 0.01
"""A squashing unit is on its flat end where its derivative is below this: sigmoid beyond 4.6, tanh beyond 3.0."""

FUNCTIONAL = {"SigmoidBackward0": "sigmoid", "TanhBackward0": "tanh", "ReluBackward0": "relu"}
_MODULE_ACTIVATIONS = (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Softmax, nn.LogSoftmax)
_OVER_TIME = (nn.RNNBase, nn.MultiheadAttention)
_UNITS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.ReLU6)
_PASSES_ON = (
    *("ViewBackward", "UnsafeViewBackward", "ReshapeAlias", "TransposeBackward", "PermuteBackward", "TBackward"),
    *("SqueezeBackward", "UnsqueezeBackward", "ExpandBackward", "CloneBackward", "MaxPool", "AvgPool", "AdaptiveAvg"),
    *("NativeDropout", "MulBackward", "DivBackward", "AddBackward", "SubBackward"),
)
"""Operations that leave an activation what it is, where they have only one operand with a gradient."""
_MOST_PASSED = 4
_MOST_IDLE, _MOST_UNTRAINED = 64, 512
_MOST_LAYERS = 96
_LARGEST_PASS = 1 << 22


class Outputs:
    """The forward hook, in place only while a step is looked at, and the samples it takes."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._hook: Any = None
        self._saw = session.guarded(self._forward)
        self._rows: dict[str, Tensor] = {}
        self._back: dict[str, Tensor] = {}
        self._alive: dict[str, Tensor] = {}
        self._dead: dict[str, float] = {}
        self._last: tuple[str, bool] | None = None
        self._activations: dict[int, str] = {}
        self._read: set[str] = set()
        self._first: dict[int, tuple[int, Tensor]] = {}
        self._cells: dict[int, tuple[Cell, int]] = {}
        self._told_input: set[int] = set()
        self._told_axes: set[int] = set()
        self._signal = Signal(session)
        self._highways = Highways(session, models)
        self._pairs = Pairs(session)
        self._masks = Masks(session, models)
        self._rivals = Rivals(session, models)
        self._idle = 0
        self.at_untrained_call: Callable[[nn.Module], None] | None = None
        session.at_look.append(self._opens)
        session.at_look_end.append(self._closes)
        session.at_end.append(self._unhook)
        session.weave(torch.compile, before=self._compiles)
        session.weave(nn.Module.compile, before=self._compiles)

    def _compiles(self, *_: Any) -> None:
        """Hooks that come and go would make a compiled model compile again: never hook from here on."""
        self.session.compiled = True
        self._unhook()

    # --- the three moments

    def _opens(self) -> None:
        """Put the hook in."""
        self._rows.clear()
        self._back.clear()
        self._activations.clear()
        self._read.clear()
        self._first.clear()
        self._cells.clear()
        self._told_input.clear()
        self._told_axes.clear()
        self._idle = 0
        self._last = None
        if self._hook is None and not self.session.compiled:
            self._hook = nn.modules.module.register_module_forward_hook(self._called)

    def _closes(self) -> None:
        """Take the hook out and write down what was seen."""
        self._unhook()
        self._first.clear()
        for number, (cell, calls) in self._cells.items():
            self.session.write("recurrent", step=self.session.step, module=number, **cell_gate(cell, calls))
        self._cells.clear()
        if not self._rows:
            return
        step, device = self.session.step, next(iter(self._rows.values())).device
        rows = {key: row for key, row in self._rows.items() if row.device == device}  # of a model spread over several
        back = {key: row for key, row in self._back.items() if row.device == device and key in rows}
        stack = torch.stack([*rows.values(), *back.values()])
        told = {key: {"dead": share} for key, share in self._dead.items()}
        for key in self._read:
            told.setdefault(key, {})["read"] = 1.0
        self.session.mail.send(_measure(stack), lambda table: self._tell(step, list(rows), list(back), table, told))
        self._rows.clear()
        self._back.clear()

    def _unhook(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _tell(
        self, step: int, rows: list[str], back: list[str], table: list[list[float]], more: dict[str, dict[str, float]]
    ) -> None:
        layers: dict[str, dict[str, float]] = {}
        for key, values in zip(rows, table, strict=False):
            layers[key] = dict(zip(_MEASURES, values, strict=True)) | more.get(key, {})
        for key, values in zip(back, table[len(rows) :], strict=True):
            layers[key]["gradient"] = values[_MEASURES.index("rms")]
        self.session.write("outputs", step=step, layers=layers)

    # --- one module was called

    def _called(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not torch.compiler.is_compiling():  # as by torch.export: the clock could not be traced
            self._saw(module, inputs, output)

    def _forward(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not self.session.step and module._parameters and self.at_untrained_call:
            self.at_untrained_call(module)
        if not torch.is_grad_enabled():  # a teacher's call, or evaluation began under our hook: let that run free
            self._idle += 1
            if self._idle > (_MOST_IDLE if self.session.step else _MOST_UNTRAINED):
                self._unhook()
            return
        if isinstance(output, Tensor) and output.dim() == 0 and not module._parameters and not module._modules:
            return  # a loss, seen elsewhere
        number = self.models.number_of(module)
        if number is None:
            return
        given = next((thing for thing in inputs if isinstance(thing, Tensor)), None)
        if isinstance(module, _OVER_TIME):
            self._tell_axes(number, module, inputs)
        if module._modules:
            self._masks.called(number, module, given, output)
            self._tell_input(number, module, inputs, output)
            return
        key = str(number)
        tensor = output[0] if isinstance(output, tuple) and output else output
        if given is not None and is_plain(given):
            self._follow(given, module)
            if module._parameters:
                self._first.setdefault(self.models.model_of(number), (number, given.detach()))
        if isinstance(module, Cell) and module.bias and module.bias_hh.device.type == "cpu":
            self._cells[number] = module, self._cells.get(number, (module, 0))[1] + 1
        activation, again = isinstance(module, _MODULE_ACTIVATIONS), key in self._rows
        if not (activation and again):  # one activation module may serve after several layers
            self._last = (key, activation or again)
        if isinstance(module, nn.LSTM | nn.GRU) and not again:
            self._look_back(number, module, inputs[0] if inputs else given, output)
        if again or not is_plain(tensor) or len(self._rows) >= _MOST_LAYERS:
            return
        self._tell_input(number, module, inputs, output)
        self._keep(key, tensor, isinstance(module, _UNITS))
        if activation and tensor.grad_fn is not None:
            self._activations[tensor.grad_fn._sequence_nr()] = key

    def _tell_input(self, number: int, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """What the model as a whole was given, and its first layer if that was another thing.

        Only of modules that nothing contains.
        """
        given = next((thing for thing in inputs if isinstance(thing, Tensor)), None)
        if given is None or not self.models.is_root(module):
            return
        self._rivals.met(number, given)
        if number in self._told_input:
            return
        self._told_input.add(number)
        self._pairs.meet(inputs, output)
        self._highways.look(number, output)
        ending = output.grad_fn.name() if isinstance(output, Tensor) and output.grad_fn is not None else None
        told = {**describe(given), **column_scales(given), **across(given)}
        first, reached = self._first.pop(self.models.model_of(number), (None, given))
        if first is not None:
            told["first"] = {"module": first}
            if reached.data_ptr() != given.data_ptr() or reached.numel() != given.numel():
                told["first"] |= {**describe(reached), **column_scales(reached)}
        self.session.write(
            "input", step=self.session.step + 1, module=number, site=user_place(2), ending=ending, **told
        )

    def _tell_axes(self, number: int, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """The shape of what a layer was given that takes the first of three axes for time."""
        given = inputs[0] if inputs else None
        if number in self._told_axes or getattr(module, "batch_first", True):
            return
        if isinstance(given, Tensor) and given.dim() == 3:
            self._told_axes.add(number)
            self.session.write("axes", step=self.session.step + 1, module=number, shape=list(given.shape))

    def _keep(self, key: str, tensor: Tensor, units: bool) -> None:
        self._rows[key] = sample(tensor)
        self._signal.keep(key, tensor)
        if units and tensor.dim() >= 2 and tensor.numel() <= _LARGEST_PASS:
            self._count_dead(key, tensor.detach())
        if tensor.requires_grad:
            tensor.register_hook(self._returns(key))

    def _returns(self, key: str) -> Callable[[Tensor], None]:
        def come_back(gradient: Tensor) -> None:
            if key in self._rows and is_plain(gradient):
                self._back.setdefault(key, sample(gradient))

        return self.session.guarded(come_back)

    def _count_dead(self, key: str, tensor: Tensor) -> None:
        """The share of units that were not once above zero at any look so far; once it is none, it stays so."""
        if self._dead.get(key) == 0:
            return
        channel = 1 if tensor.dim() in (2, 4, 5) else tensor.dim() - 1
        greatest = tensor.amax(dim=tuple(dim for dim in range(tensor.dim()) if dim != channel))
        alive = ~(greatest <= 0)  # a unit that gives NaN is none that is dead
        before = self._alive.get(key)
        self._alive[key] = alive if before is None or before.shape != alive.shape else before | alive
        if tensor.device.type == "cpu":
            self._dead[key] = 1.0 - float(self._alive[key].float().mean())

    def _follow(self, given: Tensor, module: nn.Module) -> None:
        """Find the activation that this module reads, and look at its result if it is a functional one.

        The autograd graph knows what made a tensor, and keeps the result for the backward pass.
        """
        node = _made_by(given)
        if node is None:
            return
        key = self._activations.get(node._sequence_nr())
        if key is None and self._last is not None and not self._last[1]:
            key = self._look_at_functional(node, self._last[0])
        if key is not None and module._parameters:
            self._read.add(key)

    def _look_at_functional(self, node: Any, layer: str) -> str | None:
        name = FUNCTIONAL.get(node.name())
        result = saved(node, "_saved_result") if name else None
        key = f"{layer}:{name}"
        if not name or result is None or not is_plain(result) or key in self._rows:
            return None
        self._activations[node._sequence_nr()] = key
        self._rows[key] = sample(result)
        if name == "relu" and result.dim() >= 2 and result.numel() <= _LARGEST_PASS:
            self._count_dead(key, result.detach())
        return key

    def _look_back(self, number: int, module: nn.LSTM | nn.GRU, given: Any, output: Any) -> None:
        if not is_looked_back_on(given, output):
            return
        told = forget_gates(module, given, output[0])
        if told:
            self.session.write("recurrent", step=self.session.step + 1, module=number, **told)
        if isinstance(given, Tensor) and given.requires_grad and told.get("length", 0) > 1:
            given.register_hook(self._reaches_back(number, module))

    def _reaches_back(self, number: int, module: nn.LSTM | nn.GRU) -> Callable[[Tensor], None]:
        step = self.session.step + 1

        def come_back(gradient: Tensor) -> None:
            ratio = horizon(module, gradient) if is_plain(gradient) else None
            if ratio is not None:
                self.session.write("recurrent", step=step, module=number, horizon=ratio)

        return self.session.guarded(come_back)


def _made_by(given: Tensor) -> Any:
    """The operation that made the tensor, seen through those that only reshape, pool, scale or drop."""
    node = given.grad_fn
    for _ in range(_MOST_PASSED):
        if node is None or not node.name().startswith(_PASSES_ON):
            break
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1:
            break
        node = parents[0]
    return node


_MEASURES = ["mean", "std", "rms", "zero", "flat_sigmoid", "flat_tanh"]


def _measure(rows: Tensor) -> Tensor:
    """Statistics of every row at once; `rows` is (layers, sample), the result (layers, measures)."""
    assert rows.shape[1] == SAMPLE
    spread, mean = torch.std_mean(rows, dim=1, correction=0)
    return torch.stack(
        [
            mean,
            spread,
            rows.square().mean(1).sqrt(),
            (rows == 0).float().mean(1),
            (rows * (1 - rows) < FLAT).float().mean(1),
            (1 - rows.square() < FLAT).float().mean(1),
        ],
        dim=1,
    )
