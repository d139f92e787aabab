"""Columns of dates as ingest writes them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules import iso
from modules.ingest.dates import dates, seconds_of
from modules.ingest.read import read_columns
from modules.ingest.sources import resolve
from tests.modules.ingest.tables import make_dataset, many_rows, write_rows

DATE = {"name": "first_visit", "kind": "date"}


def texts(values: pa.Array, pattern: str | None = None, missing: tuple[str, ...] = ()) -> list[str | None]:
    found, wrong = dates(values, pattern, missing)
    bad = np.zeros(len(values), bool) if wrong is None else wrong
    return ["wrong" if b else v and v.decode() for v, b in zip(found.to_pylist(), bad, strict=True)]


def test_iso_text_becomes_utc_in_whole_seconds() -> None:
    values = ["2026-01-05", "2026-01-05T00:00:00", "2026-01-05 10:00:00.9", "2026-01-05T10:00:00+02:00", " 2026-01-05 "]
    assert texts(pa.array(values)) == [
        "2026-01-05", "2026-01-05", "2026-01-05T10:00:00Z", "2026-01-05T08:00:00Z", "2026-01-05",
    ]  # fmt: skip


def test_a_format_is_followed_and_days_that_do_not_exist_are_wrong() -> None:
    values = ["31.12.2024", "29.02.2023", "2024-12-31", "", "n/a", " "]
    assert texts(pa.array(values), "%d.%m.%Y", ("n/a",)) == ["2024-12-31", "wrong", "wrong", None, None, None]


def test_columns_of_parquet() -> None:
    moment = dt.datetime(2024, 1, 31, 12, 30)
    assert texts(pa.array([moment, None])) == ["2024-01-31T12:30:00Z", None]
    assert texts(pa.array([moment.date()])) == ["2024-01-31"]
    assert texts(pa.array([moment], pa.timestamp("ns", "Europe/Berlin"))) == ["2024-01-31T12:30:00Z"]
    assert texts(pa.array([20240131, None]), "%Y%m%d") == ["2024-01-31", None]
    assert texts(pa.array([1_706_659_200])) == ["2024-01-31"]
    assert texts(pa.array([1.5])) == ["wrong"]
    assert texts(pa.array([dt.time(12, 30)])) == ["wrong"]
    assert texts(pa.nulls(2)) == [None, None]


def test_a_spelling_of_missing_that_is_a_date_stands_for_the_moment() -> None:
    assert texts(pa.array([dt.date(1900, 1, 1), dt.date(2024, 1, 31)]), None, ("1900-01-01",)) == [None, "2024-01-31"]
    assert texts(pa.array(["1900-01-01 00:00:00", "x"]), None, ("1900-01-01", "x")) == [None, None]


def test_years_beyond_the_calendar_are_wrong() -> None:
    assert texts(pa.array([-62_135_596_801, -62_135_596_800, 253_402_300_799, 253_402_300_800])) == [
        "wrong", "0001-01-01", "9999-12-31T23:59:59Z", "wrong",
    ]  # fmt: skip


@given(
    st.lists(
        st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2400, 1, 1), timezones=st.just(dt.UTC) | st.none()),
        min_size=1,
    )
)
def test_columns_and_single_dates_are_written_alike(moments: list[dt.datetime]) -> None:
    found, wrong = dates(pa.array([m.isoformat() for m in moments]))
    assert wrong is None
    assert [v.decode() for v in found.to_pylist()] == [iso.date_text(m) for m in moments]
    aware = [m.replace(tzinfo=dt.UTC, microsecond=0) for m in moments]
    assert seconds_of(found).tolist() == [m.timestamp() for m in aware]


def test_single_dates_in_a_format() -> None:
    assert iso.date_text(iso.read_date("31.12.2024 08:15", "%d.%m.%Y %H:%M")) == "2024-12-31T08:15:00Z"
    assert iso.date_text(iso.read_date(" 1706659200 ", "%s")) == "2024-01-31"
    with pytest.raises(ValueError, match="Invalid isoformat"):
        iso.read_date("31.12.2024")
    with pytest.raises(ValueError, match="out of range"):
        iso.read_date("9" * 19, "%s")


def test_rows_with_a_date_that_cannot_be_read_are_quarantined(tmp_path) -> None:
    rows = many_rows(5)
    for row, value in zip(rows, ["first_visit", "2024-01-31", "", "yesterday", "2024-02-30", "2024-01-31T10:00Z"],
                          strict=True):  # fmt: skip
        row.append(value)
    dataset = make_dataset(write_rows(tmp_path / "t.csv", rows), features=[DATE])
    (block,) = read_columns(dataset)
    assert block.columns["first_visit"].to_pylist() == [b"2024-01-31", None, b"2024-01-31T10:00:00Z"]
    assert [(b.line, str(b.reason)) for b in block.bad] == [(4, "not a date"), (5, "not a date")]
    assert "first_visit is 'yesterday', expected a date like 2024-01-31" in block.bad[0].message


def test_the_time_column_is_also_a_date_feature_under_another_name(tmp_path) -> None:
    table = pa.table(
        {
            "created": pa.array([dt.datetime(2024, 1, 31, 12), dt.datetime(2024, 2, 1)]),
            "label": pa.array([0, 1]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    dataset = make_dataset(
        tmp_path / "t.parquet", format="parquet", id=None, time={"column": "created"},
        features=[{"name": "created_date", "column": "created", "kind": "date"}],
    )  # fmt: skip
    (block,) = read_columns(dataset, resolve(dataset).files)
    assert block.columns["created"].to_pylist() == [1706702400, 1706745600]
    assert block.columns["created_date"].to_pylist() == [b"2024-01-31T12:00:00Z", b"2024-02-01"]
