"""A random sample of the examples of a split, in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from tfx_bsl.coders import example_coder

from modules.errors import DataError
from modules.transform_batches import files_of, record_dataset


def sample_records(patterns: Sequence[str], rows: int, seed: int) -> tuple[list[bytes], int]:
    """Serialized tf.Examples, at most `rows` of them and each as likely as any other, in file order.

    Memory holds the sample and one batch; the same files and seed give the same sample.

    Args:
      patterns: file patterns of tf.Examples.
      rows: size of the sample.
      seed: of the choice.

    Returns:
      The sample, and how many records there are in all.

    Raises:
      DataError: no file matches.
    """
    files = files_of(patterns)
    if not files:
        raise DataError(f"no examples at {', '.join(patterns)}; run the ingest again or correct the split names")
    random = np.random.default_rng(seed)
    keys, kept, number, total = np.zeros(0), np.zeros(0, object), np.zeros(0, np.int64), 0
    for batch in record_dataset(files).as_numpy_iterator():
        # The records with the smallest random keys stay.
        keys = np.concatenate([keys, random.random(len(batch))])
        kept = np.concatenate([kept, batch])
        number = np.concatenate([number, total + np.arange(len(batch))])
        total += len(batch)
        if len(keys) > rows:
            smallest = np.argpartition(keys, rows - 1)[:rows]
            keys, kept, number = keys[smallest], kept[smallest], number[smallest]
    return kept[np.argsort(number)].tolist(), total


def decode(records: Sequence[bytes]) -> pa.RecordBatch:
    """tf.Examples as columns of large lists, null where a feature is absent."""
    return example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(list(records))


def encode(batch: pa.RecordBatch) -> list[bytes]:
    """The inverse of `decode`."""
    return list(example_coder.RecordBatchToExamplesEncoder().encode(batch)) if batch.num_rows else []


def first_values(batch: pa.RecordBatch, name: str) -> list[float | bytes | int | None]:
    """The first value of each list of a column; None where there is none, or no such column."""
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    return [values[0] if values else None for values in batch.column(name).to_pylist()]
