"""`preprocessing_fn` of TFX's Transform for journeys: a decision's tf.Example -> the inputs of the network.

Which column is what: modules/recommendation/transform_layout.py. The same graph runs in training and in the exported
model, so a single request pays for every operation: lists are laid out by one scatter of codes and times and one of
numbers, whatever their number, and both clocks' boundaries are searched at once.

Lists of one decision are aligned at their start: entry i of every list belongs to event i of `history_action`. Where
another list is shorter, its attribute is missing; where it is longer, the rest is left out. Of more than L events the
last L count; but where `journey_start` is absent the journey starts with the first event of the whole list.

| in a row | reads as |
| --- | --- |
| '' in a list of words, NaN or infinity in one of numbers | this event's attribute is missing |
| a time of 0 or less, or none | unknown time: the clock's codes are UNKNOWN |
| `journey_start` absent, 0 or less | the journey starts with the first event of the list, however long the list is |
| `history_length` absent or smaller than the list | the list's length |
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modules.analysis import MOMENTS, VOCABULARY_FILES, Analysis
from modules.encoding.inputs import dense_column
from modules.encoding.text import word_indicators
from modules.encoding.tokens import tokenize
from modules.errors import DataError
from modules.features import Kind
from modules.journeys import names
from modules.moments import Moments, moments
from modules.recommendation import clock
from modules.recommendation.clock_graph import clock_codes
from modules.recommendation.layout import ACTION, FIRST_WORD, MISSING, PADDING
from modules.recommendation.numbers import analysed, analyzers, learned_of, number_columns, number_names
from modules.recommendation.transform_layout import (
    EVENT_CODES,
    EVENT_NUMBERS,
    LEAD_CODES,
    LEAD_NUMBERS,
    LENGTH,
    START,
    JourneyTransformConfig,
)
from modules.vocabulary import Vocabulary, lookup, vocabularies

Tensors = Mapping[str, Any]
Options = Mapping[str, Mapping[str, Any]]

_NAN = float("nan")


def preprocessing_fn(inputs: Tensors, custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Transforms a batch of n decisions; L, C, K, F and G are those of the Layout.

    Args:
      inputs: the features of modules/journeys/names.py by name, as the schema declares them: lists are sparse,
        [n, events]; the rest dense or sparse with at most one value. `allowed_actions` is not looked at. What a
        request cannot know (`names.NOT_INPUTS`) may be left out, and so may `history_length` and `journey_start`.
      custom_config: `dataset` and `model` as JSON, see JourneyTransformConfig; and what the pass of
        modules/analysis.py has learned, by key. Without it tft learns vocabularies and moments, and nothing else.

    Returns (integers are int64, the only ones that Transform's metadata know):
      event_codes: int64 [n, L, C]. event_numbers: float32 [n, L, K].
      lead_codes: int64 [n, F]. lead_numbers: float32 [n, G].
      length: int64 [n], events in the slots, 0 to L.
      history_length: int64 [n], all events before the decision.
      start: int64 [n], seconds since 1970 UTC when the journey began; 0 where nothing says so.
      next_action: int64 [n], class of the label, -1 where it is absent or unknown; when the input has it.
      outcome: float32 [n], 1 converted, 0 not, NaN unknown; when the input has it.
      training_positions, decision_time: int64 [n], 0 where absent; when the input has them.

    Raises:
      DataError: a feature of the dataset is not in the schema, or a list is not declared as one.
      ConfigError: a feature needs what the analysis pass learns, and the pass did not run.
    """
    config = JourneyTransformConfig.from_custom_config(custom_config)
    _check(inputs, config)
    specs, numbers = config.vocabularies(), config.numbers
    learned = VOCABULARY_FILES in custom_config
    words, values = ((), ()) if learned else _analysed(inputs, inputs, _counted(inputs), config)
    files = vocabularies(words, specs, custom_config.get(VOCABULARY_FILES))
    if learned:
        standards = tf.constant([custom_config[MOMENTS][name] for name in numbers], tf.float32, [len(numbers), 2])
    elif numbers:
        standards = tf.cast(moments(values), tf.float32)
    else:
        standards = tf.zeros([0, 2])
    options = learned_of(config.numeric, custom_config)
    events = len(config.event_features(Kind.NUMERIC))

    outputs = {
        **_events(inputs, files, standards[:events], options, config),
        **_lead(inputs, files, standards[events:], options, config),
    }
    if names.NEXT_ACTION in inputs:
        outputs[names.NEXT_ACTION] = lookup(_scalar(inputs[names.NEXT_ACTION], ""), files[ACTION], -1)
    if names.OUTCOME in inputs:
        # Through float32, so that an absent outcome can be NaN.
        outputs[names.OUTCOME] = _scalar(inputs[names.OUTCOME], _NAN)
    for name in (names.TRAINING_POSITIONS, names.DECISION_TIME):
        if name in inputs:
            outputs[name] = _scalar(inputs[name], 0)
    return outputs


def analysis(custom_config: Mapping[str, Any]) -> Analysis:
    """What the pass of modules/analysis.py has to learn before `preprocessing_fn` runs.

    Labels and features of the lead are counted over all rows. Lists of successive decisions overlap, so they are
    counted over the rows alone that causal training reads (`training_positions` above 0, or absent): those hold each
    event of a journey once, and twice at most where it is longer than L.
    """
    config = JourneyTransformConfig.from_custom_config(custom_config)
    learned = (*map(Vocabulary, config.vocabularies()), *map(Moments, config.numbers), *analyzers(config.numeric))
    return Analysis(learned, functools.partial(_columns, config))


def _columns(config: JourneyTransformConfig, records: tf.Tensor) -> list[list[tf.Tensor]]:
    spec = {f.name: tf.float32 if f.kind is Kind.NUMERIC else tf.string for f in config.dataset.features}
    spec |= {names.NEXT_ACTION: tf.string, names.TRAINING_POSITIONS: tf.int64}
    rows = tf.io.parse_example(records, {name: tf.io.VarLenFeature(dtype) for name, dtype in spec.items()})
    # Lists are most of a record, and few rows' lists count.
    kept = tf.boolean_mask(records, _counted(rows))
    lists = tf.io.parse_example(kept, {name: tf.io.VarLenFeature(d) for name, d in _list_types(config).items()})
    words, numbers = _analysed(rows, lists, None, config)
    further = analysed(config.numeric, dict(zip(config.numbers, numbers, strict=True)))
    return [[column] for column in (*words, *numbers, *further)]


def _counted(inputs: Tensors) -> tf.Tensor | None:
    """bool [n], rows whose lists are counted; None for all of them."""
    if names.TRAINING_POSITIONS not in inputs:
        return None
    return tf.squeeze(dense_column(inputs[names.TRAINING_POSITIONS], 1), 1) > 0


def _analysed(
    rows: Tensors, lists: Tensors, counted: tf.Tensor | None, config: JourneyTransformConfig
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Words and numbers to learn from, in the order of `config.vocabularies()` and `config.numbers`."""

    def flat(tensor: Any) -> tf.Tensor:
        return tensor.values if isinstance(tensor, tf.SparseTensor) else tf.reshape(tensor, [-1])

    def list_values(name: str) -> tf.Tensor:
        cells = lists[name]
        return (
            cells.values if counted is None else tf.boolean_mask(cells.values, tf.gather(counted, cells.indices[:, 0]))
        )

    words = [list_values(names.HISTORY_ACTION)]
    if names.NEXT_ACTION in rows:
        words = [tf.concat([*words, flat(rows[names.NEXT_ACTION])], axis=0)]
    words += [list_values(f.name) for f in config.event_features(Kind.CATEGORICAL)]
    words += [flat(rows[f.name]) for f in config.lead_features(Kind.CATEGORICAL)]
    words += [tokenize(flat(rows[f.name])).values for f in config.texts]
    numbers = [list_values(f.name) for f in config.event_features(Kind.NUMERIC)]
    numbers += [flat(rows[f.name]) for f in config.lead_features(Kind.NUMERIC)]
    return words, numbers


def _events(
    inputs: Tensors, files: Mapping[str, Any], standards: tf.Tensor, options: Options, config: JourneyTransformConfig
) -> Tensors:
    """Everything that the lists say."""
    slots = config.length
    action = inputs[names.HISTORY_ACTION]
    rows, positions = action.indices[:, 0], action.indices[:, 1]
    n = action.dense_shape[0]
    events = tf.maximum(tf.math.unsorted_segment_max(positions + 1, rows, n), 0)
    length = tf.minimum(events, slots)
    first = events - length
    used = tf.range(slots, dtype=tf.int64) < length[:, None]

    # Codes and times are int64, so one scatter lays out both; 0 stays where a list is too short.
    coded = [(ACTION, action), *((f.name, inputs[f.name]) for f in config.event_features(Kind.CATEGORICAL))]
    times = inputs[names.HISTORY_TIME]
    cells = [*((cells.indices, word_codes(cells.values, files[name])) for name, cells in coded)]
    cells.append((times.indices, tf.cast(times.values, tf.int64)))
    dense = _laid_out(cells, first, length, slots, tf.constant(0, tf.int64))
    codes, time = tf.maximum(dense[:, :, :-1], MISSING), dense[:, :, -1]

    start = tf.maximum(tf.math.unsorted_segment_max(_where_first(times), times.indices[:, 0], n), 0)
    if names.JOURNEY_START in inputs:
        known = _scalar(inputs[names.JOURNEY_START], 0)
        start = tf.where(known > 0, known, start)
    told = clock_codes(time, start)
    if len(config.clock_columns) < len(clock.COLUMNS):
        told = tf.gather(told, config.clock_columns, axis=2)
    event_codes = tf.where(used[:, :, None], tf.concat([codes, told], axis=2), PADDING)

    numeric = config.event_features(Kind.NUMERIC)
    if numeric:
        lists = [(inputs[f.name].indices, tf.cast(inputs[f.name].values, tf.float32)) for f in numeric]
        values = _laid_out(lists, first, length, slots, tf.constant(_NAN))
        present = tf.cast(used, tf.float32)[:, :, None]
        event_numbers = number_columns(values, numeric, standards, options) * present
    else:
        event_numbers = tf.zeros(tf.stack([n, slots, 0]))
    history = events
    if names.HISTORY_LENGTH in inputs:
        history = tf.maximum(history, _scalar(inputs[names.HISTORY_LENGTH], 0))
    return {
        EVENT_CODES: tf.ensure_shape(event_codes, [None, slots, event_codes.shape[2]]),
        EVENT_NUMBERS: tf.ensure_shape(event_numbers, [None, slots, len(number_names(numeric))]),
        LENGTH: length,
        names.HISTORY_LENGTH: history,
        START: start,
    }


def _where_first(times: tf.SparseTensor) -> tf.Tensor:
    """The time itself where it belongs to a row's first event, 0 elsewhere: int64 [m]."""
    return tf.where(tf.equal(times.indices[:, 1], 0), tf.cast(times.values, tf.int64), 0)


def _laid_out(
    lists: Sequence[tuple[tf.Tensor, tf.Tensor]], first: tf.Tensor, length: tf.Tensor, slots: int, missing: tf.Tensor
) -> tf.Tensor:
    """Lists of values side by side, one slot per event.

    Args:
      lists: for each column, indices int64 [m, 2] (row, position) in any order, and values [m].
      first: int64 [n], position that goes into slot 0.
      length: int64 [n], slots in use, at most `slots`; what would fall outside is left out.
      slots: L.
      missing: scalar for cells without a value.

    Returns:
      [n, L, columns] of the values' type.
    """
    n, width = tf.size(first, out_type=tf.int64), len(lists)
    indices = tf.concat([cells for cells, _ in lists], axis=0)
    column = tf.concat(
        [tf.fill([tf.size(values)], tf.constant(c, tf.int64)) for c, (_, values) in enumerate(lists)], axis=0
    )
    rows = indices[:, 0]
    slot = indices[:, 1] - tf.gather(first, rows)
    inside = (slot >= 0) & (slot < tf.gather(length, rows))
    # What lies outside goes to one more cell behind the others.
    outside = n * (slots * width)
    cell = tf.where(inside, (rows * slots + slot) * width + column, outside)
    flat = tf.tensor_scatter_nd_update(
        tf.fill([outside + 1], missing), cell[:, None], tf.concat([values for _, values in lists], axis=0)
    )
    return tf.reshape(flat[:-1], tf.stack([n, slots, width]))


def _lead(
    inputs: Tensors, files: Mapping[str, Any], standards: tf.Tensor, options: Options, config: JourneyTransformConfig
) -> Tensors:
    """The lead's features."""
    n = inputs[names.HISTORY_ACTION].dense_shape[0]
    categorical, numeric = config.lead_features(Kind.CATEGORICAL), config.lead_features(Kind.NUMERIC)
    codes = [word_codes(dense_column(inputs[f.name], ""), files[f.name]) for f in categorical]
    lead_codes = tf.concat(codes, axis=1) if codes else tf.zeros(tf.stack([n, 0]), tf.int64)
    blocks = []
    if numeric:
        values = tf.concat([dense_column(inputs[f.name], _NAN) for f in numeric], axis=1)
        blocks.append(number_columns(values, numeric, standards, options))
    for text in config.texts:
        words = tokenize(_scalar(inputs[text.name], ""))
        blocks.append(word_indicators(words, files[text.name], config.text_words(text)))
    lead_numbers = tf.concat(blocks, axis=1) if blocks else tf.zeros(tf.stack([n, 0]))
    width = len(number_names(numeric)) + sum(config.text_words(text) for text in config.texts)
    return {
        LEAD_CODES: tf.ensure_shape(lead_codes, [None, len(categorical)]),
        LEAD_NUMBERS: tf.ensure_shape(lead_numbers, [None, width]),
    }


def word_codes(words: tf.Tensor, vocabulary_file: Any) -> tf.Tensor:
    """Codes of words, int64, same shape: MISSING for '', UNKNOWN outside of the vocabulary, else FIRST_WORD + line."""
    # UNKNOWN is the code before FIRST_WORD.
    return tf.where(tf.equal(words, ""), np.int64(MISSING), FIRST_WORD + lookup(words, vocabulary_file, -1))


def _scalar(tensor: Any, missing: Any) -> tf.Tensor:
    """[n], see `dense_column`."""
    return tf.squeeze(dense_column(tensor, missing), 1)


def _list_types(config: JourneyTransformConfig) -> dict[str, tf.DType]:
    """Type of each list in tf.Examples."""
    numeric = {f.name: tf.float32 for f in config.event_features(Kind.NUMERIC)}
    categorical = {f.name: tf.string for f in config.event_features(Kind.CATEGORICAL)}
    return {names.HISTORY_ACTION: tf.string, **categorical, **numeric}


def _check(inputs: Tensors, config: JourneyTransformConfig) -> None:
    lists = [*_list_types(config), names.HISTORY_TIME]
    absent = [name for name in (*(f.name for f in config.dataset.features), *lists) if name not in inputs]
    if absent:
        raise DataError(
            f"the schema has no feature {', '.join(map(repr, absent))} of dataset {config.dataset.name!r}; "
            f"it has {', '.join(sorted(inputs))}. Correct the dataset file or the schema."
        )
    fixed = [name for name in lists if not isinstance(inputs[name], tf.SparseTensor)]
    if fixed:
        raise DataError(
            f"the schema gives {', '.join(map(repr, fixed))} a shape or another representation than sparse; lists of "
            "any length were expected. Leave `shape` out of these features in the schema."
        )
