"""One SavedModel of parsing, Transform graph, networks, calibration, rules and ranking, in stock TensorFlow ops.

Signatures (n decisions, n may be 0; A actions; k = policy.top_k or A):
  serving_default: `examples` string [n], serialized tf.Examples, see modules/journeys/names.py; any feature may be
    absent.
  predict_columns: one tensor per input feature. Features of the lead [n]: a missing number is NaN, a missing string ''.
    Lists [n, T], padded behind with '', 0 or NaN; as many events as reach to the last action that is not ''.
    history_length int64 [n], 0 or less for the length of the list; journey_start int64 [n], 0 for absent;
    allowed_actions string [n, m], '' is ignored, nothing but '' allows all.
    Both return what modules/recommendation/ranking.py says: actions, probabilities, priorities, next_best_action.
  distribution: `examples` -> probabilities, conversion float32 [n, A] in vocabulary order, before rules and policy.
    Without outcomes in the dataset conversion is 0 everywhere, and so are priorities.
  explain: `examples` -> what the answer rests on, see modules/recommendation/attribution.py. action string [n]: the
    next best action, or the most likely one where none is allowed. feature string [n, k]: `(lead)`, `(earlier events)`
    or '', then the actions of the latest EVENTS events, oldest first, '' behind them; k = 2 + min(L, EVENTS).
    events int32 [n]: how many of those there are. contribution float32 [n, k] in logs of probability and bias float32
    [n]: with it they sum to log_probability float32 [n], before rules. conversion_contribution, conversion_bias and
    conversion_log_odds: the same of the log-odds that the lead converts if the action is next; 0 without outcomes.
  evaluation_features: `examples` with `next_action` -> label int64 [n] (class, -1 unknown); majority, last_action,
    prefix int64 [n], see modules/recommendation/baselines.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from modules.features import Kind
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset
from modules.preprocessing import dense_column
from modules.recommendation import attribution, clock
from modules.recommendation.baselines import Baselines, baselines_tensor
from modules.recommendation.calibration import Calibration
from modules.recommendation.layout import ACTION, Layout
from modules.recommendation.ranking import rank_tensor
from modules.recommendation.rules import allowed_tensor, features_of_rules, requested_tensor
from modules.recommendation.serving_network import AtLastSlot
from modules.recommendation.settings import PolicySettings
from modules.recommendation.transform_layout import (
    EVENT_CODES,
    EVENT_NUMBERS,
    LEAD_CODES,
    LEAD_NUMBERS,
    LENGTH,
    START,
)
from modules.transform_batches import parse_raw

Raw = Mapping[str, Any]


class RecommendationModel(tf.Module):
    """The exported model.

    Args:
      transform_output: the Transform graph; its lookup tables become assets of this model.
      networks: trained, in float32, outside of any strategy; their probabilities are averaged.
      layout: of its inputs.
      dataset: which features there are.
      policy: checked against the dataset (rules.check_policy).
      calibration: logits to probabilities.
      baselines: naive predictions for the evaluation.
    """

    def __init__(
        self,
        transform_output: tft.TFTransformOutput,
        networks: Sequence[keras.Model],
        layout: Layout,
        dataset: JourneyDataset,
        policy: PolicySettings,
        calibration: Calibration,
        baselines: Baselines,
    ) -> None:
        super().__init__(name="recommendation")
        self._layout, self._dataset, self._policy = layout, dataset, policy
        self._calibration, self._baselines = calibration, baselines
        self._lists = (
            names.HISTORY_ACTION,
            names.HISTORY_TIME,
            *(names.history(f.name) for f in dataset.events.features),
        )
        scalars = (*(f.name for f in dataset.features), names.HISTORY_LENGTH, names.JOURNEY_START)
        spec = transform_output.raw_feature_spec()
        self._spec = {name: spec[name] for name in (*scalars, *self._lists) if name in spec}
        self._label_spec = {names.NEXT_ACTION: spec[names.NEXT_ACTION]}
        self._transform = transform_output.transform_features_layer()
        self._network = AtLastSlot(networks)
        self._classes = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(list(layout.actions)), tf.range(len(layout.actions), dtype=tf.int64)
            ),
            -1,
        )
        self.serving_functions = self._make_signatures()

    def parse(self, examples: tf.Tensor) -> dict[str, Any]:
        """Serialized tf.Examples, string [n] -> raw features as the Transform graph takes them, and allowed_actions."""
        return parse_raw(examples, {**self._spec, names.ALLOWED_ACTIONS: tf.io.VarLenFeature(tf.string)})

    def distribution(self, raw: Raw) -> tuple[tf.Tensor, tf.Tensor]:
        """Calibrated probabilities and conversion, float32 [n, A] each."""
        return self._distribution_of(self._transform({name: raw[name] for name in self._spec}))

    def _distribution_of(self, found: Raw) -> tuple[tf.Tensor, tf.Tensor]:
        """As `distribution`, from what Transform found."""
        length = tf.cast(found[LENGTH], tf.int32)
        longest = tf.maximum(tf.reduce_max(length), 0)  # without rows the maximum is the smallest integer
        action_logits, conversion_logits = self._network(
            {
                "event_codes": found[EVENT_CODES][:, :longest],
                "event_numbers": found[EVENT_NUMBERS][:, :longest],
                "lead_codes": found[LEAD_CODES],
                "lead_numbers": found[LEAD_NUMBERS],
                "length": length,
            }
        )
        return calibrated_tensors(self._calibration, action_logits, conversion_logits)

    def answer(self, raw: Raw) -> dict[str, tf.Tensor]:
        """Raw features and allowed_actions (string, sparse [n, m]) -> the ranked actions."""
        probabilities, conversion = self.distribution(raw)
        allowed = self._allowed(raw, tf.shape(probabilities)[0])
        return rank_tensor(probabilities, conversion, allowed, self._layout.actions, self._policy)

    def explain(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples, string [n] -> the outputs of `explain`."""
        answer = self.answer(self.parse(examples))
        # Behind the decisions comes one of which nothing is known.
        raw = self.parse(tf.concat([examples, [""]], axis=0))
        found = self._transform({name: raw[name] for name in self._spec})
        nothing = {name: found[name][-1] for name in (LEAD_CODES, LEAD_NUMBERS)}
        found = {name: value[:-1] for name, value in found.items()}
        likely = tf.argmax(self._distribution_of(found)[0], axis=1, output_type=tf.int32)
        best = tf.cast(self._classes.lookup(answer["next_best_action"]), tf.int32)
        action = tf.where(best < 0, likely, best)
        length = tf.cast(found[LENGTH], tf.int32)

        def value(action_logits: tf.Tensor, conversion_logits: tf.Tensor, of: tf.Tensor) -> tf.Tensor:
            p = tf.nn.log_softmax(action_logits / self._calibration.temperature, axis=-1)[:, of]
            if self._calibration.slope is None or self._calibration.bias is None:
                return tf.stack([p, tf.zeros_like(p)], axis=1)
            return tf.stack([p, self._calibration.slope * conversion_logits[:, of] + self._calibration.bias], axis=1)

        inputs = {name: found[name] for name in (EVENT_CODES, EVENT_NUMBERS, LEAD_CODES, LEAD_NUMBERS, LENGTH)}
        known = {column.name for column in self._layout.event_codes}
        explained = attribution.explain(
            inputs,
            nothing,
            self._times(raw, length),
            found[START],
            tuple(i for i, column in enumerate(clock.COLUMNS) if column.name in known),
            value,
            self._network,
            action,
        )
        events = tf.minimum(length, attribution.EVENTS)
        names_of = tf.constant(list(self._layout.actions))
        return {
            "action": tf.gather(names_of, action),
            "feature": self._features_of(raw, length),
            "events": events,
            "contribution": explained.contribution[:, :, 0],
            "bias": explained.bias[:, 0],
            "log_probability": explained.total[:, 0],
            "conversion_contribution": explained.contribution[:, :, 1],
            "conversion_bias": explained.bias[:, 1],
            "conversion_log_odds": explained.total[:, 1],
        }

    def _latest(self, cells: tf.SparseTensor, raw: Raw, length: tf.Tensor, slots: int, missing: Any) -> tf.Tensor:
        """A list's values at each decision's last `length` events: [n, slots], `missing` behind them."""
        action: tf.SparseTensor = raw[names.HISTORY_ACTION]
        n = tf.shape(length, out_type=tf.int64)[0]
        events = tf.math.unsorted_segment_max(action.indices[:, 1] + 1, action.indices[:, 0], n + 1)[:-1]
        first = tf.cast(tf.maximum(events, 0), tf.int32) - length
        dense = tf.sparse.to_dense(cells, missing)[:-1]
        dense = tf.pad(dense, [[0, 0], [0, 1]], constant_values=missing)
        slot = tf.range(slots)[tf.newaxis]
        place = tf.where(slot < length[:, tf.newaxis], first[:, tf.newaxis] + slot, tf.shape(dense)[1] - 1)
        return tf.gather(dense, tf.minimum(place, tf.shape(dense)[1] - 1), batch_dims=1)

    def _times(self, raw: Raw, length: tf.Tensor) -> tf.Tensor:
        return self._latest(raw[names.HISTORY_TIME], raw, length, self._layout.length, tf.constant(0, tf.int64))

    def _features_of(self, raw: Raw, length: tf.Tensor) -> tf.Tensor:
        """What `feature` of explain says: string [n, k]."""
        shown = min(self._layout.length, attribution.EVENTS)
        latest = self._latest(raw[names.HISTORY_ACTION], raw, tf.minimum(length, shown), shown, "")
        n = tf.shape(length)[0]
        earlier = tf.where(length[:, tf.newaxis] > shown, attribution.EARLIER, "")
        return tf.concat([tf.fill([n, 1], attribution.LEAD), earlier, latest], axis=1)

    def _allowed(self, raw: Raw, n: tf.Tensor) -> tf.Tensor:
        after, where = features_of_rules(self._policy)
        action: tf.SparseTensor = raw[names.HISTORY_ACTION]
        cells = action.indices
        length = tf.maximum(tf.math.unsorted_segment_max(cells[:, 1] + 1, cells[:, 0], tf.cast(n, tf.int64)), 0)
        slots = action.dense_shape[1]
        history = {ACTION: tf.sparse.to_dense(action, "")}
        history |= {name: _aligned(raw[names.history(name)], slots) for name in after}
        lead = {name: tf.squeeze(dense_column(raw[name], ""), 1) for name in where}
        allowed = allowed_tensor(self._policy, self._layout.actions, history, length, lead)

        named: tf.SparseTensor = raw[names.ALLOWED_ACTIONS]
        spoken = tf.not_equal(named.values, "")
        classes = self._classes.lookup(tf.boolean_mask(named.values, spoken))
        rows = tf.boolean_mask(named.indices[:, 0], spoken)
        return allowed & requested_tensor(classes, rows, n, len(self._layout.actions))

    def evaluation_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Label and naive predictions, int64 [n] each."""
        found = self._transform(parse_raw(examples, {**self._spec, **self._label_spec}))
        codes, length = found[EVENT_CODES][:, :, 0], tf.cast(found[LENGTH], tf.int32)
        return {"label": found[names.NEXT_ACTION], **baselines_tensor(self._baselines, codes, length)}

    def raw_columns(self, columns: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """The inputs of predict_columns -> what `parse` returns."""
        actions = columns[names.HISTORY_ACTION]
        slots = tf.shape(actions, out_type=tf.int64)
        n = slots[0]
        position = tf.range(slots[1])[tf.newaxis]
        length = tf.reduce_max(tf.where(tf.not_equal(actions, ""), position + 1, 0), axis=1, keepdims=True)
        length = tf.maximum(length, 0)
        rows = tf.range(n)
        first = tf.stack([rows, tf.zeros_like(rows)], axis=1)
        raw: dict[str, Any] = {}
        for name, spec in self._spec.items():
            column = columns[name]
            if name in self._lists:
                shape = tf.shape(column, out_type=tf.int64)
                cells = tf.where(tf.range(shape[1])[tf.newaxis] < length)
                raw[name] = tf.SparseTensor(cells, tf.gather_nd(column, cells), shape)
            elif isinstance(spec, tf.io.FixedLenFeature):
                raw[name] = tf.reshape(tf.cast(column, spec.dtype) if spec.dtype.is_integer else column, [-1])
                raw[name] = tf.reshape(raw[name], [-1, *spec.shape])
            else:
                # The Transform graph fills gaps with NaN, 0 and '', so missing values may stay where they are.
                raw[name] = tf.SparseTensor(first, column, tf.stack([n, tf.constant(1, tf.int64)]))
        allowed = columns[names.ALLOWED_ACTIONS]
        cells = tf.where(tf.not_equal(allowed, ""))
        shape = tf.shape(allowed, out_type=tf.int64)
        raw[names.ALLOWED_ACTIONS] = tf.SparseTensor(cells, tf.gather_nd(allowed, cells), shape)
        return raw

    def _make_signatures(self) -> dict[str, Any]:
        examples = tf.TensorSpec([None], tf.string, name="examples")
        columns = column_specs(self._dataset)

        @tf.function(input_signature=[examples], autograph=False)
        def serving_default(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.answer(self.parse(examples))

        @tf.function(input_signature=[columns], autograph=False)
        def predict_columns(columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return self.answer(self.raw_columns(columns))

        @tf.function(input_signature=[examples], autograph=False)
        def distribution(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            probabilities, conversion = self.distribution(self.parse(examples))
            return {"probabilities": probabilities, "conversion": conversion}

        @tf.function(input_signature=[examples], autograph=False)
        def evaluation_features(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.evaluation_features(examples)

        @tf.function(input_signature=[examples], autograph=False)
        def explain(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.explain(examples)

        return {
            "serving_default": serving_default,
            "predict_columns": predict_columns,
            "distribution": distribution,
            "evaluation_features": evaluation_features,
            "explain": explain,
        }


def column_specs(dataset: JourneyDataset) -> dict[str, tf.TensorSpec]:
    """Inputs of predict_columns by name."""
    scalars = {f.name: tf.float32 if f.kind is Kind.NUMERIC else tf.string for f in dataset.features}
    scalars |= {names.HISTORY_LENGTH: tf.int64, names.JOURNEY_START: tf.int64}
    lists = {names.HISTORY_ACTION: tf.string, names.HISTORY_TIME: tf.int64}
    for f in dataset.events.features:
        lists[names.history(f.name)] = tf.float32 if f.kind is Kind.NUMERIC else tf.string
    lists[names.ALLOWED_ACTIONS] = tf.string
    return {
        **{name: tf.TensorSpec([None], dtype, name=name) for name, dtype in scalars.items()},
        **{name: tf.TensorSpec([None, None], dtype, name=name) for name, dtype in lists.items()},
    }


def calibrated_tensors(
    calibration: Calibration, action_logits: tf.Tensor, conversion_logits: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """`Calibration.probabilities` and `Calibration.conversion` in TensorFlow: float32 [n, A] each."""
    probabilities = tf.nn.softmax(action_logits / calibration.temperature, axis=-1)
    if calibration.slope is None or calibration.bias is None:
        return probabilities, tf.zeros_like(probabilities)
    return probabilities, tf.sigmoid(calibration.slope * conversion_logits + calibration.bias)


def _aligned(cells: tf.SparseTensor, slots: tf.Tensor) -> tf.Tensor:
    """A list as long as the list of actions: string [n, slots], '' where it is shorter."""
    dense = tf.sparse.to_dense(cells, "")[:, :slots]
    missing = slots - tf.shape(dense, out_type=tf.int64)[1]
    return tf.pad(dense, [[0, 0], [0, missing]], constant_values="")
