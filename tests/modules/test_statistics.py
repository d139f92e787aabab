"""Whole-file statistics equal those of TFDV's Beam transform."""

from __future__ import annotations

from modules import statistics
from modules.statistics import accumulate_file, merged_statistics

# isort: split
import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx_bsl.public import tfxio

ROWS = 3000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two gzip files of examples with missing values, a skewed category and a unique id."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(2):
        path = str(tmp_path_factory.mktemp("examples") / f"part-{number}.gz")
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for row in range(ROWS):
                feature = {"id": _bytes(f"{number}-{row}"), "label": _int(int(rng.random() < 0.2))}
                if rng.random() < 0.8:
                    feature["age"] = _float(float(rng.normal(40, 10)))
                if rng.random() < 0.9:
                    feature["source"] = _bytes("abcdefg"[min(int(rng.exponential(1.5)), 6)])
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        paths.append(path)
    return paths


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))


def _float(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def _int(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


@pytest.fixture(scope="module")
def stock(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> statistics_pb2.DatasetFeatureStatistics:
    target = str(tmp_path_factory.mktemp("stock") / "stats.pb")
    source = tfxio.TFExampleRecord(file_pattern=files)
    with beam.Pipeline(argv=["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]) as pipeline:
        _ = (
            pipeline
            | source.BeamSource(batch_size=500)
            | tfdv.GenerateStatistics(tfdv.StatsOptions())
            | tfdv.WriteStatisticsToBinaryFile(target)
        )
    return tfdv.load_stats_binary(target).datasets[0]


@pytest.fixture(scope="module")
def ours(files: list[str]) -> statistics_pb2.DatasetFeatureStatistics:
    return merged_statistics(accumulate_file(file) for file in files).datasets[0]


def by_name(table: statistics_pb2.DatasetFeatureStatistics) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    return {feature.path.step[0]: feature for feature in table.features}


def test_counts_and_missing_values_are_the_same(
    ours: statistics_pb2.DatasetFeatureStatistics, stock: statistics_pb2.DatasetFeatureStatistics
) -> None:
    assert ours.num_examples == stock.num_examples == 2 * ROWS
    mine, theirs = by_name(ours), by_name(stock)
    assert mine.keys() == theirs.keys() == {"id", "label", "age", "source"}
    for name, feature in mine.items():
        assert feature.type == theirs[name].type
        field = feature.WhichOneof("stats")
        common, expected = getattr(feature, field).common_stats, getattr(theirs[name], field).common_stats
        assert common.num_non_missing == expected.num_non_missing
        assert common.num_missing == expected.num_missing
        assert common.tot_num_values == expected.tot_num_values


def test_numbers_are_the_same(
    ours: statistics_pb2.DatasetFeatureStatistics, stock: statistics_pb2.DatasetFeatureStatistics
) -> None:
    mine, theirs = by_name(ours)["age"].num_stats, by_name(stock)["age"].num_stats
    for field in ("mean", "std_dev", "min", "max", "num_zeros"):
        assert getattr(mine, field) == pytest.approx(getattr(theirs, field), rel=1e-9)
    assert mine.median == pytest.approx(theirs.median, rel=0.02)
    total = sum(bucket.sample_count for bucket in mine.histograms[0].buckets)
    assert total == pytest.approx(mine.common_stats.num_non_missing)


def test_frequent_values_are_the_same(
    ours: statistics_pb2.DatasetFeatureStatistics, stock: statistics_pb2.DatasetFeatureStatistics
) -> None:
    mine, theirs = by_name(ours)["source"].string_stats, by_name(stock)["source"].string_stats
    assert mine.unique == theirs.unique == 7
    assert [(v.value, v.frequency) for v in mine.top_values] == [(v.value, v.frequency) for v in theirs.top_values]
    assert mine.avg_length == theirs.avg_length


def test_distinct_ids_are_counted_within_a_few_percent(ours: statistics_pb2.DatasetFeatureStatistics) -> None:
    assert by_name(ours)["id"].string_stats.unique == pytest.approx(2 * ROWS, rel=0.05)


def test_long_examples_are_read_in_smaller_batches_with_the_same_result(
    files: list[str], ours: statistics_pb2.DatasetFeatureStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BATCH_BYTES", 20_000)
    sizes: list[int] = []
    add = statistics.StatisticsCombiner.add

    def spy(self, accumulators, batch):
        sizes.append(batch.num_rows)
        return add(self, accumulators, batch)

    monkeypatch.setattr(statistics.StatisticsCombiner, "add", spy)
    small = merged_statistics(accumulate_file(file) for file in files).datasets[0]
    # An example of this file takes 40 to 100 bytes.
    assert 200 <= max(sizes) <= 500 and sum(sizes) == 2 * ROWS
    mine, theirs = by_name(small), by_name(ours)
    assert mine["source"].string_stats.rank_histogram == theirs["source"].string_stats.rank_histogram
    assert mine["age"].num_stats.mean == pytest.approx(theirs["age"].num_stats.mean, rel=1e-9)


def test_no_file_gives_statistics_of_no_rows() -> None:
    assert merged_statistics([]).datasets[0].num_examples == 0
