"""The web page: whole, safe, small, and well-formed whatever it is given."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from believable import diagnosis, program, record
from torchdx.finding import Diagnosis, Finding, Fix, Site, Verdict
from torchdx.record import Record, Series
from torchdx.report import html as pictures
from torchdx.report.html import html
from torchdx.report.html.curves import buckets, losses, sparkline
from torchdx.report.html.picture import COLUMNS, ROWS, Health, health
from torchdx.report.html.svg import Scale, line, linear_ticks, log_ticks

VOID = {"meta", "br"}
NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\x1b\ud800"


class Checker(HTMLParser):
    """Notes every tag and attribute, and complains of tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def hard_cases(told: Diagnosis) -> Iterator[tuple[str, Diagnosis, Record | None]]:
    bare = Diagnosis(Verdict("not enough evidence", "Nothing was seen."))
    unfinished = [{"kind": "step", "n": k, "objective": math.nan} for k in range(9)]
    nasty = Finding(
        NASTY, Site(NASTY, 3), NASTY, {NASTY: NASTY, "curve": [math.nan] * 3}, NASTY, code=NASTY, rule=NASTY,
        fixes=(Fix(NASTY, (), "+" + NASTY),), consequences=(Finding(NASTY),),
    )  # fmt: skip
    odd = [
        {"kind": "module", "id": 0, "name": NASTY, "cls": NASTY, "model": 1},
        {"kind": "outputs", "step": 1, "layers": {"0": {"gradient": 0.0, "flat": 1.0}}},
        {"kind": "step", "n": 1, "objective": 3.0},
    ]
    yield "an empty record", bare, Record()
    yield "no record", told, None
    yield "only NaN", replace(told, findings=()), Record.of(unfinished)
    yield "a run that broke", told, record(broken_from=100)
    yield "one step", told, Record.of([{"kind": "step", "n": 1, "objective": 1.0}])
    yield "nasty words", Diagnosis(Verdict(NASTY, NASTY, {NASTY: 1}), (nasty,), run={"command": NASTY}), Record.of(odd)
    yield "hundreds of findings", replace(told, findings=told.findings * 100), record(60)
    yield "a very long run of a deep net", told, record(20_000, layers=150)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    monkeypatch.chdir(tmp_path)
    return diagnosis(program(tmp_path))


@pytest.mark.parametrize("case", range(8))
def test_the_page_holds_together(told: Diagnosis, case: int) -> None:
    name, each, seen = list(hard_cases(told))[case]
    page = html(each, seen)
    page.encode("utf-8")
    assert len(page) < 500_000, name
    tags = Checker(page).seen
    assert not [tag for tag, _ in tags if tag in {"link", "img", "iframe", "object"} or tag.startswith("!")]
    assert [tag for tag, attributes in tags if tag == "script"].count("script") <= 2
    loads = [value for _, attributes in tags for key, value in attributes.items() if key in {"src", "srcset"}]
    assert not loads
    assert all(not key.startswith("on") for _, attributes in tags for key in attributes)
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids)), name
    links = {attributes["href"] for tag, attributes in tags if tag == "a"}
    assert links <= {f"#{key}" for key in ids}
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(picture)
        assert "nan" not in re.sub(r"<title>.*?</title>|aria-label=\"[^\"]*\"|>[^<]*<", "", picture).lower()


def test_the_order_is_verdict_run_findings_facts(told: Diagnosis) -> None:
    page = html(told, record())
    marks = [
        "<h1>Not learning: data</h1>",
        'class="losses"',
        'class="health"',
        'id="finding-1"',
        "Not enough",
        "The run",
    ]
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)


def test_the_page_is_usable_without_a_mouse_or_eyes(told: Diagnosis) -> None:
    page = html(told, record())
    tags = Checker(page).seen
    assert tags[0] == ("html", {"lang": "en"})
    assert ("a", {"class": "skip", "href": "#findings"}) in tags
    assert all(attributes.get("aria-label") for tag, attributes in tags if tag == "svg")
    assert [tag for tag, _ in tags].count("h1") == 1
    assert page.count("<figcaption>") == page.count("<figure") == 2
    for need in (":focus-visible", "prefers-color-scheme: dark", "@media print", "prefers-reduced-motion"):
        assert need in page
    assert "default-src 'none'" in page


def test_a_card_shows_source_evidence_cure_and_consequences(told: Diagnosis) -> None:
    page = html(told, record(), {"TDX502": "<p>the page of the rule</p>"})
    card = page[page.index('id="finding-1"') : page.index('id="finding-2"')]
    assert "<mark>x.to(device) / 255</mark>  # über" in card
    assert "<dt>times scaled</dt><dd>2</dd>" in card
    assert '<span class="removed">-\tx = x.to(device) / 255' in card
    assert "This explains 2 more findings" in card
    assert 'id="finding-1-2"' in card
    assert "the page of the rule" in card
    assert (
        "gradient of head.1" in card and "idle in head.1" in card
    )  # from the record, of the layer that the consequence names


def test_numbers_for_the_read_out_cannot_end_their_script(told: Diagnosis) -> None:
    odd = {"kind": "module", "id": 0, "name": "</script><b>", "cls": "X", "model": 1}
    look = {"kind": "outputs", "step": 1, "layers": {"0": {"gradient": math.inf}}}
    page = html(told, Record.of([odd, look]))
    data = re.search(r'<script type="application/json" id="health-data">(.*?)</script>', page)
    assert data
    assert json.loads(data[1])["layers"] == ["</script><b>"]
    assert json.loads(data[1])["gradient"] == [["infinity"]]


# --- the parts


def test_thinning_hides_neither_spikes_nor_breaks() -> None:
    values = [1.0] * 10_000
    values[5000], values[7000] = 99.0, math.nan
    thinned = buckets(Series(tuple(range(10_000)), tuple(values)), 100)
    assert len(thinned) <= 100
    assert max(bucket.high for bucket in thinned) == 99.0
    assert sum(math.isnan(bucket.mean) for bucket in thinned) == 1


def test_losses_are_drawn_with_the_lines_of_entropy() -> None:
    drawn = losses(record())
    assert "uniform guess, log 10 = 2.3" in drawn
    assert "class frequencies, H(Y) = " in drawn
    assert drawn.count('class="entropy"') == 4  # two lines in each of two sizes
    assert losses(Record()) == ""


def test_wide_losses_get_a_logarithmic_scale() -> None:
    facts = [{"kind": "step", "n": k, "objective": 10.0**-k} for k in range(1, 6)]
    assert "Logarithmic" in losses(Record.of(facts))


def test_the_picture_keeps_the_layers_that_findings_name() -> None:
    deep = record(400, layers=150)
    seen = Health.of(deep, {"more.77"})
    assert seen is not None
    assert len(seen.layers) <= ROWS + 2
    assert "more.77" in [layer.name for layer in seen.layers]
    assert len(seen.steps) <= COLUMNS
    assert f"{seen.left_out} layers" in health(deep, {"more.77": "error"})


def test_one_break_in_a_thinned_column_is_shown() -> None:
    facts = [{"kind": "module", "id": 0, "name": "a", "cls": "Linear", "model": 1}]
    facts += [
        {"kind": "outputs", "step": k, "layers": {"0": {"gradient": math.nan if k == 500 else 1.0}}}
        for k in range(1000)
    ]
    seen = Health.of(Record.of(facts))
    assert seen is not None
    assert sum(cell is not None and math.isnan(cell) for cell in seen.gradient[0]) == 1


@pytest.mark.parametrize("values", [(), (1.0,), (math.nan, math.nan), (1e-8, 1.0), (0.0, 0.0), (-1e300, 1e300), (5, 5)])
def test_sparklines_of_anything(values: tuple[float, ...]) -> None:
    drawn = sparkline("a<b", Series(tuple(range(len(values))), values))
    ET.fromstring(drawn)


def test_ticks_are_round_and_within() -> None:
    assert linear_ticks(0.0, 2.4, 5) == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert linear_ticks(3.0, 3.0, 5) == [3.0]
    assert log_ticks(1e-6, 1.0, 5) == pytest.approx([1e-6, 1e-4, 1e-2, 1.0])
    assert log_ticks(1.0, 10.0, 5) == [1.0, 2.0, 5.0, 10.0]


def test_scales_and_broken_lines() -> None:
    scale = Scale(1.0, 100.0, 0.0, 200.0, log=True)
    assert (scale(10.0), scale(1e9), scale(-3.0)) == (100.0, 200.0, 0.0)
    drawn = line([(0, 0.0), (1, math.nan), (2, 2.0), (3, 3.0)], float, float)
    assert drawn == "M0 0M2 2L3 3"


def luminance(colour: str) -> float:
    full = colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:])
    parts = [int(full[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(theme: int) -> None:
    style = (Path(pictures.__file__).parent / "style.css").read_text()
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", style.split(":root")[1 + theme]))
    pairs = [(kind, f"{kind}-bg") for kind in ("error", "warning", "note", "well", "unsure", "added", "removed")]
    pairs += [(ink, back) for ink in ("ink", "soft", "link") for back in ("page", "card", "sunk")]
    pairs += [("ink", f"{kind}-bg") for kind in ("error", "warning", "note")] + [("ink", "mark")]
    pairs += [(ink, "card") for ink in ("training", "validation", "broken", "error", "well", "unsure")]
    for ink, back in pairs:
        light, dark = sorted((luminance(colours[ink]), luminance(colours[back])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, back)
