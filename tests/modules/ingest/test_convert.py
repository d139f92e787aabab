import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from modules.ingest import convert


def at(*moment: int) -> int:
    return int(dt.datetime(*moment, tzinfo=dt.UTC).timestamp())


@pytest.mark.parametrize(
    ("pattern", "text", "seconds"),
    [
        (None, "2024-02-29", at(2024, 2, 29)),
        (None, "2024-02-29T10:11:12", at(2024, 2, 29, 10, 11, 12)),
        (None, "2024-02-29 10:11:12.9", at(2024, 2, 29, 10, 11, 12)),
        (None, "2024-02-29T10:11:12Z", at(2024, 2, 29, 10, 11, 12)),
        (None, "2024-02-29T10:11:12+02:00", at(2024, 2, 29, 8, 11, 12)),
        (None, "1969-12-31T23:59:59.5", -1),
        (None, "2024-02-30", None),
        (None, "yesterday", None),
        ("%d/%m/%Y", "29/02/2024", at(2024, 2, 29)),
        ("%d/%m/%Y", "9/2/2024", at(2024, 2, 9)),
        ("%d/%m/%Y", "31/02/2024", None),
        ("%d/%m/%Y", "29/02/2024 x", None),
        ("%Y-%m-%d %H:%M:%S.%f", "2024-02-29 10:11:12.5", at(2024, 2, 29, 10, 11, 12)),
        ("%Y-%m-%d %H:%M:%S%z", "2024-02-29 10:11:12+0200", at(2024, 2, 29, 8, 11, 12)),
        ("%s", "1700000000", 1_700_000_000),
        ("%s", "soon", None),
    ],
)
def test_times_are_read_to_the_second_or_not_at_all(pattern, text, seconds):
    array, wrong = convert.times(pa.array([text.encode(), b"", text.encode()]), pattern)
    assert array.to_pylist() == [seconds, None, seconds]
    assert wrong.tolist() == [seconds is None, True, seconds is None]


@pytest.mark.parametrize(
    ("pattern", "text", "micros"),
    [
        (None, "1970-01-01T00:00:01.25", 1_250_000),
        (None, "1970-01-01T02:00:01.000001+02:00", 1_000_001),
        ("%Y/%m/%d %H:%M:%S.%f", "1970/01/01 00:00:01.250", 1_250_000),
        ("%Y/%m/%d %H:%M:%S.%f", "1970/01/01 00:00:01.000001", 1_000_001),
        ("%Y/%m/%d %H:%M:%S.%f", "1970/01/01 00:00:01", None),
        ("%Y/%m/%d %H:%M:%S.%f", "1970/02/31 00:00:01.5", None),
        ("%Y/%m/%d %H:%M:%S.%f", "1970/01/01 00:00:01.1234567", None),
        ("%Y/%m/%d %H:%M", "1970/01/01 00:01", 60_000_000),
        ("%s", "7", 7_000_000),
    ],
)
def test_moments_are_read_to_the_microsecond_or_not_at_all(pattern, text, micros):
    values, wrong = convert.moments(pa.array([text, "1970-13-01"], pa.string()), pattern)
    assert values.to_pylist() == [micros, None]
    assert wrong.tolist() == [micros is None, True]


def test_times_with_and_without_offset_may_be_mixed():
    array, wrong = convert.times(pa.array([b"2024-01-01", b"2024-01-01T00:00:00+01:00"]), None)
    assert array.to_pylist() == [at(2024, 1, 1), at(2023, 12, 31, 23)] and wrong is None


def test_times_of_parquet_are_taken_as_they_are():
    day = pa.array([dt.date(2024, 2, 29), None])
    assert convert.times(day, None)[0].to_pylist() == [at(2024, 2, 29), None]
    moment = pa.array([dt.datetime(1969, 12, 31, 23, 59, 59, 500_000)], pa.timestamp("ns"))
    assert convert.times(moment, None)[0].to_pylist() == [-1]


def test_numbers_of_every_arrow_type_become_float32():
    for values in (
        pa.array([1, None], pa.uint8()),
        pa.array([True, None]),
        pa.array([1.0, float("nan")]),
        pa.array(["1", ""]),
        pa.array([1, None]).cast(pa.decimal128(22, 2)),
    ):
        array, wrong = convert.numbers(values)
        assert array.type == pa.float32() and array.to_pylist() == [1.0, None] and wrong is None


def test_a_spelling_of_missing_that_is_a_number_means_its_value():
    array, wrong = convert.numbers(pa.array([999.0, 99.0]), ("999",))
    assert array.to_pylist() == [None, 99.0] and wrong is None


def test_what_float32_cannot_hold_is_wrong():
    array, wrong = convert.numbers(pa.array([1e39, -np.inf, 3.4e38]))
    assert array.to_pylist() == [None, None, np.float32(3.4e38)] and wrong.tolist() == [True, True, False]


def test_a_date_in_a_number_column_is_wrong():
    assert convert.numbers(pa.array([dt.date(2024, 1, 1), None]))[1].tolist() == [True, False]


def test_labels_of_every_type_are_spelled_out():
    positive, negative = ("1", "true"), ("0", "false")
    for values in (pa.array([1, 0]), pa.array([1.0, 0.0]), pa.array([True, False]), pa.array(["1", "false"])):
        array, wrong = convert.labels(values, positive, negative)
        assert array.to_pylist() == [1, 0] and wrong is None
    array, wrong = convert.labels(pa.array(["1", "", None, "TRUE"]), positive, negative)
    assert wrong.tolist() == [False, True, True, True]


def test_months_are_names_or_numbers():
    array, wrong = convert.months(pa.array([b"jan", b"FEB", b"march", b"04", b"5", b"13", b""]))
    assert array.to_pylist() == [1, 2, 3, 4, 5, None, None]
    assert wrong.tolist() == [False] * 5 + [True, True]
