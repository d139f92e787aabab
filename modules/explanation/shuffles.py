"""Rows whose values of one feature, or of one attribute of events, are shuffled: everything else stays what it is."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modules.journeys import names

ORDER = "order"
"""What the order of events is called among their attributes."""


def generator(seed: int, name: str, repeat: int) -> np.random.Generator:
    """Random numbers of their own for each feature and repeat, whatever else is shuffled."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), repeat])


def shuffle_rows(batch: pa.RecordBatch, name: str, random: np.random.Generator) -> pa.RecordBatch:
    """A feature's values, missing ones too, dealt out to the rows anew."""
    if name not in batch.schema.names:
        return batch
    return _with(batch, {name: batch.column(name).take(pa.array(random.permutation(batch.num_rows)))})


def shuffle_events(batch: pa.RecordBatch, attribute: str, random: np.random.Generator) -> pa.RecordBatch:
    """An attribute of all events of all rows, dealt out to the events anew; histories keep their lengths.

    time: what is dealt out are the gaps between successive events of a row, so that times still ascend; rows with an
    unknown time stay as they are. order: each row's events change places among its times, with all their attributes.

    Args:
      batch: decisions, see modules/journeys/names.py.
      attribute: `action`, the name of an event feature, `time` or `order`.
      random: source of the order.
    """
    if attribute == ORDER:
        return _reordered(batch, random)
    column = names.history(attribute)
    if column not in batch.schema.names:
        return batch
    values, offsets, valid = _parts(batch.column(column))
    if column == names.HISTORY_TIME:
        times = values.to_numpy(zero_copy_only=False)
        return _with(batch, {column: _list(pa.array(_other_gaps(times, offsets, random)), offsets, valid)})
    order = pa.array(random.permutation(len(values)))
    return _with(batch, {column: _list(values.take(order), offsets, valid)})


def _other_gaps(times: NDArray[np.int64], offsets: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    lengths = np.diff(offsets)
    row = np.repeat(np.arange(len(lengths)), lengths)
    known = np.ones(len(lengths), bool)
    known[row[times <= 0]] = False
    first = np.zeros(len(times), bool)
    first[offsets[:-1][lengths > 0]] = True
    gaps = np.diff(times, prepend=0)
    dealt = np.flatnonzero(~first & known[row])
    steps = np.where(first, times, gaps)
    steps[dealt] = gaps[dealt][random.permutation(len(dealt))]
    # Sums that begin anew at each row's first event.
    total = np.cumsum(steps)
    before = (total - steps)[offsets[:-1][row]] if len(row) else total
    return np.where(known[row], total - before, times)


def _reordered(batch: pa.RecordBatch, random: np.random.Generator) -> pa.RecordBatch:
    lists = [n for n in batch.schema.names if n.startswith(names.HISTORY_PREFIX) and n != names.HISTORY_LENGTH]
    if names.HISTORY_ACTION not in lists:
        return batch
    _, offsets, _ = _parts(batch.column(names.HISTORY_ACTION))
    row = np.repeat(np.arange(batch.num_rows), np.diff(offsets))
    order = np.lexsort((random.random(len(row)), row))
    changed = {}
    for name in lists:
        values, own, valid = _parts(batch.column(name))
        # A list that is not as long as the list of actions has no entry for each event to go along with it.
        if name != names.HISTORY_TIME and np.array_equal(own, offsets):
            changed[name] = _list(values.take(pa.array(order)), offsets, valid)
    return _with(batch, changed)


def _parts(column: pa.Array) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.bool_]]:
    """Values of lists one after the other, offsets [n + 1], and which rows have the feature [n]."""
    lengths = np.asarray(column.value_lengths().fill_null(0)).astype(np.int64)
    return column.flatten(), np.concatenate([[0], np.cumsum(lengths)]), np.asarray(column.is_valid())


def _list(values: pa.Array, offsets: NDArray[np.int64], valid: NDArray[np.bool_]) -> pa.Array:
    mask = None if valid.all() else pa.array(~valid)
    return pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=mask)


def _with(batch: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    arrays = [columns.get(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
