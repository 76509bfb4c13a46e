"""What reports say of a program's data, from facts alone: shown whole, safe, and nothing where there is nothing."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from typing import Any

import pytest
import torch

from torchdx.finding import Diagnosis, Verdict
from torchdx.record import Record
from torchdx.report import journey
from torchdx.report.html import html
from torchdx.report.html.sheet import is_png
from torchdx.watch.audit.png import thumbnail

Fact = dict[str, Any]
BARE = Diagnosis(Verdict("not enough evidence", "Nothing was seen."))
NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\x1b"
PNG = thumbnail(torch.zeros(3, 8, 8, dtype=torch.uint8))[0]
VALUE: Fact = {
    "type": "torch.Tensor", "dtype": "float32", "layout": "CHW", "shape": [3, 8, 8], "min": -2.0, "max": 2.5,
    "mean": 0.125, "std": 0.75, "histogram": [1, 0, 5, 2], "picture": PNG, "shown": "times 255",
}  # fmt: skip
STEP: Fact = {
    "n": 0, "from": [], "part": "input", "kind": "call", "name": "RandomCrop", "words": "a corner cut out",
    "text": "crop(image)", "site": ["train.py", 7, 1, 7, 9], "before": VALUE, "after": VALUE, "varies": True,
}  # fmt: skip
PIPELINE: Fact = {
    "kind": "pipeline",
    "id": 0,
    "what": "loader",
    "role": "train",
    "name": "train_loader",
    "samples": 500,
}
OTHER: Fact = {**PIPELINE, "id": 1, "role": "eval", "name": "val_loader"}
JOURNEY: Fact = {"kind": "journey", "pipeline": 0, "sample": 3, "steps": [STEP, {**STEP, "n": 1, "part": "target"}]}
PICTURE: Fact = {"index": 17, "label": "8 ship", "picture": PNG, "mark": "suspect", "note": "9 of the 10 are cats"}


class Seen(HTMLParser):
    """Tags with their attributes, in order; those not closed in order are complained of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(*facts: Fact) -> str:
    return html(BARE, Record.of(list(facts)))


def terminal(*facts: Fact) -> str:
    return " ".join(journey.text(Record.of(list(facts))).split())


def about(kind: str, **told: Any) -> Fact:
    return {"kind": kind, "pipeline": 0, **told}


def between(kind: str, **told: Any) -> Fact:
    return {"kind": kind, "train": 0, "eval": 1, **told}


def test_the_steps_are_shown_as_cards() -> None:
    told = page(PIPELINE, JOURNEY)
    for words in ("What the network really sees", "a corner cut out", "crop(image)", "random", "CHW 3×8×8", "-2..2.5"):
        assert words in told
    assert "train.py:7" in told
    assert "The target of sample 3" in told
    images = Seen(told).all("img")
    assert {image["src"] for image in images} == {f"data:image/png;base64,{PNG}"}
    assert all(image["alt"] for image in images)


def test_the_sheet_is_a_grid_of_pictures_with_labels_and_marks() -> None:
    sheet = {"kind": "sheet", "pipeline": 0, "samples": 500, "undone": "times 255", "items": [PICTURE]}
    told = page(PIPELINE, sheet)
    for words in ("8 ship", "suspect", "9 of the 10 are cats", "1 of 500 samples", "shown times 255"):
        assert words in told
    assert Seen(told).all("img")[0]["alt"] == "sample 17, 8 ship"


def test_padding_is_greyed_and_rows_are_told() -> None:
    tokens = {"index": 1, "label": None, "tokens": [5, 6, 0, 0], "padding": 0}
    rows = {"index": 2, "label": "1", "values": [0.5, 2.25], "length": 90}
    told = page(PIPELINE, {"kind": "sheet", "pipeline": 0, "items": [tokens, rows]})
    assert 'class="pad">0</i> <i class="pad">0</i>' in told
    assert "0.5 2.25 … 26 more" in told


@pytest.mark.parametrize(
    "bad", ["", "x", NASTY, PNG + '" onerror="alert(1)', "AAAA\n", None, 5, base64.b64encode(b"GIF89a").decode()]
)
def test_what_is_no_png_is_not_shown(bad: object) -> None:
    assert not is_png(bad)
    step = {**STEP, "before": {}, "after": {**VALUE, "picture": bad}}
    sheet = {"kind": "sheet", "pipeline": 0, "items": [{**PICTURE, "picture": bad}]}
    told = Seen(page(PIPELINE, about("journey", steps=[step]), sheet))
    assert not told.all("img")


def test_hostile_words_stay_words() -> None:
    value = {
        "type": NASTY,
        "dtype": NASTY,
        "layout": NASTY,
        "shape": [3],
        "text": NASTY,
        "shown": NASTY,
        "picture": PNG,
    }
    step = {**STEP, "words": NASTY, "text": NASTY, "name": NASTY, "site": [NASTY, 1, 1, 1, 2], "after": value}
    item = {"index": 1, "label": NASTY, "note": NASTY, "mark": NASTY, "tokens": [NASTY], "padding": NASTY}
    facts = [
        {**PIPELINE, "name": NASTY, "dataset": NASTY, "order": NASTY, "batch_size": 4},
        about("journey", steps=[step]), about("sheet", undone=NASTY, items=[item, {**item, "picture": PNG}]),
        about("broken", sample=1, what=NASTY, error=NASTY), about("labels", counts={NASTY: 3}),
        about("columns", columns=[{"mean": 1.0, "std": 1.0}], names=[NASTY]),
    ]  # fmt: skip
    told = Seen(page(*facts))
    assert len(told.all("script")) == 1
    assert all(image["src"] != "x" and "onerror" not in image for image in told.all("img"))
    assert "\x1b" not in terminal(*facts)


def test_missing_keys_are_no_trouble() -> None:
    kinds = (
        "journey",
        "sheet",
        "labels",
        "columns",
        "nonfinite",
        "mixture",
        "tokens",
        "neighbours",
        "repeat",
        "timing",
    )
    facts = [about(kind) for kind in kinds] + [between(kind) for kind in ("overlap", "shift", "scaled")]
    bare = [about("journey", steps=[{"n": 0, "kind": "call", "part": "input"}]), about("sheet", items=[{}, None])]
    for told in (facts, bare):
        Seen(page({"kind": "pipeline", "id": 0}, *told))
        assert terminal({"kind": "pipeline", "id": 0}, *told)


def test_very_many_of_all_are_bounded() -> None:
    steps = [{**STEP, "n": k, "before": None, "after": {**VALUE, "picture": None}} for k in range(3000)]
    columns = about("columns", columns=[{"mean": 10.0**k, "std": 1.0} for k in range(-200, 200)])
    sheet = about("sheet", items=[PICTURE] * 5000)
    pipelines = [{**PIPELINE, "id": k} for k in range(500)]
    told = page(*pipelines, about("journey", steps=steps), columns, sheet)
    assert len(told) < 400_000
    assert "488 pipelines" in told
    Seen(told)


def test_without_pipelines_nothing_is_said() -> None:
    told = page({"kind": "step", "n": 1, "objective": 1.0}, about("sheet", items=[PICTURE]))
    assert "What the network really sees" not in told
    assert "<img" not in told
    assert not terminal({"kind": "step", "n": 1})


def test_numbers_that_are_not_finite_are_told() -> None:
    fact = about("nonfinite", samples=100, inputs=[3, 9], targets=[4], count=3)
    assert "3 of 100 samples hold what is not finite: inputs of 3, 9; targets of 4." in terminal(PIPELINE, fact)


def test_two_scales_are_told_and_one_is_not_called_two() -> None:
    fact = about("mixture", samples=100, gain=57.0, gap=120.0, share=0.25, sizes=[1.0, 255.0])
    told = terminal(PIPELINE, fact)
    assert "two scales are the better account by 57 nats, around 1 and 255: 25% are 120 times above the rest" in told
    assert "one scale" in terminal(PIPELINE, {**fact, "gain": -3.0})


def test_scaling_over_all_is_told() -> None:
    told = terminal(PIPELINE, OTHER, between("scaled", alone=0.4, together=1e-6))
    assert "in train_loader alone 0.4 standard errors, in train_loader and val_loader together 1e-6" in told


def test_a_shift_is_told_as_the_share_of_ones_own_side() -> None:
    told = terminal(PIPELINE, OTHER, between("shift", divergence=0.93, null=[0.5, 0.01], p=0.02))
    assert "Of a sample's nearest others 93% are of its own side; by chance, 50% ± 1%." in told.replace("1.0%", "1%")
    assert "apart" not in told


def test_labels_are_held_together_with_their_counts() -> None:
    assert "3\u00a0(122)" in page(PIPELINE, about("labels", counts={"3": 122}))
