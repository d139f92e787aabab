"""`preprocessing_fn` of TFX's Transform: raw features -> one float32 matrix for XGBoost.

One function per feature kind turns all features of that kind into a block of columns at once, so the graph has few,
wide operations; that is what a single request pays for. The same graph runs in training and in the exported model.
Which column is what: modules/transform_features.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from modules.analysis import VOCABULARY_FILES, Analysis, Columns
from modules.errors import DataError
from modules.features import Feature, Kind
from modules.transform_config import TransformConfig
from modules.transform_features import FEATURES, LABEL, TIME, matrix_width, one_hot_width, vocabulary_size
from modules.vocabulary import VocabularySpec, lookup, vocabularies

Tensors = Mapping[str, Any]

_NAN = float("nan")


def preprocessing_fn(inputs: Tensors, custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Transforms a batch of n leads.

    Args:
      inputs: raw features by name as the schema declares them: dense [n] or [n, 1], or sparse with at most one value
        per lead. Missing is NaN or '' when dense, absent when sparse.
      custom_config: `dataset` and `model` as JSON, see TransformConfig; `vocabulary_files`, paths by feature name,
        when the vocabularies are already learned.

    Returns:
      `features`: float32 [n, F], missing is NaN, columns as `transformed_features` lists them.
      `label`: int64 [n], 0 or 1, when the input has it.
      `time`: int64 [n], seconds since 1970 UTC, when dataset and input have it.

    Raises:
      DataError: a feature of the table is not in the schema.
    """
    config = TransformConfig.from_custom_config(custom_config)
    table = config.dataset.table
    absent = [f.name for f in table if f.name not in inputs]
    if absent:
        raise DataError(
            f"the schema has no feature {', '.join(map(repr, absent))} of dataset {config.dataset.name!r}; "
            f"it has {', '.join(sorted(inputs))}. Correct the dataset file or the schema."
        )

    strings = {f.name: dense_column(inputs[f.name], "") for f in table.of_kind(Kind.CATEGORICAL, Kind.TEXT)}
    words = {f.name: tokenize(tf.squeeze(strings[f.name], 1)) for f in table.of_kind(Kind.TEXT)}
    learned, specs = vocabulary_columns(config)
    files = vocabularies(
        [words[f.name].values if f.kind is Kind.TEXT else strings[f.name] for f in learned],
        specs,
        custom_config.get(VOCABULARY_FILES),
    )

    batch = Batch(inputs, strings, words, files, config)
    blocks = []
    for kind, encode in ENCODERS.items():
        features = table.of_kind(kind)
        if features:
            blocks.append(encode(features, batch))
    features = tf.concat(blocks, axis=1) if len(blocks) > 1 else blocks[0]
    features.set_shape([None, matrix_width(config)])

    outputs = {FEATURES: features}
    for name, source in ((LABEL, config.dataset.label_feature), (TIME, config.dataset.time_feature)):
        if source is not None and source in inputs:
            outputs[name] = tf.cast(tf.squeeze(dense_column(inputs[source], 0), 1), tf.int64)
    return outputs


def analysis(custom_config: Mapping[str, Any]) -> Analysis:
    """What the pass of modules/analysis.py has to learn before `preprocessing_fn` runs."""
    features, specs = vocabulary_columns(TransformConfig.from_custom_config(custom_config))
    return Analysis(specs, (), functools.partial(_words, features))


def _words(features: Sequence[Feature], records: tf.Tensor) -> Columns:
    parsed = tf.io.parse_example(records, {f.name: tf.io.VarLenFeature(tf.string) for f in features})
    values = {f.name: parsed[f.name].values for f in features}
    return [tokenize(values[f.name]).values if f.kind is Kind.TEXT else values[f.name] for f in features], []


def vocabulary_columns(config: TransformConfig) -> tuple[list[Feature], list[VocabularySpec]]:
    """The features whose vocabulary Transform has to learn, and what to learn about each."""
    learned = [f for f in config.dataset.table if vocabulary_size(f, config)]
    return learned, [VocabularySpec(f.name, vocabulary_size(f, config), f.min_count) for f in learned]


def tokenize(text: tf.Tensor) -> tf.RaggedTensor:
    """Splits text into words: lower case, everything but letters, digits and apostrophes separates.

    Args:
      text: string [n], UTF-8.

    Returns:
      string [n, (words)], words in order, repetitions kept.
    """
    lowered = tf.strings.lower(text, encoding="utf-8")
    return tf.strings.split(tf.strings.regex_replace(lowered, r"[^\pL\pM\pN']+", " "))


def word_indicators(words: tf.RaggedTensor, vocabulary_file: Any, k: int) -> tf.Tensor:
    """1 where a word of the vocabulary occurs in a text: string [n, (words)] -> float32 [n, k]."""
    ids = lookup(words.values, vocabulary_file, k)
    cells = tf.stack([words.value_rowids(), ids], axis=1)
    counts = tf.scatter_nd(cells, tf.ones_like(ids, tf.float32), tf.stack([words.nrows(), k + 1]))
    return tf.minimum(counts[:, :k], 1.0)


@dataclass(frozen=True)
class Batch:
    """What the encoders work on.

    Attributes:
      inputs: raw features as the schema declares them.
      strings: categorical and text features, string [n, 1], missing is ''.
      words: text features, ragged string [n, (words)].
      files: paths of the vocabulary files.
      config: dataset and settings.
    """

    inputs: Tensors
    strings: Tensors
    words: Tensors
    files: Mapping[str, Any]
    config: TransformConfig


def _numeric(features: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """[n, features]: the value; NaN for missing and for infinities, which XGBoost does not take."""
    values = tf.concat([dense_column(batch.inputs[f.name], _NAN) for f in features], axis=1)
    return tf.where(tf.math.is_finite(values), values, _NAN)


def _categorical(features: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """[n, features], the index by falling frequency, or with one_hot [n, sum of (width + 1)] indicators.

    A word outside of the vocabulary has the index `top_k`, above every known one; missing is NaN in all columns.
    """
    # One lookup table per feature, everything else on all of them at once.
    raw = tf.concat([batch.strings[f.name] for f in features], axis=1)
    indices = tf.concat(
        [lookup(batch.strings[f.name], batch.files[f.name], vocabulary_size(f, batch.config)) for f in features], axis=1
    )
    missing = tf.equal(raw, "")
    if batch.config.model.categorical == "index":
        return tf.where(missing, _NAN, tf.cast(indices, tf.float32))
    parts = [
        tf.where(missing[:, i : i + 1], _NAN, tf.one_hot(indices[:, i], one_hot_width(f, batch.config) + 1))
        for i, f in enumerate(features)
    ]
    return tf.concat(parts, axis=1)


def _text(features: Sequence[Feature], batch: Batch) -> tf.Tensor:
    """Per feature [n, k + 1]: 1 for each of the k frequent words that occurs, then the number of words.

    Without text the indicators are 0 and the number of words is NaN.
    """
    parts = []
    for feature in features:
        found, k = batch.words[feature.name], vocabulary_size(feature, batch.config)
        lengths = found.row_lengths()
        if k:
            parts.append(word_indicators(found, batch.files[feature.name], k))
        count = tf.where(tf.equal(tf.squeeze(batch.strings[feature.name], 1), ""), _NAN, tf.cast(lengths, tf.float32))
        parts.append(tf.expand_dims(count, 1))
    return tf.concat(parts, axis=1)


Encoder = Callable[[Sequence[Feature], Batch], tf.Tensor]

ENCODERS: dict[Kind, Encoder] = {Kind.NUMERIC: _numeric, Kind.CATEGORICAL: _categorical, Kind.TEXT: _text}
"""How each kind becomes columns; the order of this table is the order of the blocks in the matrix."""


def dense_column(tensor: Any, missing: Any) -> tf.Tensor:
    """[n, 1] of the default type for `missing`, whatever way the schema represents the feature.

    Args:
      tensor: dense [n] or [n, 1], or sparse with at most one value per row.
      missing: '', 0 or NaN, which stands where a sparse tensor has no value; string, int64 or float32.
    """
    dtype = {str: tf.string, float: tf.float32, int: tf.int64}[type(missing)]
    if isinstance(tensor, tf.SparseTensor):
        values = tensor.values if dtype is tf.string else tf.cast(tensor.values, dtype)
        sparse = tf.SparseTensor(tensor.indices, values, tensor.dense_shape)
        return tft.sparse_tensor_to_dense_with_shape(sparse, [None, 1], missing)
    dense = tensor if dtype is tf.string else tf.cast(tensor, dtype)
    return tf.reshape(dense, [-1, 1])
