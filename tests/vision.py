"""The real torchvision, as tests need it: its transforms, beside a torch that its compiled operators may not fit.

It is installed in a folder of its own (see the Makefile), as trainers that find it would want its operators, too.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch

_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    with contextlib.suppress(RuntimeError):  # a build that fits this torch defines them itself
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

sys.path.append(str(Path(sys.prefix) / "vision" / "site-packages"))

from torchvision import transforms as v1  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

__all__ = ["v1", "v2"]
