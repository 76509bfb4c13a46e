"""A woven function is the same function, but for the probe."""

from __future__ import annotations

import inspect
import linecache
import traceback
import types
import warnings
from typing import Any

import pytest

from torchdx.watch.weave import CannotWeave, weave

SOURCE = '''
import warnings


def double(x, *rest, factor=2, **options):
    """Twice as much."""
    if x is None:
        return
    if x < 0:
        raise ValueError(
            "negative"
        )
    return x * factor if x else double(1, factor=factor)


def warns():
    warnings.warn("look at my caller", stacklevel=2)


class Base:
    def __init__(self):
        self.made = True


class Child(Base):
    def __init__(self):
        super().__init__()
        self.__private = 1


def outer(bound):
    def inner():
        return bound
    return inner
'''


@pytest.fixture
def module(tmp_path: Any) -> Any:
    path = tmp_path / "woven_module.py"
    path.write_text(SOURCE)
    made = types.ModuleType("woven_module")
    made.__file__ = str(path)
    exec(compile(SOURCE, str(path), "exec"), made.__dict__)
    linecache.checkcache()
    return made


def test_probes_see_arguments_and_result(module: Any) -> None:
    seen: list[Any] = []
    weave(module.double, before=lambda *a: seen.append(("in", *a)), after=lambda *a: seen.append(("out", *a)))
    assert module.double(3, 4, factor=5, name=6) == 15
    assert seen == [("in", 3, (4,), 5, {"name": 6}), ("out", 15, 3, (4,), 5, {"name": 6})]
    assert module.double(None) is None
    assert seen[-1] == ("out", None, None, (), 2, {})
    assert module.double(0) == 2


def test_identity_signature_and_source_stay(module: Any) -> None:
    before = (module.double, inspect.signature(module.double), inspect.getsource(module.double), module.double.__doc__)
    name = module.double.__code__.co_firstlineno
    weave(module.double, after=lambda *_: None)
    assert before == (
        module.double,
        inspect.signature(module.double),
        inspect.getsource(module.double),
        module.double.__doc__,
    )
    assert module.double.__code__.co_firstlineno == name


def test_tracebacks_are_equal(module: Any) -> None:
    def trace() -> str:
        try:
            module.double(-1)
        except ValueError:
            return traceback.format_exc()
        raise AssertionError

    bare = trace()
    weave(module.double, before=lambda *_: None, after=lambda *_: None)
    assert trace() == bare


def test_warnings_point_where_they_did(module: Any) -> None:
    weave(module.warns, before=lambda: None, after=lambda *_: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module.warns()
    assert caught[0].filename == __file__


def test_methods_keep_super_and_private_names(module: Any) -> None:
    made: list[Any] = []
    weave(module.Child.__init__, after=lambda _, child: made.append(child))
    child = module.Child()
    assert vars(child) == {"made": True, "_Child__private": 1}
    assert made == [child]


def test_closures_keep_what_they_closed_over(module: Any) -> None:
    inner = module.outer(7)
    weave(inner, before=lambda: None)
    assert inner() == 7


def test_what_has_no_source_is_refused() -> None:
    namespace: dict[str, Any] = {}
    exec("def made_up(): return 1", namespace)
    with pytest.raises(CannotWeave):
        weave(namespace["made_up"], before=lambda: None)
    with pytest.raises(CannotWeave):
        weave(len, before=lambda: None)


def test_probes_woven_in_one_after_another_are_all_called(module: Any) -> None:
    seen: list[str] = []
    weave(module.warns, after=lambda *_: seen.append("first"))
    weave(module.warns, before=lambda *_: seen.append("second"), after=lambda *_: seen.append("third"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.warns()
    assert seen == ["second", "first", "third"]
