"""Dates in the graph against Python's datetime."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.dataset import Dataset
from modules.encoding import dates
from modules.encoding.batch import Batch
from modules.journeys.dataset import JourneyDataset
from modules.transform_config import TransformConfig
from modules.transform_features import transformed_features

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


parse_seconds = tf.function(dates.parse_seconds, input_signature=[tf.TensorSpec([None], tf.string)])


def parse(texts: list[str]) -> list[int | None]:
    seconds, known = parse_seconds(tf.constant(texts, tf.string))
    return [s if k else None for s, k in zip(seconds.numpy().tolist(), known.numpy().tolist(), strict=True)]


def expected(moment: dt.datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return (moment - EPOCH) // SECOND


offsets = st.one_of(
    st.none(),
    st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: dt.timezone(dt.timedelta(minutes=m))),
    st.just(dt.UTC),
)
moments = st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2400, 12, 31, 23, 59, 59), timezones=offsets)


@given(st.lists(moments, min_size=1, max_size=50), st.sampled_from(["T", " "]))
@settings(deadline=None, max_examples=60)
def test_moments_are_exact_as_datetime_writes_them(found: list[dt.datetime], separator: str) -> None:
    assert parse([m.isoformat(separator) for m in found]) == [expected(m) for m in found]


@given(st.lists(moments, min_size=1, max_size=20))
@settings(deadline=None, max_examples=30)
def test_every_way_to_write_a_moment(found: list[dt.datetime]) -> None:
    forms = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M%z", "%Y-%m-%d %H%z", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%HZ")
    for form in forms:
        texts = [m.strftime(form) for m in found]
        assert parse(texts) == [expected(dt.datetime.fromisoformat(t)) for t in texts]


def test_every_day_of_eight_centuries() -> None:
    first, last = dt.date(1600, 1, 1), dt.date(2400, 12, 31)
    days = [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]
    assert parse([d.isoformat() for d in days]) == [(d - dt.date(1970, 1, 1)).days * 86_400 for d in days]


def test_first_and_last_moment_of_the_calendar() -> None:
    assert parse(["0001-01-01", "9999-12-31T23:59:59.999999"]) == [-62135596800, 253402300799]


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "nat", "NaT", "2026", "2026-01", "2026-1-5", "26-01-05", "2026-13-01", "2026-00-10", "2026-01-00",
        "2026-01-32", "2026-02-29", "2100-02-29", "1900-02-29", "2026-04-31", "0000-01-01",
        "2026-01-05T", "2026-01-05T1",
        "2026-01-05T24:00", "2026-01-05T10:60", "2026-01-05T10:00:60", "2026-01-05T10:0", "2026-01-05T10:00:00.",
        "2026-01-05+01:00", "2026-01-05Z", "2026-01-05T10:00:00+24:00", "2026-01-05T10:00:00+1",
        "2026-01-05T10:00:00+01:60",
        "2026-01-05T10:00:00ZZ", "2026-01-05x10:00", "2026/01/05", "05.01.2026", "20260105", "2026-W01-1",
        "-2026-01-05",
        "2026-01-05\n2026-01-06", "２０２６-01-05", "2026-01-05T10:00 +01:00", "12026-01-05",
    ],
)  # fmt: skip
def test_anything_else_is_missing(text: str) -> None:
    assert parse([text]) == [None]


@given(st.lists(st.one_of(st.binary(max_size=30), st.text("0123456789-:TZ +.", max_size=26).map(str.encode))))
@settings(deadline=None, max_examples=200)
def test_no_text_raises_and_what_is_known_is_what_datetime_reads(texts: list[bytes]) -> None:
    seconds, known = parse_seconds(tf.constant(texts, tf.string, [len(texts)]))
    for text, second, is_known in zip(texts, seconds.numpy(), known.numpy(), strict=True):
        if is_known:
            assert second == expected(dt.datetime.fromisoformat(text.decode().strip()))


def test_leap_days() -> None:
    assert parse(["2024-02-29", "2000-02-29", "1600-02-29"]) == [1709164800, 951782400, -11670998400]


def test_shape_is_kept_and_no_rows_are_fine() -> None:
    seconds, known = dates.parse_seconds(tf.zeros([0, 3], tf.string))
    assert seconds.shape == known.shape == (0, 3)
    assert dates.date_columns(tf.zeros([0, 2], tf.string), [["age"], ["hour", "age"]], [1, None]).shape == (0, 4)


def test_months_of_all_days() -> None:
    days = np.arange(-(86_400 * 800_000 // 86_400) + 100_000, 2_900_000, 17)
    days = days[days > -719_162]
    seconds = days.astype(np.int64) * 86_400 + 86_399
    found = dates.month_of_year(tf.constant(seconds)).numpy()
    np.testing.assert_array_equal(found, seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12)


def columns(rows: list[list[str]], parts: list[list[str]], references: list[int | None]) -> np.ndarray:
    return dates.date_columns(tf.constant(rows, tf.string), parts, references).numpy()  # type: ignore[arg-type]


def test_columns_by_hand() -> None:
    # 5 January 2026 was a Monday, 7 April 2026 a Tuesday.
    found = columns(
        [["2026-01-05T06:00:00", "2026-04-07"]], [["age", "weekday", "month", "hour"], ["weekday"]], [1, None]
    )
    tuesday = 2 * np.pi / 7
    expected = [91.75, 0, 1, 0, 1, 1, 0, np.sin(tuesday), np.cos(tuesday)]
    np.testing.assert_allclose(found, [expected], atol=1e-7)
    assert found.dtype == np.float32


def test_without_reference_days_are_counted_from_2000() -> None:
    found = columns([["2000-01-02T12:00:00"], ["1999-12-31"], [""]], [["age"]], [None])
    np.testing.assert_array_equal(found, np.float32([[1.5], [-1], [np.nan]]))


def test_age_is_missing_when_either_date_is() -> None:
    rows = [["2026-01-05", "2026-01-04"], ["", "2026-01-04"], ["2026-01-05", "soon"]]
    found = columns(rows, [["age", "weekday"], ["age"]], [1, None])
    np.testing.assert_array_equal(np.isnan(found), [[0, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]])
    assert found[0, 0] == -1


def test_names_of_columns_follow_their_order() -> None:
    assert dates.column_names(["hour", "age"]) == ("age", "hour_sin", "hour_cos")


@given(
    st.lists(st.tuples(moments, moments), min_size=1, max_size=40),
    st.sets(st.sampled_from(["age", "weekday", "month", "hour"]), min_size=1),
)
@settings(deadline=None, max_examples=60)
def test_columns_against_datetime(rows: list[tuple[dt.datetime, dt.datetime]], parts: set[str]) -> None:
    found = columns([[a.isoformat(), b.isoformat()] for a, b in rows], [sorted(parts), ["age"]], [1, None])
    for row, (a, b) in zip(found, rows, strict=True):
        utc = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(seconds=expected(a))
        want = {
            "age": [np.float32((expected(b) - expected(a)) / 86_400)],
            "weekday": circle(utc.weekday(), 7),
            "month": circle(utc.month - 1, 12),
            "hour": circle(utc.hour, 24),
        }
        made = [value for part in dates.COLUMNS if part in parts for value in want[part]]
        made.append(np.float32((expected(b) - dates.EPOCH) / 86_400))
        assert row.tolist() == np.float32(made).tolist()


def circle(index: int, size: int) -> list[np.float32]:
    angle = 2 * np.pi * index / size
    return [np.float32(0 if abs(value) < 1e-12 else value) for value in (np.sin(angle), np.cos(angle))]


@given(st.lists(st.lists(moments.map(dt.datetime.isoformat) | st.just(""), min_size=3, max_size=3), min_size=2))
@settings(deadline=None, max_examples=30)
def test_a_row_gives_the_same_bits_alone_and_in_a_batch(rows: list[list[str]]) -> None:
    every = ["age", "weekday", "month", "hour"]
    together = columns(rows, [every] * 3, [1, 2, None])
    alone = np.concatenate([columns([row], [every] * 3, [1, 2, None]) for row in rows])
    assert together.tobytes() == alone.tobytes()


def table(*features: dict[str, object]) -> TransformConfig:
    return TransformConfig(
        dataset=Dataset.model_validate(
            {"name": "leads", "files": ["x.csv"], "label": {"column": "won"}, "features": features}
        )
    )


def test_columns_of_the_feature_table_stand_where_the_matrix_has_them() -> None:
    config = table(
        {"name": "created", "kind": "date", "parts": ["hour"]},
        {"name": "price", "kind": "numeric"},
        {"name": "seen", "kind": "date", "reference": "created", "parts": ["weekday", "age"]},
    )
    found = transformed_features(config, {})
    assert [(f.name, f.raw) for f in found] == [
        ("price", ("price",)), ("created:hour_sin", ("created",)), ("created:hour_cos", ("created",)),
        ("seen:age", ("seen", "created")), ("seen:weekday_sin", ("seen",)), ("seen:weekday_cos", ("seen",)),
    ]  # fmt: skip
    rows = dates.rows(config)
    inputs = {
        "created": tf.SparseTensor([[0, 0], [2, 0]], ["2026-01-05T06:00:00", "2026-01-06"], [3, 1]),
        "seen": tf.constant(["2026-01-04", "2026-01-04", ""]),
    }
    made = dates.encode(rows, Batch(inputs, config)).numpy()
    sunday = circle(6, 7)
    expected = [[1, 0, 1.25, *sunday], [np.nan, np.nan, np.nan, *sunday], [0, 1, *[np.nan] * 3]]
    np.testing.assert_allclose(made, np.float32(expected), atol=1e-7)


def test_a_reference_must_be_another_date() -> None:
    with pytest.raises(ValueError, match="reference names 'price', which is numeric"):
        table({"name": "price", "kind": "numeric"}, {"name": "seen", "kind": "date", "reference": "price"})


def test_journeys_refuse_dates() -> None:
    date = {"name": "seen", "kind": "date"}
    events = {"files": ["x.csv"], "lead": "lead", "time": "time", "action": "action"}
    with pytest.raises(ValueError, match="feature 'seen': features of a journey's lead know no kind 'date'"):
        JourneyDataset.model_validate({"name": "j", "events": events, "features": [date]})
    with pytest.raises(ValueError, match="feature 'seen': event features of journeys know no kind 'date'"):
        JourneyDataset.model_validate({"name": "j", "events": {**events, "features": [date]}})
