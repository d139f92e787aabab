"""Decisions from files of tf.Examples through the Transform graph into arrays on disk."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from numpy.typing import NDArray

from modules.errors import DataError
from modules.journeys import names
from modules.recommendation.layout import Layout
from modules.recommendation.sequences import Sequences
from modules.recommendation.transform_layout import (
    EVENT_CODES,
    EVENT_NUMBERS,
    LEAD_CODES,
    LEAD_NUMBERS,
    LENGTH,
    START,
)
from modules.transform_batches import files_of, parse_raw, record_dataset

BATCH_ROWS = 4096

_OUTPUTS = (
    *(EVENT_CODES, EVENT_NUMBERS, LEAD_CODES, LEAD_NUMBERS, LENGTH, START),
    *(names.NEXT_ACTION, names.OUTCOME, names.TRAINING_POSITIONS, names.DECISION_TIME),
)


def read_sequences(
    patterns: Sequence[str],
    transform_output: tft.TFTransformOutput,
    layout: Layout,
    *,
    causal: bool,
    folder: Path | None = None,
) -> Sequences:
    """Reads the decisions of some files, in file order, in one pass.

    Args:
      patterns: file patterns of raw tf.Examples.
      transform_output: the Transform graph.
      layout: columns of its outputs, see transform_layout.py.
      causal: True keeps the rows that stand in causal training, with as many `positions` as they say; what the other
        rows hold is never parsed. False keeps every row, with one position: its own decision.
      folder: where the arrays lie on disk, the system's temporary folder by default. The files have no name there:
        their space is free again when the arrays are gone, whatever happens to the process.

    Returns:
      Read-only arrays mapped from disk, codes as int16 where all of them fit. `time` is the journey's start, or the
      time of the decision where the start is not known.

    Raises:
      DataError: no file matches, or `causal` and no row stands in causal training.
    """
    files = files_of(patterns)
    if not files:
        raise DataError(f"no examples at {', '.join(patterns)}; run the ingest again or correct the split names")
    codes = np.int16 if max(c.size for c in (*layout.event_codes, *layout.lead_codes)) <= 1 << 15 else np.int32
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "event_codes": ((layout.length, len(layout.event_codes)), codes),
        "event_numbers": ((layout.length, len(layout.event_numbers)), np.float32),
        "length": ((), np.int32),
        "lead_codes": ((len(layout.lead_codes),), codes),
        "lead_numbers": ((len(layout.lead_numbers),), np.float32),
        "next_action": ((), np.int32),
        "outcome": ((), np.float32),
        "positions": ((), np.int32),
        "time": ((), np.int64),
    }
    spools = {field.name: _Spool(*shapes[field.name], folder) for field in dataclasses.fields(Sequences)}
    rows = 0
    for batch in _batches(files, transform_output, causal):
        rows += len(batch["length"])
        for name, spool in spools.items():
            spool.append(batch[name])
    if causal and not rows:
        raise DataError(
            f"no example of {', '.join(patterns)} stands in causal training: `{names.TRAINING_POSITIONS}` above 0 was "
            "expected in some. Run the ingest again, or set `causal: false`."
        )
    return Sequences(**{name: spool.array() for name, spool in spools.items()})


def decisions(
    patterns: Sequence[str], transform_output: tft.TFTransformOutput, layout: Layout, *, folder: Path | None = None
) -> Sequences:
    """Every decision of some files, one position each: for validation, calibration and training that is not causal."""
    return read_sequences(patterns, transform_output, layout, causal=False, folder=folder)


def _batches(
    files: Sequence[str], transform_output: tft.TFTransformOutput, causal: bool
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Fields of Sequences, [rows, ...]."""
    spec = transform_output.raw_feature_spec()
    layer = transform_output.transform_features_layer()

    @tf.autograph.experimental.do_not_convert
    def transform(records: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = layer(parse_raw(records, spec))
        return {name: outputs[name] for name in _OUTPUTS if name in outputs}

    dataset = record_dataset(files, BATCH_ROWS)
    if causal:
        dataset = dataset.map(_in_causal_training, num_parallel_calls=2).rebatch(BATCH_ROWS)
    for found in dataset.map(transform, num_parallel_calls=2).prefetch(2).as_numpy_iterator():
        none = np.zeros(len(found[LENGTH]), np.int64)
        start = found[START]
        yield {
            **{name: found[name] for name in (EVENT_CODES, EVENT_NUMBERS, LEAD_CODES, LEAD_NUMBERS, LENGTH)},
            "next_action": found[names.NEXT_ACTION],
            "outcome": found.get(names.OUTCOME, np.full(len(none), np.nan, np.float32)),
            "positions": np.minimum(found[names.TRAINING_POSITIONS], found[LENGTH] + 1) if causal else none + 1,
            "time": np.where(start > 0, start, found.get(names.DECISION_TIME, none)),
        }


@tf.autograph.experimental.do_not_convert
def _in_causal_training(records: tf.Tensor) -> tf.Tensor:
    spec = {names.TRAINING_POSITIONS: tf.io.VarLenFeature(tf.int64)}
    cells = tf.io.parse_example(records, spec)[names.TRAINING_POSITIONS]
    return tf.gather(records, tf.boolean_mask(cells.indices[:, 0], cells.values > 0))


class _Spool:
    """Rows of one array on disk, as they come.

    Args:
      shape: of a row.
      dtype: of the array.
      folder: of the nameless file.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type, folder: Path | None) -> None:
        self._shape, self._dtype = shape, dtype
        self._rows = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def append(self, rows: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self._rows += len(rows)

    def array(self) -> NDArray[Any]:
        """All rows, [rows, ...], read-only; the spool takes no more."""
        shape = (self._rows, *self._shape)
        self._file.flush()
        if 0 in shape:
            found: NDArray[Any] = np.zeros(shape, self._dtype)
        else:
            # The mapping keeps the file's blocks alive after it is closed.
            found = np.asarray(np.memmap(self._file, self._dtype, "r", shape=shape))
        self._file.close()
        return found
