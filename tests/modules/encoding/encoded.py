"""Runs the analysis pass and Transform of small tables in memory."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_transform.graph_context import TFGraphContext

from modules.dataset import Dataset, Label
from modules.features import Feature, Kind
from modules.lead_scoring.settings import LeadScoringSettings
from modules.preprocessing import analysis, preprocessing_fn
from modules.transform_config import TransformConfig
from modules.transform_features import transformed_features, vocabulary_names
from modules.vocabulary import EMPTY_VOCABULARY


def config_of(*rows: Feature, model: LeadScoringSettings | None = None) -> TransformConfig:
    """A dataset of these features, with label `converted` and id `lead`."""
    dataset = Dataset(name="toy", files=("toy.csv",), id="lead", label=Label(column="converted"), features=rows)
    return TransformConfig(dataset=dataset, model=model or LeadScoringSettings())


def examples(config: TransformConfig, columns: Mapping[str, Sequence[Any]]) -> list[bytes]:
    """Serialized tf.Examples; None, NaN and '' are missing, and a missing value is absent."""
    kinds = {f.name: f.kind for f in config.dataset.table}
    records = []
    for row in range(len(next(iter(columns.values())))):
        example = tf.train.Example()
        for name, values in columns.items():
            value, feature = values[row], example.features.feature[name]
            if value is None or value == "" or value != value:
                del example.features.feature[name]
            elif kinds.get(name) is Kind.NUMERIC:
                feature.float_list.value.append(value)
            elif name == "converted":
                feature.int64_list.value.append(int(value))
            else:
                feature.bytes_list.value.append(value.encode() if isinstance(value, str) else value)
        records.append(example.SerializeToString())
    return records


def learn_from(
    config: TransformConfig, columns: Mapping[str, Sequence[Any]], batches: int = 1, folder: str | None = None
) -> dict[str, Any]:
    """What the analysis pass learns from a table that comes in so many batches."""
    wanted = analysis(config.to_custom_config())
    if not wanted.analyzers:
        return {}
    combiner = wanted.combiner()
    found = combiner.create_accumulator()
    reduce = tf.function(wanted.reduce, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    for part in np.array_split(np.array(examples(config, columns), object), batches):
        found = combiner.add_input(
            found, tf.nest.map_structure(lambda t: t.numpy(), reduce(tf.constant(part, tf.string)))
        )
    return wanted.write(combiner.extract_output(found), folder or tempfile.mkdtemp())


def transform(
    config: TransformConfig, learned: Mapping[str, Any], columns: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """The useful columns of the transformed matrix by name, float32 [n] each."""
    rows = len(next(iter(columns.values())))
    inputs = {"lead": tf.constant(columns.get("lead", [""] * rows), tf.string)}
    for feature in config.dataset.table:
        numeric = feature.kind is Kind.NUMERIC
        values = columns.get(feature.name, [None] * rows)
        inputs[feature.name] = (
            tf.constant([np.nan if v is None else v for v in values], tf.float32)
            if numeric
            else tf.constant(["" if v is None else v for v in values], tf.string)
        )
    with TFGraphContext(tf.Module(), None, None):
        function = functools.partial(preprocessing_fn, inputs, {**config.to_custom_config(), **learned})
        outputs = tf.function(function, autograph=False)()
    matrix = outputs["features"].numpy()
    return {f.name: matrix[:, f.position] for f in transformed_features(config, words_of(config, learned))}


def words_of(config: TransformConfig, learned: Mapping[str, Any]) -> dict[str, list[str]]:
    """The learned vocabularies by name."""
    found = {}
    for name in vocabulary_names(config):
        with open(learned["vocabulary_files"][name], "rb") as lines:
            words = lines.read().split(b"\n")
        found[name] = [w.decode() for w in words if w and w != EMPTY_VOCABULARY]
    return found


def encode(
    config: TransformConfig, train: Mapping[str, Sequence[Any]], rows: Mapping[str, Sequence[Any]] | None = None
):
    """Learns from `train` and transforms `rows`, or `train` itself."""
    return transform(config, learn_from(config, train), rows if rows is not None else train)
