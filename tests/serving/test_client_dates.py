"""Dates in leads and in tables of leads."""

from __future__ import annotations

import datetime as dt
import io

import pandas as pd
import pytest

from modules.errors import DataError
from modules.native.protos import Example
from serving.client import Feature, Features
from serving.client.errors import LeadError
from serving.client.table import LeadTable, Reading

FEATURES = Features([Feature("age", 1), Feature("seen", 7)])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.date(2024, 1, 5), b"2024-01-05"),
        (dt.datetime(2024, 1, 5), b"2024-01-05"),
        (dt.datetime(2024, 1, 5, 10, 30, 15, 999_999), b"2024-01-05T10:30:15Z"),
        (dt.datetime(2024, 1, 5, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))), b"2024-01-04T22:30:00Z"),
        (pd.Timestamp("2024-01-05 10:30"), b"2024-01-05T10:30:00Z"),
        (pd.NaT, b""),
        (None, b""),
        ("2024-01-05", b"2024-01-05"),
    ],
)
def test_dates_become_text(value: object, text: bytes) -> None:
    assert Feature("seen", 7).encode([value]) == [text]
    (record,) = FEATURES.examples({"seen": [value]}, 1)
    assert list(Example.FromString(record).features.feature["seen"].bytes_list.value) == [text] * bool(text)


def test_a_moment_outside_of_the_calendar_names_the_lead() -> None:
    first = dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with pytest.raises(LeadError, match=r"lead 1, seen: .*not in the years 1 to 9999"):
        Feature("seen", 7).encode([dt.date(2024, 1, 5), first])


def test_a_number_is_no_date_object() -> None:
    with pytest.raises(LeadError, match="expected a number"):
        Feature("age", 1).encode([dt.date(2024, 1, 5)])


def table(text: str, reading: Reading) -> LeadTable:
    return LeadTable(io.BytesIO(text.encode()), "leads.csv", FEATURES, reading)


def test_a_table_is_read_in_its_own_formats() -> None:
    reading = Reading(
        dates={"seen": "%d.%m.%Y"}, missing={"seen": frozenset(["n/a", "1900-01-01"])}, decimal=",", thousands=".",
        trim=True, delimiter=";",
    )  # fmt: skip
    (chunk,) = table("age; seen\n1.234,5; 31.12.2024\n 7; n/a\n;01.01.1900\n1,5;\n", reading).chunks()
    assert chunk.columns["seen"] == [b"2024-12-31", b"", b"", b""]
    ages = [None if a != a else a for a in chunk.columns["age"]]
    assert ages == [1234.5, 7.0, None, 1.5]


def test_a_date_that_cannot_be_read_is_a_bad_row() -> None:
    text = "age,seen\n1,2024-01-05\n2,05.01.2024\n3,2024-02-30\n"
    with pytest.raises(DataError, match="line 3: seen: expected a date like 2024-01-31, received"):
        list(table(text, Reading(dates={"seen": None})).chunks())
    left = table(text, Reading(dates={"seen": None}, skip_bad=True))
    assert [chunk.lines for chunk in left.chunks()] == [[2]]
    assert left.bad_rows == 2
