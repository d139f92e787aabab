"""Raw tf.Examples in files -> what decides their folds, and files by the parts they play.

Records are not taken apart to be copied: their lengths say where their frames lie in the TFRecord file, and whole
frames, checksums included, are gathered in Arrow.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import schema_pb2

from modules.errors import ConfigError
from modules.ingest.hashing import hash64
from modules.transform_batches import BATCH_ROWS, record_dataset
from modules.validation.folds import LEFT_OUT, PARTS, RowKeys

_FRAME_BYTES = 16
_HAS_GROUP = "has_group"
_TYPES = {schema_pb2.BYTES: tf.string, schema_pb2.INT: tf.int64, schema_pb2.FLOAT: tf.float32}


@dataclass(frozen=True)
class KeyColumns:
    """Names, in the tf.Examples, of what decides folds; None where the method does not ask."""

    id: str
    label: str | None = None
    group: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Scan:
    """What a first pass over files found.

    Attributes:
      files: in the order of the rows.
      keys: by row, over all files.
      lengths: int64 [rows] by file: bytes of each record.
    """

    files: tuple[str, ...]
    keys: RowKeys
    lengths: tuple[NDArray[np.int64], ...]


def scan(files: Sequence[str], schema: schema_pb2.Schema, columns: KeyColumns) -> Scan:
    """Reads the columns that decide folds; keeps a few numbers per row.

    Args:
      files: TFRecord files of tf.Examples, compressed if they end in .gz.
      schema: of the tf.Examples.
      columns: which ones to read.

    Raises:
      ConfigError: one of the columns is not in the schema.
    """
    types = {f.name: _TYPES.get(f.type, tf.string) for f in schema.feature}
    wanted = {name: getattr(columns, name) for name in ("id", "label", "group", "time") if getattr(columns, name)}
    for role, column in wanted.items():
        if column not in types:
            raise ConfigError(
                f"folds need the {role} column {column!r}, which the examples do not have; they have "
                f"{', '.join(sorted(types))}"
            )
    spec = {column: tf.io.VarLenFeature(types[column]) for column in wanted.values()}

    def read(records: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        parsed = tf.io.parse_example(records, spec)
        size = tf.shape(records)[0]
        values = {role: _first(parsed[column], size) for role, column in wanted.items()}
        if columns.group:
            values[_HAS_GROUP] = _present(parsed[columns.group], size)
        return tf.strings.length(records), values

    lengths: list[NDArray[np.int64]] = []
    parts: dict[str, list[NDArray[np.generic]]] = {role: [] for role in wanted}
    for file in files:
        sizes = [np.zeros(0, np.int64)]
        dataset = record_dataset([file]).map(read, num_parallel_calls=2, deterministic=True).prefetch(2)
        for length, values in dataset.as_numpy_iterator():
            sizes.append(length.astype(np.int64))
            values["id"] = _hash(values["id"])
            if columns.group:
                # A row without a group is a group of its own.
                values["group"] = np.where(values.pop(_HAS_GROUP), _hash(values["group"]), values["id"])
            for role, value in values.items():
                parts[role].append(value)
        lengths.append(np.concatenate(sizes))
    joined = {role: np.concatenate(values) if values else np.zeros(0, np.int64) for role, values in parts.items()}
    groups = joined["group"].astype(np.uint64) if "group" in joined else None
    keys = RowKeys(joined["id"].astype(np.uint64), joined.get("label"), groups, joined.get("time"))
    return Scan(tuple(files), keys, tuple(lengths))


def split(found: Scan, parts: NDArray[np.int8], folder: Path) -> list[dict[str, list[str]]]:
    """Writes every record once, beside those that play the same part in every fold.

    Args:
      found: from `scan`.
      parts: int8 [rows, k], from `modules.validation.folds.assign`.
      folder: for the files; created.

    Returns:
      By fold, the files by part; a part that nobody plays has none.
    """
    # Few distinct rows of `parts` exist: the folds times the parts, and some at the edges of blocks of time.
    kinds, kind = np.unique(parts, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"records-{i:04d}" for i in range(len(kinds))]
    used = [bool((k != LEFT_OUT).any()) for k in kinds]
    writers: list[BinaryIO | None] = [path.open("wb") if use else None for path, use in zip(paths, used, strict=True)]
    try:
        row = 0
        for file, lengths in zip(found.files, found.lengths, strict=True):
            for frames in _frames(file, lengths):
                mine = kind[row : row + len(frames)]
                row += len(frames)
                for i in np.unique(mine).tolist():
                    out = writers[i]
                    if out is not None:
                        # take() copies what it is asked for into a new buffer without gaps.
                        out.write(frames.take(pa.array(np.flatnonzero(mine == i))).buffers()[2])
    finally:
        for out in writers:
            if out is not None:
                out.close()
    return [
        {
            part: [str(path) for path, roles in zip(paths, kinds, strict=True) if roles[fold] == p]
            for p, part in enumerate(PARTS)
        }
        for fold in range(parts.shape[1])
    ]


def _frames(file: str, lengths: NDArray[np.int64]) -> Iterator[pa.LargeBinaryArray]:
    """The framed records of a file, some thousand at a time."""
    with gzip.open(file, "rb") if file.endswith(".gz") else Path(file).open("rb") as source:
        for start in range(0, len(lengths), BATCH_ROWS):
            offsets = np.concatenate([[0], np.cumsum(lengths[start : start + BATCH_ROWS] + _FRAME_BYTES)])
            data = source.read(int(offsets[-1]))
            buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(data)]
            yield pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _first(column: tf.SparseTensor, rows: tf.Tensor) -> tf.Tensor:
    """The first value of each row [n]; '' or 0 where there is none."""
    first = tf.equal(column.indices[:, 1], 0)
    values = tf.boolean_mask(column.values, first)
    at = tf.boolean_mask(column.indices[:, :1], first)
    return tf.tensor_scatter_nd_update(tf.zeros([rows], column.dtype), at, values)


def _present(column: tf.SparseTensor, rows: tf.Tensor) -> tf.Tensor:
    """bool [n]: whether a row has a value that is neither '' nor NaN."""
    values = column.values
    usable = tf.not_equal(values, "") if column.dtype == tf.string else tf.equal(values, values)
    at = tf.boolean_mask(column.indices[:, :1], usable)
    return tf.tensor_scatter_nd_update(tf.zeros([rows], tf.bool), at, tf.ones([tf.shape(at)[0]], tf.bool))


def _hash(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Hash of each value, bytes or numbers."""
    if values.dtype != object:
        # Numbers by their bytes, each as long as the next.
        width = values.dtype.itemsize
        values = np.ascontiguousarray(values)
        fixed = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(values), [None, pa.py_buffer(values.tobytes())]
        )
        return hash64(fixed.cast(pa.large_binary()))
    return hash64(pa.array(values, pa.large_binary()))
