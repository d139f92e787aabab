"""A small SavedModel with the signatures of lead scoring: p = sigmoid(0.1 (age - 40) + [state = CA])."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

FEATURES = {
    "age": tf.io.FixedLenFeature([], tf.float32, float("nan")),
    "state": tf.io.FixedLenFeature([], tf.string, ""),
}


def probability(age: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    known = tf.where(tf.math.is_nan(age), tf.fill(tf.shape(age), 40.0), age)
    return tf.sigmoid(0.1 * (known - 40.0) + tf.cast(state == b"CA", tf.float32))


def outputs(p: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"probability": p, "probability_low": 0.9 * p, "probability_high": 1 - 0.9 * (1 - p), "score": 100 * p}


class ToyModel(tf.Module):
    """`default` may replace what serving_default says of (age, state, label)."""

    def __init__(self, default: Callable | None = None, columns: Callable = probability) -> None:
        super().__init__()
        self.bias = tf.Variable(0.0)
        self.default = default
        self.columns = columns

    def parse(self, examples):
        label = {"label": tf.io.FixedLenFeature([], tf.int64, 0)}
        return tf.io.parse_example(examples, {**FEATURES, **label})

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serving_default(self, examples):
        row = self.parse(examples)
        if self.default is not None:
            return self.default(row)
        return outputs(probability(row["age"] + self.bias, row["state"]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "age"), tf.TensorSpec([None], tf.string, "state")])
    def predict_columns(self, age, state):
        return outputs(self.columns(age, state))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        row = self.parse(inputs)
        p = probability(row["age"], row["state"])
        classes = tf.tile(tf.constant([[b"0", b"1"]]), [tf.shape(p)[0], 1])
        return {"classes": classes, "scores": tf.stack([1 - p, p], axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        row = self.parse(inputs)
        return {"outputs": probability(row["age"], row["state"])}


def save(folder: Path, model: ToyModel | None = None) -> Path:
    model = model or ToyModel()
    names = ("serving_default", "predict_columns", "classify", "regress")
    tf.saved_model.save(model, str(folder), signatures={n: getattr(model, n) for n in names})
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
    updater.replace_method_name("classify", tf.saved_model.CLASSIFY_METHOD_NAME, tags="serve")
    updater.replace_method_name("regress", tf.saved_model.REGRESS_METHOD_NAME, tags="serve")
    updater.save(str(folder))
    return folder


def records(count: int = 80) -> list[bytes]:
    """tf.Examples: age 20, 21, ... (every fifth missing), state CA or NY, label, id."""
    result = []
    for i in range(count):
        features = {
            "state": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"CA" if i % 3 else b"NY"])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[i % 2])),
            "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"lead-%d" % i])),
        }
        if i % 5:
            features["age"] = tf.train.Feature(float_list=tf.train.FloatList(value=[20.0 + i]))
        example = tf.train.Example(features=tf.train.Features(feature=features))
        result.append(example.SerializeToString(deterministic=True))
    return result


def write_records(path: Path, rows: list[bytes], compression: str = "GZIP") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            writer.write(row)
    return path
