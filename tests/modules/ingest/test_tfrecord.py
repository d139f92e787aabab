import gzip
from itertools import pairwise
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from modules.ingest.tfrecord import GzipTFRecordFile, make_piece
from modules.ingest.wire import framed_examples

NUMBER = st.none() | st.floats(width=32, allow_nan=False)
INTEGER = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 40_000)
BYTES = st.none() | st.binary(max_size=300)
# The stock encoder ends a name at its first NUL.
LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=150), min_size=3, max_size=3, unique=True)


def make_batch(names, rows) -> pa.RecordBatch:
    kinds = (pa.float32(), pa.int64(), pa.large_binary())
    columns = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    return pa.RecordBatch.from_arrays(columns, names)


def in_lists(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What the stock encoder takes: a list of one value, or a null list."""
    lists = [
        pa.array([None if v is None else [v] for v in column.to_pylist()], pa.large_list(column.type))
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(lists, batch.schema.names)


def features_of(record: bytes) -> dict:
    features = tf.train.Example.FromString(record).features.feature
    return {name: str(feature) for name, feature in features.items() if feature.WhichOneof("kind")}


def read(path: Path, compression: str = "") -> list[bytes]:
    return list(tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator())


@settings(max_examples=100, deadline=None)
@given(NAMES, st.lists(st.tuples(NUMBER, INTEGER, BYTES), max_size=12), st.integers(0, 3))
def test_examples_are_those_of_the_stock_encoder(tmp_path_factory, names, rows, skip):
    batch = make_batch(names, rows).slice(skip)
    framed, offsets = framed_examples(batch)
    path = tmp_path_factory.mktemp("records") / "x"
    path.write_bytes(framed)
    records = read(path)
    expected = RecordBatchToExamplesEncoder().encode(in_lists(batch)) if batch.num_rows else []
    assert [features_of(r) for r in records] == [features_of(r) for r in expected]
    assert np.diff(offsets).tolist() == [len(r) + 16 for r in records]


FLOATS = st.floats(width=32)
LISTS = st.tuples(
    st.none() | st.lists(FLOATS, max_size=5),
    st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.none() | st.lists(st.binary(max_size=200), max_size=5),
)


def list_batch(names, rows) -> pa.RecordBatch:
    kinds = (pa.float32(), pa.int64(), pa.large_binary())
    columns = [pa.array([row[i] for row in rows], pa.large_list(kind)) for i, kind in enumerate(kinds)]
    return pa.RecordBatch.from_arrays(columns, names)


@settings(max_examples=100, deadline=None)
@given(NAMES, st.lists(LISTS, max_size=12), st.integers(0, 3))
def test_examples_with_lists_are_those_of_the_stock_encoder(names, rows, skip):
    batch = list_batch(names, rows).slice(skip)
    framed, offsets = framed_examples(batch)
    records = [bytes(framed[a + 12 : b - 4]) for a, b in pairwise(offsets)]
    expected = RecordBatchToExamplesEncoder().encode(batch) if batch.num_rows else []
    assert [features_of(r) for r in records] == [features_of(r) for r in expected]


def test_lists_may_show_the_same_values():
    values = pa.array([b"a", b"", b"ccc" * 100], pa.large_binary())
    begin, size = pa.array([0, 1, 0, 2, 3], pa.int64()), pa.array([3, 2, 1, 0, 0], pa.int64())
    views = pa.LargeListViewArray.from_arrays(begin, size, values)
    lists = pa.array([values.to_pylist(), values.to_pylist()[1:], [b"a"], [], []], pa.large_list(pa.large_binary()))
    shown, copied = (framed_examples(pa.RecordBatch.from_arrays([c], ["x"]))[0] for c in (views, lists))
    assert bytes(shown) == bytes(copied)


def test_an_empty_list_is_a_feature_without_values_and_no_list_is_no_feature():
    framed, offsets = framed_examples(list_batch(["a", "b", "c"], [([], [], []), (None, None, None)]))
    first, second = (bytes(framed[a + 12 : b - 4]) for a, b in pairwise(offsets))
    kinds = {k: v.WhichOneof("kind") for k, v in tf.train.Example.FromString(first).features.feature.items()}
    assert kinds == {"a": "float_list", "b": "int64_list", "c": "bytes_list"}
    assert tf.train.Example.FromString(second).features.feature == {}


def test_long_lists_are_copied_piece_by_piece():
    values = pa.array(np.arange(100_000), pa.int64())
    begin = np.arange(0, 99_000, 1000)
    views = pa.LargeListViewArray.from_arrays(pa.array(begin), pa.array(np.full(len(begin), 2000)), values)
    framed, offsets = framed_examples(pa.RecordBatch.from_arrays([views], ["x"]))
    for first, (a, b) in zip(begin.tolist(), pairwise(offsets), strict=True):
        example = tf.train.Example.FromString(bytes(framed[a + 12 : b - 4]))
        assert example.features.feature["x"].int64_list.value == list(range(first, min(first + 2000, 100_000)))


def test_a_null_inside_a_list_is_refused():
    with pytest.raises(ValueError, match="column 'a' holds a null inside a list"):
        framed_examples(pa.RecordBatch.from_arrays([pa.array([[1, None]], pa.large_list(pa.int64()))], ["a"]))


def test_a_null_is_an_absent_feature():
    framed, offsets = framed_examples(make_batch(["a", "b", "c"], [(None, None, None), (1.5, -7, b"")]))
    first, second = (bytes(framed[a + 12 : b - 4]) for a, b in pairwise(offsets))
    assert tf.train.Example.FromString(first).features.feature == {}
    features = tf.train.Example.FromString(second).features.feature
    assert features["a"].float_list.value == [1.5]
    assert features["b"].int64_list.value == [-7]
    assert features["c"].bytes_list.value == [b""]


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="column 'a' is double, expected float, int64 or large_binary"):
        framed_examples(pa.RecordBatch.from_arrays([pa.array([1.0])], ["a"]))
    with pytest.raises(TypeError, match="column 'a' is large_list<item: double>, expected"):
        framed_examples(pa.RecordBatch.from_arrays([pa.array([[1.0]], pa.large_list(pa.float64()))], ["a"]))


BATCHES = [make_batch(["a", "b", "c"], [(float(i), i, b"x" * i) for i in range(n)]) for n in (1000, 1, 3)]


def write(path: Path) -> bytes:
    """Writes all batches; returns their frames."""
    frames = [framed_examples(batch)[0] for batch in BATCHES]
    with GzipTFRecordFile(str(path)) as file:
        for framed in frames:
            file.write(make_piece(framed))
    return b"".join(frames)


def test_tensorflow_beam_and_gzip_read_the_file(tmp_path):
    frames = write(tmp_path / "x.gz")
    assert gzip.decompress((tmp_path / "x.gz").read_bytes()) == frames
    records = read(tmp_path / "x.gz", "GZIP")
    expected = [features_of(r) for batch in BATCHES for r in RecordBatchToExamplesEncoder().encode(in_lists(batch))]
    assert [features_of(r) for r in records] == expected
    with beam.Pipeline() as pipeline:
        assert_that(pipeline | beam.io.ReadFromTFRecord(str(tmp_path / "x.gz")), equal_to(records))


def test_the_same_records_make_the_same_bytes(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_without_records_is_readable(tmp_path):
    GzipTFRecordFile(str(tmp_path / "x.gz")).close()
    assert read(tmp_path / "x.gz", "GZIP") == []
