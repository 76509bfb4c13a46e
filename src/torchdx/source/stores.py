"""What is kept under attributes, fields and keys of a file, whoever's they are."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from torchdx.source.index import last_word, word_of
from torchdx.source.reading import words

if TYPE_CHECKING:
    from torchdx.source.file import SourceFile

JOINS = words("append appendleft insert extend push add put")
"""Methods that put something into what they belong to."""

Store: TypeAlias = "tuple[SourceFile, ast.expr, tuple[int, ...]]"
"""A file, what is kept in it, and the steps that unpack that."""


def stores_by_word(files: Iterable[SourceFile]) -> dict[str, list[Store]]:
    """All that is kept in these files, by the word that it is kept under."""
    found: dict[str, list[Store]] = {}
    for file in files:
        for word, value, steps in stores_in(file):
            found.setdefault(word, []).append((file, value, steps))
    return found


def stores_in(file: SourceFile) -> Iterator[tuple[str, ast.expr, tuple[int, ...]]]:
    """Words of attributes, fields and keys, and what is kept under them."""
    for bindings in file.index.attributes_in.values():
        for binding in bindings:
            if binding.value is not None:
                yield binding.name, binding.value, binding.steps
    for items in file.index.items_in.values():
        for item in items:
            if isinstance(item.node, ast.Subscript) and item.value is not None:
                key = item.node.slice
                named = isinstance(key, ast.Constant) and isinstance(key.value, str)
                word = str(key.value) if named and isinstance(key, ast.Constant) else word_of(item.node.value)
                if word and (named or isinstance(item.node.value, ast.Attribute)):
                    yield word, item.value, item.steps
    for calls in file.index.calls.values():
        for call in calls:
            func = call.func
            if isinstance(func, ast.Attribute) and func.attr in JOINS:
                holder = func.value
                word = holder.attr if isinstance(holder, ast.Attribute) else ""
                if isinstance(holder, ast.Subscript) and isinstance(holder.slice, ast.Constant):
                    word = str(holder.slice.value)
                for arg in call.args[-1:] if word else ():
                    yield word, arg, ()
            for keyword in call.keywords:
                if keyword.arg and (last_word(call)[:1].isupper() or last_word(call) == "dict"):
                    yield keyword.arg, keyword.value, ()
    for node in file.index.parents:
        if isinstance(node, ast.Dict):
            for at, value in zip(node.keys, node.values, strict=True):
                if isinstance(at, ast.Constant) and isinstance(at.value, str):
                    yield at.value, value, ()
