"""The line of the program on which an operation of a graph stands: autograd notes it in one more forward pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchdx.watch.origin import name_of, node_at, position
from torchdx.watch.places import Place, absolute, is_user_file
from torchdx.watch.session import Session
from torchdx.watch.tensors import root_of

_FRAME = re.compile(r'^\s*File "(?P<file>.+)", line (?P<line>\d+), in ', re.MULTILINE)


class Lines:
    """Has autograd note the lines of the next forward pass, if nobody else does: no check, no other number."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._wanted: tuple[int, str, Callable[[Place], None]] | None = None
        self._tracing = False
        self._asked: set[tuple[str, str]] = set()
        session.weave(torch.autograd.backward, before=self._backward, after=self._was_backward)

    def ask(self, root: Tensor, node: Any, told: Callable[[Place], None]) -> None:
        """Have the line of this operation told once the same graph is made again, if it is."""
        if self._wanted is None:
            self._wanted = (position(root, node), name_of(node) or "", told)

    def ask_once(self, kind: str, place: Place | None, root: Tensor, node: Any) -> None:
        """Have the line of this operation written down as a fact of this kind, once for each place."""
        key = kind, str(place)
        if key not in self._asked and not self.session.compiled:
            self._asked.add(key)
            self.ask(root, node, lambda line: self.session.write(kind, site=place, line=line))

    def forget(self) -> None:
        """Nothing more is asked for."""
        if self._tracing:
            torch.set_anomaly_enabled(False, True)
        self._tracing, self._wanted = False, None

    def _backward(self, tensors: Any, *_: Any) -> None:
        root = root_of(tensors)
        if self._wanted is None or not self._tracing or root is None:
            return
        place, name, told = self._wanted
        self.forget()  # before this backward pass, which is to run as ever
        node = node_at(root, place, name)
        line = user_line(node.metadata.get("traceback_", ())) if node is not None else None
        if line:
            told(line)

    def _was_backward(self, _: None, *__: Any) -> None:
        if self._tracing:
            self.forget()
        elif self._wanted and not self.session.compiled and not torch.is_anomaly_enabled():
            self._tracing = True
            torch.set_anomaly_enabled(True, False)


def user_line(frames: Any) -> Place | None:
    """The innermost line of the user's own among formatted frames."""
    found = [match for frame in frames for match in _FRAME.finditer(frame)]
    for match in reversed(found):
        if is_user_file(match["file"]):
            return [absolute(match["file"]), int(match["line"]), 1, None, None]
    return None
