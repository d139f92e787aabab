"""One SavedModel of parsing, Transform graph, trees and calibration, in stock TensorFlow ops.

Signatures (n leads, n may be 0):
  serving_default: `examples` string [n], serialized raw tf.Examples; a missing feature is absent.
  predict_columns: one tensor [n] per raw feature; a missing number is NaN, a missing string ''.
    Both return float32 [n]: score 0-100, probability, probability_low, probability_high, confidence 0-1.
  classify: `inputs` string [n] -> classes string [n, 2], scores float32 [n, 2]; TensorFlow Serving's Classify.
  regress: `inputs` string [n] -> outputs float32 [n], the probability; TensorFlow Serving's Regress.
  explain: `examples` -> feature string [n, k], contribution float32 [n, k] in log-odds, the largest absolute value
    first, equal ones in the order of the feature table; k is the number of raw features. bias and margin float32 [n]:
    bias + the sum of a lead's contributions = margin, the log-odds before calibration. Beside them the five
    outputs of serving_default.
  matrix: the inputs of predict_columns -> matrix float32 [n, columns], what the native booster in assets.extra takes;
    with a linear term also linear float32 [n, k], its contributions in the order of the feature table, and linear_bias
    float32 [n]. For batch explanations and audits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import xgboost as xgb

from modules.features import FeatureTable, Kind
from modules.lead_scoring.calibration import Calibration
from modules.lead_scoring.forest.compile import compile_forest
from modules.lead_scoring.forest.contributions import ForestContributions, shares_of
from modules.lead_scoring.linear import LinearTerm
from modules.lead_scoring.linear_graph import LinearGraph
from modules.served_transform import ServedTransform
from modules.transform_batches import parse_raw
from modules.transform_features import FEATURES

CLASSES = ("0", "1")
"""Labels of `classify`: not converted, converted."""

METHOD_NAMES = {
    "classify": "tensorflow/serving/classify",
    "regress": "tensorflow/serving/regress",
}


class UsedColumn(Protocol):
    """A column the booster was fitted to: where Transform puts it, and the raw features behind it."""

    @property
    def position(self) -> int: ...
    @property
    def raw(self) -> tuple[str, ...]: ...


class LeadScoringModel(tf.Module):
    """The exported model.

    Args:
      transform_output: the Transform graph; its lookup tables become assets of this model.
      booster: XGBoost booster, cut to the rounds in use.
      calibration: margins to probability, interval and score.
      table: the raw features.
      columns: which columns of Transform's `features` the booster was fitted to, in its order.
      linear: the term that the trees start from.
    """

    def __init__(
        self,
        transform_output: tft.TFTransformOutput,
        booster: xgb.Booster,
        calibration: Calibration,
        table: FeatureTable,
        columns: Sequence[UsedColumn],
        linear: LinearTerm | None = None,
    ) -> None:
        super().__init__(name="lead_scoring")
        self._table = table
        spec = transform_output.raw_feature_spec()
        self._spec = {name: spec[name] for name in table.names}
        self._transform = ServedTransform(transform_output, table.names, [FEATURES])
        self._forest = compile_forest(booster)
        self._contributions = ForestContributions(self._forest, shares_of([c.raw for c in columns], table.names))
        self._linear = None if linear is None else LinearGraph(linear, table.names)
        positions = [c.position for c in columns]
        width = transform_output.transformed_feature_spec()[FEATURES].shape[0]
        self._positions = None if positions == list(range(width)) else np.asarray(positions, np.int32)
        self._calibration = calibration
        self.serving_functions = self._make_signatures()

    def score_raw(self, raw: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """Raw features as the Transform graph takes them -> the five outputs, float32 [n] each."""
        features = self._transform(raw)[FEATURES]
        margin = self._forest.margin(self._of_trees(features))
        if self._linear is not None:
            margin += self._linear.margin(self._linear.effects(features))
        return calibrate_tensor(margin, self._calibration)

    def matrix(self, raw: Mapping[str, Any]) -> tf.Tensor:
        """Raw features as the Transform graph takes them -> what the booster sees, float32 [n, columns]."""
        return self._of_trees(self._transform(raw)[FEATURES])

    def _of_trees(self, features: tf.Tensor) -> tf.Tensor:
        return features if self._positions is None else tf.gather(features, self._positions, axis=1)

    def score_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized raw tf.Examples, string [n] -> the five outputs, float32 [n] each."""
        return self.score_raw(parse_raw(examples, self._spec))

    def explain(self, raw: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """Raw features as the Transform graph takes them -> the outputs of `explain`."""
        features = self._transform(raw)[FEATURES]
        matrix = self._of_trees(features)
        margin, bias = self._forest.margin(matrix), float(self._contributions.bias)
        contributions = self._contributions(matrix)
        if self._linear is not None:
            effects = self._linear.effects(features)
            margin, bias = margin + self._linear.margin(effects), bias + self._linear.bias
            contributions += self._linear.contributions(effects)
        # Equal ones come in order of their index.
        order = tf.math.top_k(tf.abs(contributions), len(self._table)).indices
        return {
            "feature": tf.gather(tf.constant(list(self._table.names)), order),
            "contribution": tf.gather(contributions, order, batch_dims=1),
            "bias": tf.fill(tf.shape(margin), bias),
            "margin": margin,
            **calibrate_tensor(margin, self._calibration),
        }

    def raw_columns(self, columns: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """One dense tensor [n] per raw feature -> raw features as the Transform graph takes them."""
        n = tf.size(next(iter(columns.values())), out_type=tf.int64)
        rows = tf.range(n)
        cells = tf.stack([rows, tf.zeros_like(rows)], axis=1)
        raw: dict[str, Any] = {}
        for name, spec in self._spec.items():
            column = tf.cast(columns[name], spec.dtype) if spec.dtype.is_integer else columns[name]
            if isinstance(spec, tf.io.FixedLenFeature):
                raw[name] = tf.reshape(column, [-1, *spec.shape])
            else:
                # The Transform graph fills gaps with NaN and '', so missing values may stay where they are.
                raw[name] = tf.SparseTensor(cells, column, tf.stack([n, tf.constant(1, tf.int64)]))
        return raw

    def _make_signatures(self) -> dict[str, Any]:
        examples = tf.TensorSpec([None], tf.string, name="examples")
        inputs = tf.TensorSpec([None], tf.string, name="inputs")
        columns = {
            f.name: tf.TensorSpec([None], tf.float32 if f.kind is Kind.NUMERIC else tf.string, name=f.name)
            for f in self._table
        }

        @tf.function(input_signature=[examples])
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.score_examples(examples)

        @tf.function(input_signature=[columns])
        def predict_columns(columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return self.score_raw(self.raw_columns(columns))

        @tf.function(input_signature=[inputs])
        def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            p = self.score_examples(inputs)["probability"]
            classes = tf.tile(tf.constant([CLASSES]), [tf.size(p), 1])
            return {"classes": classes, "scores": tf.stack([1 - p, p], axis=1)}

        @tf.function(input_signature=[inputs])
        def regress(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"outputs": self.score_examples(inputs)["probability"]}

        @tf.function(input_signature=[examples])
        def explain(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.explain(parse_raw(examples, self._spec))

        @tf.function(input_signature=[columns])
        def matrix(columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            features = self._transform(self.raw_columns(columns))[FEATURES]
            found = {"matrix": self._of_trees(features)}
            if self._linear is not None:
                found["linear"] = self._linear.contributions(self._linear.effects(features))
                found["linear_bias"] = tf.fill([tf.shape(features)[0]], float(self._linear.bias))
            return found

        return {
            "serving_default": serving_default,
            "predict_columns": predict_columns,
            "classify": classify,
            "regress": regress,
            "explain": explain,
            "matrix": matrix,
        }


def calibrate_tensor(margins: tf.Tensor, calibration: Calibration) -> dict[str, tf.Tensor]:
    """`Calibration.__call__` in TensorFlow: margins float32 [n] -> the five outputs, float32 [n] each.

    All curves lie in one table over the same knots, so a lead costs one binary search and two row gathers.
    """
    knots = tf.constant(calibration.margins)
    m = tf.clip_by_value(margins, calibration.margins[0], calibration.margins[-1])
    i = tf.clip_by_value(tf.searchsorted(knots, m, side="right") - 1, 0, len(calibration.margins) - 2)
    # Per knot: its margin, the four values, then the same of the next knot.
    rows = np.concatenate([calibration.margins[:, None], calibration.values], axis=1)
    found = tf.gather(tf.constant(np.concatenate([rows[:-1], rows[1:]], axis=1)), i)
    below, above = tf.split(found, 2, axis=1)
    t = (tf.expand_dims(m, 1) - below[:, :1]) / (above[:, :1] - below[:, :1])
    values = below[:, 1:] + t * (above[:, 1:] - below[:, 1:])
    p = tf.sigmoid(values[:, :3])
    probability, low, high = tf.unstack(p, axis=1)
    return {
        "score": values[:, 3],
        "probability": probability,
        "probability_low": low,
        "probability_high": high,
        "confidence": 1 - (high - low),
    }
