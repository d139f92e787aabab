"""`preprocessing_fn` of TFX's Transform: raw features -> one float32 matrix for XGBoost.

Each family of encoders (modules/encoding/) turns all of its rows of the feature table into a block of columns at once,
so the graph has few, wide operations; that is what a single request pays for. The same graph runs in training and in
the exported model. Which column is what: modules/transform_features.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from modules.analysis import VOCABULARY_FILES, Analysis
from modules.dataset import Dataset
from modules.encoding import target
from modules.encoding.batch import Batch, Learning
from modules.encoding.inputs import dense_column
from modules.encoding.registry import in_use, learnings
from modules.encoding.text import word_indicators
from modules.encoding.tokens import tokenize
from modules.errors import ConfigError, DataError
from modules.features import Kind
from modules.transform_config import TransformConfig
from modules.transform_features import FEATURES, LABEL, TARGET_ENCODED, TIME, matrix_width
from modules.vocabulary import Vocabulary, vocabularies

__all__ = ["analysis", "dense_column", "preprocessing_fn", "tokenize", "word_indicators"]

Tensors = Mapping[str, Any]


def preprocessing_fn(inputs: Tensors, custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Transforms a batch of n leads.

    Args:
      inputs: raw features by name as the schema declares them: dense [n] or [n, 1], or sparse with at most one value
        per lead. Missing is NaN or '' when dense, absent when sparse.
      custom_config: `dataset` and `model` as JSON, see TransformConfig; and what the pass of modules/analysis.py has
        learned, by key. Without it tft learns vocabularies, and can learn nothing else.

    Returns:
      `features`: float32 [n, F], missing is NaN, columns as `transformed_features` lists them.
      `target_encoded`: float32 [n, T], when T columns are target-encoded: what they hold for rows of the training
        split, in the order in which `features` has them.
      `label`: int64 [n], 0 or 1, when the input has it.
      `time`: int64 [n], seconds since 1970 UTC, when dataset and input have it.

    Raises:
      DataError: a feature of the table is not in the schema.
      ConfigError: a feature needs what the analysis pass learns, and the pass did not run.
    """
    config = TransformConfig.from_custom_config(custom_config)
    absent = [f.name for f in config.dataset.table if f.name not in inputs]
    if absent:
        raise DataError(
            f"the schema has no feature {', '.join(map(repr, absent))} of dataset {config.dataset.name!r}; "
            f"it has {', '.join(sorted(inputs))}. Correct the dataset file or the schema."
        )
    batch = _batch(inputs, config, custom_config)
    blocks = [family.encode(rows, batch) for family, rows in in_use(config)]
    features = tf.concat(blocks, axis=1) if len(blocks) > 1 else blocks[0]
    features.set_shape([None, matrix_width(config)])

    outputs = {FEATURES: features}
    encoded = target.rows(config)
    if encoded:
        if config.dataset.id_feature not in inputs:
            raise DataError(
                f"target encoding ({', '.join(row.name for row in encoded)}) needs the lead's id, feature "
                f"{config.dataset.id_feature!r}, which is not in the schema. Correct the dataset file or the schema."
            )
        outputs[TARGET_ENCODED] = tf.ensure_shape(target.encode_out_of_fold(encoded, batch), [None, len(encoded)])
    for name, source in ((LABEL, config.dataset.label_feature), (TIME, config.dataset.time_feature)):
        if source is not None and source in inputs:
            outputs[name] = tf.cast(tf.squeeze(dense_column(inputs[source], 0), 1), tf.int64)
    return outputs


def _batch(inputs: Tensors, config: TransformConfig, custom_config: Mapping[str, Any]) -> Batch:
    wanted = learnings(config)
    absent = [w for w in wanted if w.analyzer.name not in custom_config.get(w.analyzer.key, {})]
    beyond = sorted({w.analyzer.name for w in absent if not isinstance(w.analyzer, Vocabulary)})
    if beyond:
        raise ConfigError(
            f"what {', '.join(map(repr, beyond))} needs is learned by the analysis pass of "
            "pipeline.components.transform.Transform, which did not run before preprocessing_fn. Use that component, "
            "or remove the options of these features."
        )
    words = [(w.analyzer.spec, w.columns) for w in wanted if isinstance(w.analyzer, Vocabulary)]
    values = [columns(Batch(inputs, config))[0] for _, columns in words] if absent else []
    learned = None if absent else custom_config.get(VOCABULARY_FILES)
    files = vocabularies(values, [spec for spec, _ in words], learned)
    return Batch(inputs, config, {**custom_config, VOCABULARY_FILES: files})


def analysis(custom_config: Mapping[str, Any]) -> Analysis:
    """What the pass of modules/analysis.py has to learn before `preprocessing_fn` runs."""
    config = TransformConfig.from_custom_config(custom_config)
    return Analysis([w.analyzer for w in learnings(config)], functools.partial(_columns, config))


def _columns(config: TransformConfig, records: tf.Tensor) -> Sequence[Sequence[Any]]:
    wanted = learnings(config)
    parsed = tf.io.parse_example(records, _spec(config.dataset, wanted))
    batch = Batch(parsed, config)
    return [w.columns(batch) for w in wanted]


def _spec(dataset: Dataset, wanted: Sequence[Learning]) -> dict[str, tf.io.VarLenFeature]:
    types = {f.name: tf.float32 if f.kind is Kind.NUMERIC else tf.string for f in dataset.table}
    types = {dataset.label_feature: tf.int64, dataset.id_feature: tf.string, **types}
    if dataset.time_feature is not None:
        types.setdefault(dataset.time_feature, tf.int64)
    return {name: tf.io.VarLenFeature(types[name]) for w in wanted for name in w.reads}
