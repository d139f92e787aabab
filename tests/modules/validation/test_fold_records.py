from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2

from modules.errors import ConfigError
from modules.validation.folds import CALIBRATION, HELD_OUT, LEFT_OUT, TRAIN, VALIDATION
from modules.validation.records import KeyColumns, scan, split

SCHEMA = schema_pb2.Schema()
for name, kind in (("id", "BYTES"), ("y", "INT"), ("house", "BYTES"), ("zip", "INT"), ("lat", "FLOAT"), ("at", "INT")):
    SCHEMA.feature.add(name=name, type=getattr(schema_pb2, kind))


def record(i: int, **columns) -> bytes:
    example = tf.train.Example()
    example.features.feature["id"].bytes_list.value.append(b"L%d" % i)
    for name, value in columns.items():
        if isinstance(value, bytes):
            example.features.feature[name].bytes_list.value.append(value)
        elif isinstance(value, float):
            example.features.feature[name].float_list.value.append(value)
        else:
            example.features.feature[name].int64_list.value.append(value)
    return example.SerializeToString()


def write(path, records) -> str:
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as out:
        for one in records:
            out.write(one)
    return str(path)


def read(files) -> list[bytes]:
    return [r.numpy() for f in files for r in tf.data.TFRecordDataset(f)]


def test_files_hold_the_records_of_their_part_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    records = [record(i, y=int(i % 2), house=rng.bytes(int(rng.integers(0, 300)))) for i in range(9_000)]
    files = [write(tmp_path / "a.gz", records[:8_300]), write(tmp_path / "b", records[8_300:])]
    found = scan(files, SCHEMA, KeyColumns("id", label="y"))
    assert found.keys.labels.tolist() == [0, 1] * 4_500
    assert len(np.unique(found.keys.hashes)) == 9_000
    parts = rng.integers(-1, 4, (9_000, 3)).astype(np.int8)
    for fold, of_part in enumerate(split(found, parts, tmp_path / "folds")):
        assert list(of_part) == ["train", "validation", "calibration", "held_out"]
        for number, part in enumerate(of_part):
            expected = {records[i] for i in np.flatnonzero(parts[:, fold] == number)}
            got = read(of_part[part])
            assert len(got) == len(expected)
            assert set(got) == expected


def test_every_record_is_written_once_however_many_folds_read_it(tmp_path):
    records = [record(i) for i in range(100)]
    found = scan([write(tmp_path / "a", records)], SCHEMA, KeyColumns("id"))
    fold = np.arange(100) % 5
    parts = np.where(fold[:, None] == np.arange(5), HELD_OUT, TRAIN).astype(np.int8)
    of_fold = split(found, parts, tmp_path / "folds")
    written = sorted((tmp_path / "folds").iterdir())
    assert len(written) == 5
    assert sum(len(read([str(path)])) for path in written) == 100
    assert [len(files["train"]) for files in of_fold] == [4] * 5
    assert of_fold[0]["validation"] == []


def test_rows_left_out_everywhere_are_not_written(tmp_path):
    found = scan([write(tmp_path / "a", [record(i) for i in range(6)])], SCHEMA, KeyColumns("id"))
    parts = np.array([[TRAIN], [VALIDATION], [CALIBRATION], [HELD_OUT], [LEFT_OUT], [LEFT_OUT]], np.int8)
    (of_part,) = split(found, parts, tmp_path / "folds")
    assert [read(files) for files in of_part.values()] == [[record(i)] for i in range(4)]
    assert sum(path.stat().st_size > 0 for path in (tmp_path / "folds").iterdir()) == 4


@pytest.mark.parametrize(("column", "values"), [("house", [b"x", b"y"]), ("zip", [7, -3]), ("lat", [0.5, 2.0])])
def test_equal_values_are_one_group_and_rows_without_one_stand_alone(tmp_path, column, values):
    records = [record(i, **({} if i % 3 == 2 else {column: values[i % 3]})) for i in range(9)]
    found = scan([write(tmp_path / "a", records)], SCHEMA, KeyColumns("id", group=column))
    groups = found.keys.groups
    assert len({*groups[0::3]}) == len({*groups[1::3]}) == 1
    assert len({*groups[2::3]}) == 3
    assert len({*groups.tolist()}) == 5


def test_times_are_read_as_they_are(tmp_path):
    found = scan(
        [write(tmp_path / "a", [record(i, at=10**9 + i) for i in range(3)])], SCHEMA, KeyColumns("id", time="at")
    )
    assert found.keys.times.tolist() == [10**9, 10**9 + 1, 10**9 + 2]


def test_no_rows_are_no_files(tmp_path):
    found = scan([write(tmp_path / "a.gz", [])], SCHEMA, KeyColumns("id", label="y", group="zip", time="at"))
    assert len(found.keys) == 0
    assert (
        split(found, np.zeros((0, 2), np.int8), tmp_path / "folds")
        == [{"train": [], "validation": [], "calibration": [], "held_out": []}] * 2
    )


def test_a_column_that_the_examples_lack_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"group column 'household'.*at, house, id"):
        scan([write(tmp_path / "a", [])], SCHEMA, KeyColumns("id", group="household"))
