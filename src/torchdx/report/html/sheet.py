"""The contact sheet of a pipeline: samples as the model receives them, in a grid."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from torchdx.record import Pipeline
from torchdx.report.html.svg import escape
from torchdx.report.measures import role_of
from torchdx.report.values import one_line
from torchdx.report.words import counted, number

MOST, LONGEST = 48, 64
"""Samples of a sheet, and numbers or tokens of a sample, that are shown."""

TONES = {"suspect": "warning", "unusual": "note", "usual": ""}


def sheet(pipeline: Pipeline) -> str:
    """The sheet; empty where there is none, or where nothing on it can be shown."""
    fact = pipeline.one("sheet")
    items = [told for item in (fact.get("items") or ())[:MOST] if isinstance(item, Mapping) and (told := _item(item))]
    if not items:
        return ""
    of = f" of {counted(fact['samples'], 'sample')}" if isinstance(fact.get("samples"), int) else ""
    undone = f", shown {one_line(fact['undone'])}" if fact.get("undone") else ""
    name = f"{role_of(pipeline)} {one_line(pipeline.name)}"
    caption = f"<figcaption>{len(items)}{of}, as the pipeline gives them{escape(undone)}.</figcaption>"
    kind = fact["what"] if fact.get("what") in ("pictures", "tokens", "rows") else "rows"
    label = f"samples of {name}"
    grid = f'<ul class="grid-of {kind}" tabindex="0" aria-label="{escape(label)}">{"".join(items)}</ul>'
    return f'<figure class="sheet"><h3>Samples: {escape(name)}</h3>{grid}{caption}</figure>'


def _item(item: Mapping[str, Any]) -> str:
    index, label = item.get("index"), item.get("label")
    which = f"sample {number(index)}" if isinstance(index, int) else "a sample"
    words = one_line(label) if label is not None else ""
    shown = _shown(item, f"{which}{f', {words}' if words else ''}")
    if not shown:
        return ""
    mark = item.get("mark") if item.get("mark") in TONES else ""
    pill = f' <span class="pill {TONES[mark]}">{mark}</span>' if mark else ""
    note = f'<small class="why-so">{escape(one_line(item["note"]))}</small>' if item.get("note") else ""
    at = f" <small>#{number(index)}</small>" if isinstance(index, int) else ""
    caption = f'<span class="name"><b>{escape(words)}</b>{at}{pill}</span>{note}'
    return f'<li class="{mark}">{shown}{caption}</li>' if mark else f"<li>{shown}{caption}</li>"


def _shown(item: Mapping[str, Any], alt: str) -> str:
    if is_png(item.get("picture")):
        return f'<img src="data:image/png;base64,{item["picture"]}" alt="{escape(alt)}">'
    for key, say in (("tokens", _tokens), ("values", _values)):
        if isinstance(item.get(key), list):
            return say(item)
    return ""


def is_png(told: object) -> bool:
    """Is it plain base64 of a PNG, and nothing else?"""
    if not isinstance(told, str):
        return False
    try:
        return base64.b64decode(told, validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    except (ValueError, binascii.Error):
        return False


def _tokens(item: Mapping[str, Any]) -> str:
    """Its tokens, those that are padding greyed."""
    padding = item.get("padding")
    told = [
        f'<i class="pad">{escape(one_line(token))}</i>'
        if padding is not None and token == padding
        else escape(one_line(token))
        for token in item["tokens"][:LONGEST]
    ]
    return f"<code>{' '.join(told)}{_more(item, 'tokens')}</code>"


def _values(item: Mapping[str, Any]) -> str:
    told = [number(value) if isinstance(value, int | float) else one_line(value) for value in item["values"][:LONGEST]]
    return f"<code>{escape(' '.join(told))}{_more(item, 'values')}</code>"


def _more(item: Mapping[str, Any], key: str) -> str:
    length = item.get("length", len(item[key]))
    left = length - LONGEST if isinstance(length, int) else 0
    return f" … {left:,} more" if left > 0 else ""
