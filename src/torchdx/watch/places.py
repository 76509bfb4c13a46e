"""Where in the user's own program a call came from."""

from __future__ import annotations

import itertools
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType

Place = list[int | str | None]

_paths = sysconfig.get_paths()
_FOREIGN = tuple(
    {_paths["stdlib"], _paths["platstdlib"], _paths["purelib"], _paths["platlib"], str(Path(__file__).parents[1])}
)
# Keyed by identity, as hashing a code object reads all of it; the code is kept, so that its identity stays its own.
_is_user: dict[int, tuple[bool, CodeType]] = {}
_places: dict[tuple[int, int], Place] = {}
_DEEPEST = 60


def is_user_code(code: CodeType) -> bool:
    """Is this code of the user's program, not of Python, torch or another installed package?"""
    known = _is_user.get(id(code))
    if known is None:
        known = _is_user[id(code)] = (is_user_file(code.co_filename), code)
    return known[0]


def is_user_file(name: str) -> bool:
    """Is this a file of the user's program?"""
    return not (name.startswith((*_FOREIGN, "<frozen")) or "site-packages" in name or "dist-packages" in name)


def user_place(depth: int = 1, skip_constructor_of: object = None) -> Place | None:
    """[path, line, column, end line, end column] of the innermost user frame above `depth` frames, or None.

    With `skip_constructor_of` an object, frames of its own `__init__` are climbed over: a module of the user's class
    is said to be made where the class is called, not where it calls `super().__init__()`.
    """
    frame: FrameType | None = sys._getframe(depth)
    for _ in range(_DEEPEST):
        if frame is None:
            return None
        if is_user_code(frame.f_code) and not _constructs(frame, skip_constructor_of):
            return _place(frame.f_code, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    return None


def _constructs(frame: FrameType, thing: object) -> bool:
    code = frame.f_code
    if thing is None or code.co_name != "__init__" or not code.co_argcount:
        return False
    return frame.f_locals.get(code.co_varnames[0]) is thing


def maker(kind: type, besides: object) -> object | None:
    """The object of this kind in whose `__init__`, in the user's program, we are; another than `besides`, or None."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEEPEST):
        if frame is None:
            return None
        code = frame.f_code
        if code.co_name == "__init__" and code.co_argcount and is_user_code(code):
            owner = frame.f_locals.get(code.co_varnames[0])
            if isinstance(owner, kind) and owner is not besides:
                return owner
        frame = frame.f_back
    return None


def _place(code: CodeType, instruction: int, line: int) -> Place:
    key = (id(code), instruction)
    place = _places.get(key)
    if place is None:
        place = _places[key] = [absolute(code.co_filename), line, 1, None, None]
        if sys.version_info >= (3, 11):
            spans = itertools.islice(code.co_positions(), instruction // 2, None)
            start, end, column, end_column = next(spans, (None, None, None, None))
            if start is not None and column is not None and end_column is not None:
                place[1:] = [start, column + 1, end, end_column + 1]
    return place


def absolute(filename: str) -> str:
    """The file's absolute path; names such as `<ipython-input-1>` stay as they are."""
    return filename if filename.startswith("<") else str(Path(filename).absolute())
