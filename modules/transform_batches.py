"""Raw tf.Examples from files, parsed and transformed in large batches inside TensorFlow.

Parsing and the Transform graph run in one traced function on thousands of rows at a time, the same graph that the
exported model runs on a request. Nothing passes through Python but whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from numpy.typing import NDArray

from modules.errors import DataError

BATCH_ROWS = 8192


def files_of(patterns: Sequence[str]) -> list[str]:
    """Files that match any of the patterns, sorted, so that every run reads rows in the same order."""
    return sorted({file for pattern in patterns for file in tf.io.gfile.glob(pattern)})


def record_dataset(files: Sequence[str], rows: int = BATCH_ROWS) -> tf.data.Dataset:
    """Serialized records, string [rows] a batch, in file order; files that end in .gz are decompressed."""
    parts = [tf.data.TFRecordDataset(f, "GZIP" if f.endswith(".gz") else "", buffer_size=8 << 20) for f in files]
    dataset = parts[0]
    for part in parts[1:]:
        dataset = dataset.concatenate(part)
    return dataset.batch(rows)


def parse_raw(records: tf.Tensor, feature_spec: Mapping[str, Any]) -> dict[str, Any]:
    """Parses tf.Examples of which any feature may be absent or empty; unknown features are skipped.

    Args:
      records: string [n], serialized tf.Examples.
      feature_spec: what the Transform graph takes. Scalars of fixed length are filled with their default, or with
        NaN, '' or 0; `tf.io.parse_example` alone would refuse a feature that is there without a value.

    Returns:
      By name, [n] for scalars of fixed length, sparse [n, 1] for the rest.
    """
    scalars = {k: v for k, v in feature_spec.items() if isinstance(v, tf.io.FixedLenFeature) and not v.shape}
    spec = {k: tf.io.VarLenFeature(v.dtype) if k in scalars else v for k, v in feature_spec.items()}
    parsed = dict(tf.io.parse_example(records, spec))
    for name, scalar in scalars.items():
        sparse, default = parsed[name], scalar.default_value
        if default is None:
            default = float("nan") if scalar.dtype.is_floating else "" if scalar.dtype == tf.string else 0
        column = tft.sparse_tensor_to_dense_with_shape(sparse, [None, 1], tf.constant(default, scalar.dtype))
        parsed[name] = tf.squeeze(column, 1)
    return parsed


class TransformedBatches:
    """Transformed batches of the files of one split; may be iterated several times.

    Args:
      patterns: file patterns of raw tf.Examples, or of transformed ones.
      transform_output: the Transform graph.
      columns: outputs of Transform that are wanted.
      raw: False when the files already hold transformed examples.

    Iterating yields dicts of arrays, [rows] or [rows, F], in file order. `transform` does the same to one batch of
    serialized records, string [rows].

    Raises:
      DataError: no file matches.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        transform_output: tft.TFTransformOutput,
        columns: Sequence[str],
        raw: bool = True,
        rows: int = BATCH_ROWS,
    ) -> None:
        files = files_of(patterns)
        if not files:
            raise DataError(f"no examples at {', '.join(patterns)}; run the ingest again or correct the split names")
        self._records = record_dataset(files, rows)
        self._columns = tuple(columns)
        if raw:
            spec = transform_output.raw_feature_spec()
            # Kept on self: the layer owns the lookup tables that the function below captures.
            self._layer = transform_output.transform_features_layer()

            def transform(records: tf.Tensor) -> dict[str, tf.Tensor]:
                outputs = self._layer(parse_raw(records, spec))
                return {name: outputs[name] for name in self._columns}
        else:
            spec = {k: v for k, v in transform_output.transformed_feature_spec().items() if k in self._columns}

            def transform(records: tf.Tensor) -> dict[str, tf.Tensor]:
                return tf.io.parse_example(records, spec)

        self.transform = transform

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        dataset = self._records.map(self.transform, num_parallel_calls=2, deterministic=True).prefetch(2)
        return iter(dataset.as_numpy_iterator())
