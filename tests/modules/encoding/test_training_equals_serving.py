"""What the booster saw in training is what it sees in a request, bit for bit, whatever the options and the batch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf
import xgboost as xgb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2

sys.path.insert(0, str(Path(__file__).parents[1] / "lead_scoring"))

from modules.encoding.columns import FEATURES, Encoding
from modules.features import Feature, Kind
from modules.lead_scoring import calibration
from modules.lead_scoring.booster import booster_names
from modules.lead_scoring.export import LeadScoringModel, calibrate_tensor
from modules.lead_scoring.settings import CalibrationSettings, LeadScoringSettings
from modules.preprocessing import preprocessing_fn
from modules.saved_model import save
from modules.transform_batches import TransformedBatches, parse_raw
from modules.transform_config import TransformConfig
from modules.transform_features import transformed_features
from modules.transform_graph import write_graph
from tests.modules.encoding.encoded import config_of, learn_from, words_of
from tests.modules.sessions import GraphSession

ROWS = 150
CHUNKS = (0, 1, 1, 1, 2, 3, 7, 64, ROWS)
SPECIAL = np.array([0.0, -0.0, 3.4e38, -3.4e38, 1e-38, 1e-42, np.inf, -np.inf, np.nan, 1.0, 2.0], np.float32)
CATEGORIES = np.array(["a", "b", "c", "ü", "a b", "A", "\x1f", "", "rare", "?"], object)
WORDS = np.array(["loan", "Loan", "price!", "it's", "ÄRGER", "ﬁne", "42", "日本", "-", "a.b"], object)


def numbers(rng: np.random.Generator, rows: int) -> np.ndarray:
    wide, few = rng.lognormal(0, 2, rows) * rng.choice([-1, 1], rows), rng.integers(-3, 4, rows)
    values = np.where(rng.random(rows) < 0.6, wide, few).astype(np.float32)
    return np.where(rng.random(rows) < 0.2, rng.choice(SPECIAL, rows), values)


def draw(config: TransformConfig, rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Random rows; missing is NaN or ''."""
    columns: dict[str, np.ndarray] = {}
    for feature in config.dataset.table:
        if feature.kind is Kind.NUMERIC:
            columns[feature.name] = numbers(rng, rows)
        elif feature.kind is Kind.CATEGORICAL:
            columns[feature.name] = rng.choice(CATEGORIES, rows)
        elif feature.kind is Kind.TEXT:
            texts = [" ".join(rng.choice(WORDS, rng.integers(0, 6))) for _ in range(rows)]
            columns[feature.name] = np.array(texts, object)
        else:
            days = (np.datetime64("2019-12-30") + rng.integers(0, 900, rows)).astype(str).astype(object)
            columns[feature.name] = np.where(rng.random(rows) < 0.2, rng.choice(["", "2020-02-30", "now"], rows), days)
    return columns


def records(columns: dict[str, np.ndarray], labels: np.ndarray) -> list[bytes]:
    """tf.Examples in which a missing value is absent, without a value, or NaN or ''."""
    found = []
    for row in range(len(labels)):
        example = tf.train.Example()
        example.features.feature["converted"].int64_list.value.append(int(labels[row]))
        example.features.feature["lead"].bytes_list.value.append(b"L%d" % row)
        for i, (name, values) in enumerate(columns.items()):
            value, number = values[row], values.dtype != object
            field = "float_list" if number else "bytes_list"
            how = (row + i) % 3 if (np.isnan(value) if number else value == "") else 2
            if how == 1:
                getattr(example.features.feature[name], field).SetInParent()
            elif how == 2:
                getattr(example.features.feature[name], field).value.append(value if number else value.encode())
        found.append(example.SerializeToString())
    return found


class Shown(LeadScoringModel):
    """The exported model with signatures that show what its booster sees, in place of its own."""

    def _make_signatures(self) -> dict[str, Any]:
        columns = {
            f.name: tf.TensorSpec([None], tf.float32 if f.kind is Kind.NUMERIC else tf.string, name=f.name)
            for f in self._table
        }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
        def of_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            raw = parse_raw(examples, self._spec)
            return {"matrix": self.matrix(raw), **self.score_raw(raw)}

        @tf.function(input_signature=[columns], autograph=False)
        def of_columns(columns: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {"matrix": self.matrix(self.raw_columns(columns))}

        return {"of_examples": of_examples, "of_columns": of_columns}


class Served:
    """A table of features from training to a SavedModel that shows what its booster sees."""

    def __init__(self, config: TransformConfig, seed: int, folder: Path) -> None:
        rng = np.random.default_rng(seed)
        train = draw(config, rng, 300)
        ids = {"lead": [f"T{i}" for i in range(300)], "converted": rng.integers(0, 2, 300)}
        learned = learn_from(config, {**train, **ids}, 2, str(folder / "learned"))
        custom_config = {**config.to_custom_config(), **learned}
        self.output = write_graph(preprocessing_fn, custom_config, self._schema(config), folder / "graph")
        self.columns = transformed_features(config, words_of(config, learned))
        self.table = config.dataset.table
        self.raw = draw(config, rng, ROWS)
        self.labels = rng.integers(0, 2, ROWS)
        self.records = np.array(records(self.raw, self.labels), object)
        for part in range(2):
            with tf.io.TFRecordWriter(str(folder / f"data-{part}")) as out:
                for record in self.records[part * 70 : 70 + part * ROWS]:
                    out.write(record)
        batches = TransformedBatches([str(folder / "data-*")], self.output, [FEATURES], rows=64)
        whole = np.concatenate([batch[FEATURES] for batch in batches])
        self.matrix = whole[:, [c.position for c in self.columns]]
        self._export(folder / "model")
        self.session = GraphSession(folder / "model")

    @staticmethod
    def _schema(config: TransformConfig) -> schema_pb2.Schema:
        schema = schema_pb2.Schema()
        for feature in config.dataset.table:
            kind = schema_pb2.FLOAT if feature.kind is Kind.NUMERIC else schema_pb2.BYTES
            schema.feature.add(name=feature.name, type=kind)
        for name, kind in (("lead", schema_pb2.BYTES), ("converted", schema_pb2.INT)):
            found = schema.feature.add(name=name, type=kind)
            found.presence.min_fraction = 1
            found.shape.SetInParent()
        return schema

    def _export(self, path: Path) -> None:
        data = xgb.DMatrix(self.matrix, self.labels, feature_names=booster_names(self.columns))
        self.booster = xgb.train({"max_depth": 4, "objective": "binary:logistic", "nthread": 1}, data, 4)
        self.margins = self.booster.predict(data, output_margin=True)
        curve = calibration.fit(self.margins, self.labels.astype(np.float32), CalibrationSettings(min_bin_rows=10))
        model = Shown(self.output, self.booster, curve, self.table, self.columns)
        save(model, model.serving_functions, path, {})
        self.scores = {k: v.numpy() for k, v in calibrate_tensor(tf.constant(self.margins), curve).items()}

    def check(self) -> None:
        """Every chunk of rows, by both ways in, against what training saw."""
        start = 0
        for size in CHUNKS:
            chunk = slice(start, start + size)
            start = (start + size) % 90
            seen = self.matrix[chunk]
            examples = self.session("of_examples", examples=self.records[chunk])["matrix"]
            columns = {name: values[chunk] for name, values in self.raw.items()}
            assert_same_bits(examples, seen, self.columns)
            assert_same_bits(self.session("of_columns", **columns)["matrix"], seen, self.columns)
        answers = self.session("of_examples", examples=self.records)
        for name, expected in self.scores.items():
            np.testing.assert_allclose(answers[name], expected, rtol=1e-5, atol=1e-5)


def assert_same_bits(found: np.ndarray, expected: np.ndarray, columns: Any) -> None:
    assert found.shape == expected.shape and found.dtype == expected.dtype == np.float32
    same = (found.view(np.int32) == expected.view(np.int32)) | (np.isnan(found) & np.isnan(expected))
    if not same.all():
        row, place = np.argwhere(~same)[0]
        raise AssertionError(f"{columns[place]}: {found[row, place]!r} served, {expected[row, place]!r} in training")
    assert not np.isinf(found).any()


EVERY_OPTION = (
    Feature(name="plain", kind="numeric"),
    Feature(name="z", kind="numeric", scaling="z_score", clip=(0.02, 0.98), fill="mean"),
    Feature(name="unit", kind="numeric", scaling="min_max", fill=-1.5),
    Feature(name="place", kind="numeric", scaling="quantile"),
    Feature(name="log", kind="numeric", scaling="log", clip=(0, 0.9), fill="median"),
    Feature(name="six", kind="numeric", buckets=6, monotone=1),
    Feature(name="edges", kind="numeric", buckets=(-1, 0, 2.5), fill=0),
    Feature(name="index", kind="categorical", vocabulary_size=3, oov_buckets=4),
    Feature(name="hot", kind="categorical", encoding="one_hot", min_count=3, oov_buckets=2),
    Feature(name="hash", kind="categorical", encoding="hash", hash_buckets=5),
    Feature(name="rate", kind="categorical", encoding="target", smoothing=5),
    Feature(name="text", kind="text", ngrams=3, weighting="tfidf", vocabulary_size=30),
    Feature(name="note", kind="text", ngrams=2, weighting="count", vocabulary_size=10),
    Feature(name="since", kind="date", parts=("age", "weekday", "month", "hour"), reference="until"),
    Feature(name="until", kind="date"),
    Feature(name="pair", kind="cross", of=("index", "hot")),
    Feature(name="pairs", kind="cross", of=("hash", "rate"), encoding="target"),
    Feature(name="share", kind="ratio", of=("plain", "unit"), scaling="quantile", clip=(0.1, 0.9), fill="mean"),
    Feature(name="part", kind="ratio", of=("z", "z"), buckets=2),
)

NUMBER = {
    "scaling": st.sampled_from(["none", "z_score", "min_max", "quantile", "log"]),
    "clip": st.sampled_from([None, (0, 1), (0.01, 0.99), (0.3, 0.6)]),
    "fill": st.sampled_from(["native", "mean", "median", 0.0, -7.5]),
    "buckets": st.sampled_from([None, None, None, 2, 9, (0.0,), (-2.0, 1.0)]),
}
CATEGORY = {
    "encoding": st.sampled_from([None, "index", "one_hot", "hash", "target"]),
    "oov_buckets": st.sampled_from([1, 2, 5]),
    "hash_buckets": st.sampled_from([2, 64]),
    "vocabulary_size": st.sampled_from([None, 1, 4]),
    "min_count": st.sampled_from([1, 5]),
}
TEXT = {
    "ngrams": st.sampled_from([1, 2, 3]),
    "weighting": st.sampled_from(["presence", "count", "tfidf"]),
    "vocabulary_size": st.sampled_from([1, 7, 40]),
}
SENSELESS = {"hash": {"oov_buckets", "vocabulary_size", "min_count"}, "target": {"oov_buckets", "hash_buckets"}}


@st.composite
def tables(draw: Any) -> tuple[Feature, ...]:
    """Random options for every kind of feature."""

    def of(name: str, kind: Kind, options: dict[str, Any], **more: Any) -> Feature:
        chosen = {option: draw(values) for option, values in options.items()}
        if chosen.get("buckets") is not None:
            chosen.pop("scaling")
        for option in SENSELESS.get(chosen.get("encoding") or "", {"hash_buckets"}):
            chosen.pop(option, None)
        return Feature(name=name, kind=kind, **chosen, **more)

    raw = [of(f"n{i}", Kind.NUMERIC, NUMBER) for i in range(4)]
    raw += [of(f"c{i}", Kind.CATEGORICAL, CATEGORY) for i in range(3)]
    raw += [of("t0", Kind.TEXT, TEXT), Feature(name="d0", kind=Kind.DATE)]
    derived = [of("r0", Kind.RATIO, NUMBER, of=("n0", "n1")), of("x0", Kind.CROSS, CATEGORY, of=("c0", "c1"))]
    return tuple(draw(st.permutations([*raw, *derived])))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    def fresh() -> Iterator[Path]:
        while True:
            yield tmp_path_factory.mktemp("served")

    return fresh()


def test_every_option(folders):
    served = Served(config_of(*EVERY_OPTION), 0, next(folders))
    assert {c.encoding for c in served.columns} == set(get_args(Encoding))
    served.check()


@pytest.mark.slow
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tables(), st.sampled_from(["index", "one_hot"]), st.integers(0, 1000))
def test_random_options(folders, rows, categorical, seed):
    model = LeadScoringSettings(categorical=categorical, max_one_hot=5, text_words=20)
    Served(config_of(*rows, model=model), seed, next(folders)).check()
