from __future__ import annotations

import re

import pytest

from modules.columns import columns
from modules.dataset import Dataset, Label
from modules.features import Feature, FeatureTable, Kind
from modules.ingest.layout import wanted_columns
from modules.journeys.dataset import EventTable, JourneyDataset


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "text", "scaling": "log"}, "scaling belongs to numeric and ratio features only, and 'x' is text"),
        ({"kind": "categorical", "clip": [0, 0.9]}, "clip belongs to numeric and ratio"),
        ({"kind": "categorical", "fill": "mean"}, "fill belongs to numeric and ratio"),
        ({"kind": "numeric", "encoding": "hash"}, "encoding belongs to categorical and cross"),
        ({"kind": "numeric", "vocabulary_size": 5}, "vocabulary_size belongs to categorical and text and cross"),
        ({"kind": "categorical", "ngrams": 2}, "ngrams belongs to text features only"),
        ({"kind": "categorical", "parts": ["hour"]}, "parts belongs to date features only"),
        ({"kind": "numeric", "of": ["a", "b"]}, "of belongs to cross and ratio features only"),
        ({"kind": "ratio", "of": ["a", "b"], "column": "c"}, "column belongs to numeric and categorical and text and"),
        ({"kind": "text", "monotone": 1}, "monotone belongs to"),
        ({"kind": "numeric", "scaling": "z_score", "buckets": 4}, "buckets stand instead of scaling 'z_score'"),
        ({"kind": "numeric", "buckets": [3, 3]}, "rising boundaries like [18, 30, 65], got [3.0, 3.0]"),
        ({"kind": "numeric", "buckets": []}, "rising boundaries"),
        ({"kind": "numeric", "buckets": 1}, "greater than or equal to 2"),
        ({"kind": "numeric", "clip": [0.9, 0.1]}, "two rising shares from 0 to 1"),
        ({"kind": "numeric", "clip": [0.1, 1.1]}, "two rising shares from 0 to 1"),
        ({"kind": "numeric", "fill": "mode"}, "'native', 'mean' or 'median'"),
        ({"kind": "numeric", "fill": float("inf")}, "finite number"),
        ({"kind": "categorical", "hash_buckets": 9}, "hash_buckets has no meaning with the model's default encoding"),
        ({"kind": "categorical", "encoding": "hash", "min_count": 2}, "min_count has no meaning with encoding 'hash'"),
        ({"kind": "categorical", "encoding": "hash", "vocabulary_size": 2}, "vocabulary_size has no meaning"),
        ({"kind": "categorical", "encoding": "target", "oov_buckets": 2}, "oov_buckets has no meaning"),
        ({"kind": "categorical", "encoding": "one_hot", "smoothing": 2}, "smoothing has no meaning"),
        ({"kind": "categorical", "monotone": 1}, "monotone has no meaning with the model's default encoding"),
        ({"kind": "cross"}, "a cross needs `of` with the names of two categorical features"),
        ({"kind": "ratio", "of": ["a"]}, "a ratio needs `of` with the names of two numeric features"),
        ({"kind": "date", "parts": ["age", "age"]}, "names a part twice"),
        ({"kind": "text", "ngrams": 4}, "less than or equal to 3"),
    ],
)
def test_an_option_without_meaning_is_refused(row, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Feature(name="x", **row)


NUMBERS = (Feature(name="n", kind=Kind.NUMERIC), Feature(name="d", kind=Kind.NUMERIC, column="D"))
WORDS = (Feature(name="a", kind=Kind.CATEGORICAL), Feature(name="b", kind=Kind.CATEGORICAL))
CROSS = Feature(name="ab", kind=Kind.CROSS, of=("a", "b"))
RATIO = Feature(name="nd", kind=Kind.RATIO, of=("n", "d"), monotone=1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Feature(name="x", kind="cross", of=("a", "n")), "cross 'x': of names 'n', which is numeric; categorical"),
        (
            Feature(name="x", kind="ratio", of=("n", "z")),
            "'z', which is not in the feature table; numeric",
        ),
        (Feature(name="x", kind="ratio", of=("n", "nd")), "'nd', which is ratio"),
        (Feature(name="x", kind="date", reference="a"), "date 'x': reference names 'a', which is categorical; date"),
        (Feature(name="x", kind="date", reference="x"), "reference names the feature itself"),
        (Feature(name="n", kind="text"), "feature 'n' is listed twice"),
    ],
)
def test_what_a_row_names_must_be_there_and_of_the_right_kind(row, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FeatureTable(rows=(*NUMBERS, *WORDS, CROSS, RATIO, row))


def test_a_table_of_derived_rows_alone_is_refused():
    with pytest.raises(ValueError, match="of names 'a', which is not in the feature table"):
        FeatureTable(rows=(CROSS,))


def dataset(*rows: Feature) -> Dataset:
    return Dataset(name="toy", files=("t.csv",), label=Label(column="y"), features=rows)


def test_derived_rows_are_no_inputs():
    found = dataset(CROSS, *NUMBERS, *WORDS, RATIO)
    assert found.table.names == ("n", "d", "a", "b") and found.encoded.names == ("ab", "n", "d", "a", "b", "nd")
    assert found.encoded.derived == (CROSS, RATIO) and found.encoded.raw == found.table.rows
    assert [c.name for c in columns(found)] == ["n", "d", "a", "b", "y", "row_id"]
    assert "ab" not in wanted_columns(found) and "D" in wanted_columns(found)


def test_raw_features_behind_a_row():
    assert NUMBERS[1].raw == ("d",) and CROSS.raw == ("a", "b") and RATIO.raw == ("n", "d")
    assert Feature(name="r", kind="ratio", of=("n", "n")).raw == ("n",)
    assert Feature(name="since", kind="date", reference="seen").raw == ("since", "seen")


def test_rows_survive_json_and_say_which_options_were_set():
    row = Feature(name="x", kind="numeric", buckets=(1, 2.5), clip=(0.01, 0.99), fill=-1, monotone=-1)
    assert Feature.model_validate_json(row.model_dump_json()) == row
    assert row.options() == {"buckets": (1.0, 2.5), "clip": (0.01, 0.99), "fill": -1.0, "monotone": -1}


def journeys(events: tuple[Feature, ...] = (), lead: tuple[Feature, ...] = ()) -> JourneyDataset:
    table = EventTable(files=("e.csv",), lead="lead", time="at", action="action", features=events)
    return JourneyDataset(name="toy", events=table, features=lead)


@pytest.mark.parametrize(
    ("events", "lead", "message"),
    [
        ((), (*WORDS, CROSS), "features of a journey's lead know no kind 'cross', only numeric, categorical"),
        ((Feature(name="x", kind="date"),), (), "event features of journeys know no kind 'date'"),
        ((), (Feature(name="x", kind="categorical", encoding="hash"),), "do not know the option 'encoding'; remove it"),
        ((), (Feature(name="x", kind="text", ngrams=2),), "do not know the option 'ngrams'"),
    ],
)
def test_journeys_refuse_what_their_transform_does_not_know(events, lead, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        journeys(events, lead)
