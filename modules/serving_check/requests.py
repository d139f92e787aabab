"""Requests for any signature, built from serialized tf.Examples."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature

from modules.serving_check.signatures import Signature, Tensor

Feeds = dict[str, np.ndarray]


def read_records(files: Iterable[str | Path], count: int) -> list[bytes]:
    """The first `count` records of TFRecord files, gzip-compressed or not."""
    records: list[bytes] = []
    for file in files:
        with open(file, "rb") as stream:
            compressed = stream.read(2) == b"\x1f\x8b"
        dataset = tf.data.TFRecordDataset(str(file), compression_type="GZIP" if compressed else None)
        try:
            records.extend(dataset.take(count - len(records)).as_numpy_iterator())
        except (tf.errors.DataLossError, gzip.BadGzipFile) as error:
            raise ValueError(f"{file}: not a TFRecord file: {error}") from None
        if len(records) >= count:
            break
    return records


def without_features(records: Sequence[bytes], names: Iterable[str]) -> list[bytes]:
    """The same tf.Examples without some features."""
    dropped = list(names)
    result = []
    for record in records:
        example = Example.FromString(record)
        for name in dropped:
            example.features.feature.pop(name, None)
        result.append(example.SerializeToString(deterministic=True))
    return result


def with_words(records: Sequence[bytes], name: str, words: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The same tf.Examples with a list of words each."""
    result = []
    for record, values in zip(records, words, strict=True):
        example = Example.FromString(record)
        feature = example.features.feature[name]
        feature.Clear()
        feature.bytes_list.value.extend(values)
        result.append(example.SerializeToString(deterministic=True))
    return result


def takes_lists(signature: Signature) -> bool:
    """Whether an input is `[n, k]` with an open k."""
    return any(t.shape is not None and len(t.shape) == 2 and t.shape[1] is None for t in signature.inputs)


def takes_examples(signature: Signature, feature_names: Iterable[str]) -> bool:
    """Whether its only input is a vector of serialized tf.Examples, rather than a feature."""
    if len(signature.inputs) != 1:
        return False
    tensor = signature.inputs[0]
    return (
        tensor.dtype == tf.string
        and (tensor.shape is None or len(tensor.shape) == 1)
        and tensor.key not in set(feature_names)
    )


def feature_names(records: Iterable[bytes]) -> set[str]:
    """Names of all features that occur."""
    return {name for record in records for name in Example.FromString(record).features.feature}


def build_feeds(signature: Signature, records: Sequence[bytes], names: Iterable[str], padding: int = 0) -> Feeds:
    """Inputs of a signature for these rows, by input key.

    A signature over serialized examples gets the records; any other one gets each input from the feature of that
    name: `[n]` one value, `[n, k]` a list, cut or filled up to k (to the longest list where k is open). A missing
    number is NaN (an integer 0), a missing string is empty. Open lists are filled up by `padding` entries more.
    """
    if takes_examples(signature, names):
        return {signature.inputs[0].key: _objects(records)}
    examples = [Example.FromString(record) for record in records]
    return {tensor.key: _column(tensor, examples, padding) for tensor in signature.inputs}


def _column(tensor: Tensor, examples: Sequence[Example], padding: int) -> np.ndarray:
    lists = [_values(example.features.feature[tensor.key]) if tensor.key in example.features.feature else []
             for example in examples]  # fmt: skip
    width = None
    if tensor.shape is not None and len(tensor.shape) > 1:
        width = tensor.shape[1] if tensor.shape[1] is not None else max([1, *map(len, lists)]) + padding
    dtype = tensor.numpy_dtype
    missing = b"" if tensor.dtype == tf.string else np.nan if np.issubdtype(dtype, np.floating) else 0
    result = np.full((len(lists), width or 1), missing, dtype)
    for row, values in enumerate(lists):
        used = values[: result.shape[1]]
        result[row, : len(used)] = used
    return result if width is not None else result[:, 0]


def _values(feature: Feature) -> list:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def _objects(values: Sequence[bytes]) -> np.ndarray:
    result = np.empty(len(values), object)
    result[:] = list(values)
    return result
