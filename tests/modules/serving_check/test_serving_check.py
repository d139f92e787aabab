"""The serving check on small SavedModels: sound ones, and ones with one fault each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import toy_model
from tensorflow_serving.apis import prediction_log_pb2

from modules.serving_check import checks
from modules.serving_check.requests import build_feeds, feature_names, read_records, without_features
from modules.serving_check.runner import ServingCheck
from modules.serving_check.settings import ServingCheckSettings
from modules.serving_check.signatures import Signature, Tensor, read_signatures
from modules.serving_check.warmup import write_warmup

SETTINGS = ServingCheckSettings(requests=10, p99_ms=5000, ignored_features=("label", "id"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model.save(tmp_path_factory.mktemp("models") / "sound")


def failures(folder: Path, settings: ServingCheckSettings = SETTINGS) -> dict[str, str]:
    return ServingCheck(folder, toy_model.records(), settings).run().failed


def faulty(folder: Path, default=None, columns=toy_model.probability) -> dict[str, str]:
    return failures(toy_model.save(folder, toy_model.ToyModel(default, columns)))


def test_a_sound_model_passes_every_check(sound: Path) -> None:
    check = ServingCheck(sound, toy_model.records(), SETTINGS).run()
    result = check.report()
    assert check.ok and result["ok"] and not result["failed"]
    for name in (
        "load in a session",
        "equal in TensorFlow's C library",
        "equal to what the Evaluator sees",
        "serving_default equals predict_columns",
        "classify:scores[1] equals serving_default:probability",
        "does not read label, id",
        "latency is within the budget",
    ):
        assert name in result["passed"]
    latency = result["latency_ms"]["serving_default"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]


def test_warmup_requests_of_every_signature_are_what_the_server_logs(sound: Path, tmp_path: Path) -> None:
    warmup = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    rows = without_features(toy_model.records(), SETTINGS.ignored_features)
    signatures = read_signatures(sound).values()
    assert write_warmup(warmup, "leads", signatures, rows, SETTINGS.batch_sizes, feature_names(rows)) == 12
    logs = [
        prediction_log_pb2.PredictionLog.FromString(r) for r in tf.data.TFRecordDataset(str(warmup)).as_numpy_iterator()
    ]
    # Four signatures, batches of 1, 7 and 64.
    assert len(logs) == 12
    assert [log.WhichOneof("log_type") for log in logs[::3]] == [
        "classify_log", "predict_log", "regress_log", "predict_log",
    ]  # fmt: skip
    ages = tf.make_ndarray(logs[3].predict_log.request.inputs["age"])
    assert logs[3].predict_log.request.model_spec.name == "leads"
    assert ages.dtype == np.float32 and ages.shape == (1,) and np.isnan(ages[0])
    (example,) = logs[0].classify_log.request.input.example_list.examples
    assert set(example.features.feature) == {"state"}, "label and id stay out of what is stored with the model"


def test_an_output_out_of_range_fails(tmp_path: Path) -> None:
    def default(row):
        return {**toy_model.outputs(toy_model.probability(row["age"], row["state"])), "score": row["age"] * 0 + 101}

    found = faulty(tmp_path, default)
    assert found["serving_default is in range"] == "score: expected 0 to 100, received 101 to 101"


def test_an_answer_that_is_not_finite_fails(tmp_path: Path) -> None:
    found = faulty(tmp_path, lambda row: toy_model.outputs(tf.sigmoid(row["age"])))
    assert found["serving_default is finite"] == "probability: 1 of 1 values are not finite"
    assert "an example without features has a finite answer in range" in found


def test_an_interval_that_does_not_hold_the_probability_fails(tmp_path: Path) -> None:
    def default(row):
        answer = toy_model.outputs(toy_model.probability(row["age"], row["state"]))
        return {**answer, "probability_low": answer["probability_high"], "probability_high": answer["probability_low"]}

    found = faulty(tmp_path, default)
    assert "serving_default has probability_low <= probability <= probability_high" in found


def test_signatures_that_disagree_fail(tmp_path: Path) -> None:
    found = faulty(tmp_path, columns=lambda age, state: toy_model.probability(age, state) * 0.999)
    assert found["serving_default equals predict_columns"].startswith("probability: differs by ")
    assert list(found) == ["serving_default equals predict_columns"]


def test_a_model_that_reads_the_label_fails(tmp_path: Path) -> None:
    found = faulty(tmp_path, lambda row: toy_model.outputs(0.5 + 0.4 * tf.cast(row["label"], tf.float32)))
    assert found["does not read label, id"].startswith("probability: differs by 0.4")


def test_an_answer_that_depends_on_the_batch_fails(tmp_path: Path) -> None:
    def default(row):
        p = toy_model.probability(row["age"], row["state"])
        return toy_model.outputs(p / tf.cast(tf.size(p), tf.float32))

    assert "serving_default does not depend on the batch" in faulty(tmp_path, default)


def test_a_model_that_only_tf_saved_model_load_can_load_fails(tmp_path: Path) -> None:
    """A variable that no session loader finds, as Keras 3 leaves them when a module holds a Keras model."""
    toy_model.save(tmp_path / "model")
    for file in (tmp_path / "model" / "variables").iterdir():
        file.unlink()
    found = failures(tmp_path / "model")
    assert "load in a session" in found


def test_a_folder_without_a_model_and_a_missing_default_signature_fail(tmp_path: Path) -> None:
    assert failures(tmp_path) == {
        "signatures": f"ValueError: {tmp_path}/saved_model.pb: no such file; expected a SavedModel"
    }
    model = toy_model.ToyModel()
    tf.saved_model.save(model, str(tmp_path / "m"), signatures={"regress": model.regress})
    assert failures(tmp_path / "m") == {"signatures": "expected a signature 'serving_default', received ['regress']"}


def test_a_slow_model_fails_and_says_how_slow(sound: Path) -> None:
    found = failures(sound, SETTINGS.model_copy(update={"p99_ms": 1e-6}))
    assert list(found) == ["latency is within the budget"]
    assert found["latency is within the budget"].endswith("at most 1e-06 ms allowed")


def test_method_names_and_shapes_are_read_from_the_file(sound: Path) -> None:
    signatures = read_signatures(sound)
    assert {n: s.method.rpartition("/")[2] for n, s in signatures.items()} == {
        "classify": "classify", "predict_columns": "predict", "regress": "regress", "serving_default": "predict",
    }  # fmt: skip
    assert [(t.key, t.dtype, t.shape) for t in signatures["predict_columns"].inputs] == [
        ("age", tf.float32, (None,)),
        ("state", tf.string, (None,)),
    ]


def test_columns_are_built_from_examples_with_missing_values_and_lists() -> None:
    rows = [
        {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[1, 2, 3]))},
        {"w": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a"]))},
        {"n": tf.train.Feature(int64_list=tf.train.Int64List(value=[7]))},
    ]
    records = [tf.train.Example(features=tf.train.Features(feature=r)).SerializeToString() for r in rows]
    signature = Signature(
        "s",
        "tensorflow/serving/predict",
        (
            Tensor("n", "n:0", tf.int64, (None,)),
            Tensor("w", "w:0", tf.string, (None,)),
            Tensor("x", "x:0", tf.float32, (None, 2)),
        ),
        (),
    )
    feeds = build_feeds(signature, records, feature_names(records))
    assert feeds["n"].tolist() == [0, 0, 7] and feeds["w"].tolist() == [b"", b"a", b""]
    np.testing.assert_array_equal(feeds["x"], np.array([[1, 2], [np.nan] * 2, [np.nan] * 2], np.float32))
    assert feature_names(without_features(records, ["x"])) == {"w", "n"}
    assert [v.shape for v in build_feeds(signature, [], []).values()] == [(0,), (0,), (0, 2)]


def test_records_are_read_from_plain_and_compressed_files_in_order(tmp_path: Path) -> None:
    rows = toy_model.records(6)
    a = toy_model.write_records(tmp_path / "a", rows[:4], "GZIP")
    b = toy_model.write_records(tmp_path / "b", rows[4:], "")
    assert read_records([a, b], 5) == rows[:5]
    assert read_records([a, b], 50) == rows


def test_differences_are_relative_above_one_and_absolute_below() -> None:
    assert checks.array_fault(np.array([50.0004]), np.array([50.0]), 1e-5) is None
    assert checks.array_fault(np.array([0.5004]), np.array([0.5]), 1e-5) is not None
    assert checks.array_fault(np.array([b"a"], object), np.array([b"b"], object), 1) == "1 of 1 values differ"
    assert checks.pick({"classify": {"scores": np.array([[0.2, 0.8]])}}, "classify:scores[1]") == [0.8]
    with pytest.raises(ValueError, match="2 columns"):
        checks.pick({"classify": {"scores": np.array([[0.2, 0.8]])}}, "classify:scores")
