"""Whether units that were started as copies of each other still are copies."""

from __future__ import annotations

import weakref

from torch import Tensor, nn

from torchdx.watch.models import Models
from torchdx.watch.session import Session
from torchdx.watch.tensors import is_plain

MOST = 16
"""Weights compared at one look."""

_ROWS = 64
_COLUMNS = 512
_GATES = {nn.LSTM: 4, nn.LSTMCell: 4, nn.GRU: 3, nn.GRUCell: 3, nn.MultiheadAttention: 3}
APART = 0.1
"""Distance between rows, over their size, from which a weight is not compared again: its units are different ones."""
_TABLES = (nn.Embedding, nn.EmbeddingBag)


class Symmetry:
    """Compares the rows of those weights whose rows were equal when first seen, and of their gradients."""

    def __init__(self, session: Session, models: Models) -> None:
        self.session = session
        self.models = models
        self._watched: dict[tuple[int, str], tuple[weakref.ref[Tensor], int, int]] = {}
        models.at_equal_rows = self._begins
        session.at_look_end.append(self._compares)

    def _begins(self, number: int, parameter: Tensor, module: nn.Module | None) -> None:
        """Watch this weight; its units lie along one dimension, in as many parts as the module has gates."""
        gates = next((n for cls, n in _GATES.items() if isinstance(module, cls)), 1)
        units = 1 if isinstance(module, nn.modules.conv._ConvTransposeNd) else 0
        if parameter.requires_grad and parameter.shape[units] % gates == 0 and parameter.shape[units] // gates > 1:
            self._watched[number, "params"] = (weakref.ref(parameter), units, gates)
        bare = module is None or isinstance(module, _TABLES) or not type(module).__module__.startswith("torch.")
        if parameter.requires_grad and bare and parameter.dim() == 2 and parameter.shape[1] > 1:
            self._watched[number, "columns"] = (weakref.ref(parameter), 1, 1)  # of a table, or right of a product

    def _compares(self) -> None:
        told: dict[str, dict[str, list[float]]] = {}
        for (number, what), (ref, units, gates) in list(self._watched.items())[:MOST]:
            parameter = ref()
            if parameter is None or not is_plain(parameter) or parameter.device.type != "cpu":
                del self._watched[number, what]
            elif parameter.grad is not None and is_plain(parameter.grad):
                value, (gradient, size) = _apart(parameter, units, gates)[0], _apart(parameter.grad, units, gates)
                told.setdefault(what, {})[str(number)] = [value, gradient, size]
                if value > APART:
                    del self._watched[number, what]
        if told:
            self.session.write("alike", step=self.session.step, **{"params": {}, **told})


def _apart(weight: Tensor, units: int, gates: int) -> tuple[float, float]:
    """How far the rows of each part lie from their mean, over the RMS of all of them, and that RMS."""
    rows = weight.detach().transpose(0, units).flatten(1)
    rows = rows.unflatten(0, (gates, -1))
    rows = rows[:, :: max(1, rows.shape[1] // _ROWS), :: max(1, rows.shape[2] // _COLUMNS)].float()
    size = float(rows.square().mean().sqrt())
    away = float((rows - rows.mean(1, keepdim=True)).square().mean().sqrt())
    return (away / size if size > 0 else 0.0), size
