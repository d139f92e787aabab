"""The page itself: what is on it, that nothing in the data becomes markup, and that a browser is content with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from modules.errors import ConfigError
from modules.explanation.report import FeatureSample
from modules.reporting.actions import ActionConfusion
from modules.reporting.document import (
    Bars,
    Card,
    Cards,
    Cell,
    Document,
    Explorer,
    Heading,
    Items,
    Missing,
    Paragraph,
    Plot,
    Section,
    Table,
)  # fmt: skip
from modules.reporting.figures import actions, comparison, importance
from modules.reporting.intervals import Interval
from pipeline.report.render import figure_json, render, script_json, write
from tests.pipeline.report.chromium import Browser

HOSTILE = "<script>document.title='owned'</script>\"><img src=x onerror=\"document.title='owned'\">"
BREAKOUT = "</script><script>document.title='owned'</script><!--<script>"
JINJA = "{{ 7 * 191 }}{% raw %}"


def hostile_document() -> Document:
    """Every kind of block, with names that would run, load or end something if they were taken for markup."""
    names = [HOSTILE, BREAKOUT, JINJA, "a & b", "x" * 200]
    dots = comparison.dots(names, {HOSTILE: ("#3b76d6", [Interval(0.5, 0.4, 0.6)] * 5)}, HOSTILE)
    confusion = ActionConfusion(tuple(names), np.eye(5) * 3)
    words = FeatureSample(feature=HOSTILE, values=(BREAKOUT, HOSTILE, None), contributions=(0.1, -0.2, 0.3))
    numbers = FeatureSample(feature="n", values=(1.0, 2.0, None), contributions=(0.1, math.pi, 0.0))
    bars = Bars({"train": (0.5, 0.5)}, (HOSTILE, "b"), f"most frequent {HOSTILE}")
    table = Table(
        (HOSTILE, "n"),
        ((HOSTILE, "1"), (Cell(BREAKOUT, JINJA), Cell(bars=bars))),
        HOSTILE,
        (1,),
    )  # fmt: skip
    blocks = (
        Heading(HOSTILE),
        Paragraph(BREAKOUT),
        Missing(JINJA),
        Items((HOSTILE, BREAKOUT)),
        Cards((Card(HOSTILE, BREAKOUT, JINJA),)),
        table,
        Plot("dots", dots, HOSTILE),
        Plot("confusion", actions.confusion(confusion), BREAKOUT),
        Plot("beeswarm", importance.beeswarm([words, numbers]), BREAKOUT),
        Plot("words", importance.dependence(words), HOSTILE),
        Explorer((0.0, 0.5, 1.0), ((3, 2, 0, 0), (2, 1, 1, 1), (0, 0, 2, 3)), 1, HOSTILE),
    )
    return Document(HOSTILE, BREAKOUT, (Section("hostile", HOSTILE, blocks),), {HOSTILE: BREAKOUT})


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "page.html"
    write(hostile_document(), path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


def without_scripts(page: str) -> str:
    return re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)


def test_names_in_the_data_are_text_everywhere(hostile_page: Path):
    page = hostile_page.read_text()
    markup = without_scripts(page)
    assert "<img" not in markup and "<script" not in markup and "1337" not in markup
    assert markup.count("&lt;script&gt;") > 10
    # Two blocks of data, plotly.js, our script: nothing has ended one or begun another.
    opened = re.findall(r"<script[ >]", re.sub(r"(?s)<script>/\*\*.*?</script>", "<script>", page))
    assert page.count("</script>") == 4 and len(opened) == 4


def test_data_cannot_end_the_script_it_stands_in():
    text = script_json({"a": BREAKOUT, "b": "\u2028&"})
    assert not set(text) & set("<>&\u2028") and json.loads(text) == {"a": BREAKOUT, "b": "\u2028&"}


def test_figures_carry_few_digits_and_no_nan():
    figure = go.Figure(go.Scatter(x=np.array([1 / 3, np.nan]), y=[np.float32(2.5), math.inf]))
    assert figure_json(figure)["data"] == [{"type": "scatter", "x": [0.33333, None], "y": [2.5, None]}]


def test_nothing_is_written_where_nothing_can_be(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write(Document("t", "s", ()), file / "page.html")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_document_without_plots_carries_no_plotting_library():
    page = render(Document("t", "s", (Section("a", "A", (Missing("nothing"),)),)))
    assert len(page) < 30_000 and '<p class="missing">nothing</p>' in page


@pytest.mark.slow
def test_a_browser_runs_nothing_that_the_data_hold(hostile_page: Path, browser: Browser):
    browser.open(hostile_page)
    assert browser.js("document.title") == HOSTILE
    assert browser.problems() == []
    assert browser.requests() == [hostile_page.as_uri()]
    assert browser.js("document.querySelectorAll('svg.main-svg').length") >= 4
    assert browser.js("document.querySelectorAll('main img').length") == 0
    assert "<script>" in browser.js("document.querySelector('#plot-dots').textContent")


@pytest.mark.slow
def test_the_slider_shows_the_counts_of_its_threshold(hostile_page: Path, browser: Browser):
    browser.open(hostile_page)
    shown = (
        "[document.querySelector('.explorer output').textContent,"
        " ...[...document.querySelectorAll('[data-count]')].map(c => c.textContent),"
        " ...[...document.querySelectorAll('[data-rate]')].map(c => c.textContent)]"
    )
    # True positives, false negatives, false positives, true negatives; then the rates in their order.
    assert browser.js(shown) == ["0.5", "2", "1", "1", "1", "66.7 %", "66.7 %", "66.7 %", "50.0 %", "60.0 %", "60.0 %"]
    browser.js("document.querySelector('.explorer input').value = 2")
    browser.js("document.querySelector('.explorer input').dispatchEvent(new Event('input'))")
    assert browser.js(shown) == ["1", "0", "3", "0", "2", "–", "0.0 %", "0.0 %", "0.0 %", "0.0 %", "40.0 %"]
    browser.js("document.querySelector('.explorer button').click()")
    assert browser.js(shown)[0] == "0.5"


@pytest.mark.slow
def test_plots_take_the_colours_of_the_scheme(hostile_page: Path, browser: Browser):
    ink = {}
    for scheme in ("light", "dark"):
        browser.open(hostile_page, scheme=scheme)
        ink[scheme] = browser.js("document.querySelector('#plot-dots').layout.font.color")
        assert browser.js("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()") == ink[scheme]
    assert ink["light"] != ink["dark"]
