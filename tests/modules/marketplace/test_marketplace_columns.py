"""The table of columns and its page."""

from __future__ import annotations

from pathlib import Path

from modules.marketplace.columns import CATEGORICAL, COLUMNS, NUMERIC, markdown
from modules.marketplace.world import STATES, ZIP_SHARE, ZIPS, market

DOCS = Path(__file__).parents[3] / "docs" / "marketplace.md"


def test_the_page_shows_the_table_as_it_is() -> None:
    assert markdown() in DOCS.read_text(encoding="utf-8")


def test_columns_are_unique_and_complete() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names) == 33
    assert (len(NUMERIC), len(CATEGORICAL)) == (17, 9)
    for column in COLUMNS:
        assert (column.minimum is not None) == (column.maximum is not None) == (column.kind == "numeric")
        assert bool(column.categories) == (column.kind == "categorical")
        assert bool(column.missing) == bool(column.missing_when)


def test_the_world_has_four_hundred_zips_with_some_that_start_with_zero() -> None:
    assert len(set(ZIPS)) == len(ZIPS) == 400
    assert {len(name) for name in ZIPS} == {5}
    assert sum(name.startswith("0") for name in ZIPS) == 36
    assert len(STATES) == 12
    assert abs(ZIP_SHARE.sum() - 1) < 1e-12


def test_markets_have_seasons_and_gaps() -> None:
    world = market()
    june, december = world.months_of_inventory[5::12].mean(), world.months_of_inventory[11::12].mean()
    assert december > 1.3 * june
    assert 0.015 < 1 - world.known.mean() < 0.025
    assert (world.mortgage_rate > 3).all()
