"""One finding as a card: its place in the source, its evidence plotted, its cure as a diff, what it explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torchdx.finding import Finding, Fix, Site
from torchdx.record import Layer, Record, Series
from torchdx.report.html.curves import sparkline
from torchdx.report.html.picture import gradient_of, idle_of
from torchdx.report.html.svg import escape, prose
from torchdx.report.words import excerpt, is_curve, is_share, label, percent, place, said, severity_of

CARDS = 40
"""So many findings get a card; the others a line each, for a page that still loads and reads."""

CURVES, CONTEXT = 4, 2


def cards(findings: Sequence[Finding], record: Record | None, explained: Mapping[str, str]) -> str:
    """Every finding; `explained` holds the rules' pages as HTML, by code."""
    layers = {layer.name: layer for layer in record.layers} if record else {}
    shown = [_card(finding, f"finding-{k}", layers, explained) for k, finding in enumerate(findings[:CARDS], 1)]
    return "".join(shown) + _rest(findings[CARDS:])


def _card(finding: Finding, key: str, layers: Mapping[str, Layer], explained: Mapping[str, str], depth: int = 3) -> str:
    severity = severity_of(finding)
    level = f"h{min(depth, 6)}"
    code = f"<code>{escape(finding.code)}</code> " if finding.code else ""
    parts = [
        f'<header><span class="pill {severity}">{severity}</span>'
        f'<{level} id="{key}-name">{code}{escape(finding.rule)}</{level}>{_where(finding)}</header>',
        f'<p class="message">{prose(finding.message)}</p>',
        _source(finding.site),
        _evidence(finding, layers.get(finding.layer or "")),
        _cure(finding),
    ]
    if page := explained.get(finding.code):
        parts.append(f'<details class="page"><summary>Why, and what else helps</summary>{page}</details>')
    if finding.consequences:
        nested = [
            _card(item, f"{key}-{k}", layers, {}, depth + 1) for k, item in enumerate(finding.consequences[:CARDS], 1)
        ]
        parts.append(_nested(nested, len(finding.consequences)))
    return f'<article class="card {severity}" id="{key}" aria-labelledby="{key}-name">{"".join(parts)}</article>'


def _nested(nested: Sequence[str], count: int) -> str:
    more = f"<p>… and {count - len(nested)} more.</p>" if count > len(nested) else ""
    words = "one more finding" if count == 1 else f"{count} more findings"
    return f'<details class="explains" open><summary>This explains {words}</summary>{"".join(nested)}{more}</details>'


def _where(finding: Finding) -> str:
    told = []
    if finding.layer:
        told.append(f'<span>layer <code class="layer">{escape(finding.layer)}</code></span>')
    if finding.site:
        told.append(f"<code>{escape(place(finding.site))}</code>")
    seen = " and ".join({"source": "source", "run": "run"}[where] for where in finding.seen_in)
    sure = f"{percent(finding.confidence)} sure"
    told.append(f'<span class="sure">{f"seen in {seen}, " if seen else ""}{sure}</span>')
    return f'<p class="where">{"".join(told)}</p>'


def _source(site: Site | None) -> str:
    shown = excerpt(site, CONTEXT) if site else []
    if not shown:
        return ""
    rows = []
    for line in shown[:12]:
        before, marked, after = line.text[: line.start], line.text[line.start : line.end], line.text[line.end :]
        hit = f"{escape(before)}<mark>{escape(marked)}</mark>{escape(after)}" if line.end else escape(line.text)
        kind = ' class="hit"' if line.end else ""
        rows.append(f'<span{kind}><i aria-hidden="true">{line.number}</i>{hit}\n</span>')
    name = escape(place(site)) if site else ""
    return f'<pre class="source" tabindex="0" aria-label="source at {name}"><code>{"".join(rows)}</code></pre>'


def _evidence(finding: Finding, layer: Layer | None) -> str:
    curves = {name: value for name, value in finding.evidence.items() if is_curve(value)}
    values = {name: value for name, value in finding.evidence.items() if name not in curves}
    drawn = [sparkline(label(name), _series(value), "value") for name, value in curves.items()]
    drawn += [sparkline(name, series) for name, series in _of_layer(layer)]
    tiles = "".join(measure(name, value) for name, value in values.items())
    told = f'<dl class="measures">{tiles}</dl>' if tiles else ""
    told += f'<div class="sparks">{"".join(drawn[:CURVES])}</div>' if drawn else ""
    return f'<section class="evidence" aria-label="evidence">{told}</section>' if told else ""


def _series(values: Sequence[float | None]) -> Series:
    return Series.of((k, value) for k, value in enumerate(values, 1))


def _of_layer(layer: Layer | None) -> Iterator[tuple[str, Series]]:
    """What was seen of the layer that the finding is about, whether or not its rule quoted it."""
    if layer is None:
        return
    gradient = gradient_of(layer, "output") or gradient_of(layer, "weight")
    for name, series in ((f"gradient of {layer.name}", gradient), (f"idle in {layer.name}", idle_of(layer))):
        if len(series) > 1:
            yield name, series


def measure(name: str, value: Any) -> str:
    """A labelled value; a share with a bar as well."""
    bar = (
        f'<span class="bar" aria-hidden="true"><i style="width:{value:.0%}"></i></span>'
        if is_share(name, value)
        else ""
    )
    return f"<div><dt>{escape(label(name))}</dt><dd>{escape(said(name, value))}{bar}</dd></div>"


def _cure(finding: Finding) -> str:
    diffs = [_fix(fix, finding.cure) for fix in finding.fixes]
    if not finding.cure and not diffs:
        return ""
    words = f"<p>{prose(finding.cure)}</p>" if finding.cure else ""
    return f'<section class="cure"><strong>Cure</strong>{words}{"".join(diffs)}</section>'


def _fix(fix: Fix, cure: str) -> str:
    title = f'<p class="fix">{prose(fix.title)}</p>' if fix.title and fix.title != cure else ""
    return title + (diff(fix.patch, fix.title) if fix.patch else "")


def diff(patch: str, title: str = "patch") -> str:
    """A unified diff in colour; each line still begins with its sign, for who cannot see the colour."""
    kinds = {"+": "added", "-": "removed", "@": "hunk"}
    rows = []
    for line in patch.splitlines():
        kind = "file" if line.startswith(("+++ ", "--- ")) else kinds.get(line[:1], "")
        rows.append(f'<span class="{kind}">{escape(line)}\n</span>' if kind else f"<span>{escape(line)}\n</span>")
    return f'<pre class="diff" tabindex="0" aria-label="{escape(title)}"><code>{"".join(rows)}</code></pre>'


def _rest(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    rows = []
    for finding in findings:
        at = f"<code>{escape(place(finding.site))}</code>" if finding.site else ""
        severity = severity_of(finding)
        told = f"<code>{escape(finding.code)}</code> {escape(finding.rule)} {at}"
        rows.append(f'<li><span class="pill {severity}">{severity}</span> {told}<br>{prose(finding.message)}</li>')
    summary = f"<summary>{len(findings)} more findings</summary>"
    return f'<details class="rest">{summary}<ul>{"".join(rows)}</ul></details>'
