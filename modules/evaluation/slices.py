"""Slices of a whole batch at once: what TFMA's SliceKeyExtractor does example by example, vectorised.

A slice is a tuple of (feature, value) pairs sorted by feature; the overall slice is the empty tuple. An example falls
into one slice per combination of its values of the features of a SlicingSpec; without a value of one of them it falls
into none. The keys equal those of TFMA, with one exception: a NaN is a missing value here, while TFMA makes a new slice
of every NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tensorflow_model_analysis.proto import config_pb2

from modules.errors import DataError

SliceValue = str | int | float
SliceKey = tuple[tuple[str, SliceValue], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class SliceMembers:
    """Which examples fall into which slices of one SlicingSpec.

    Attributes:
      keys: the slices that occur.
      rows: int64 [k], index of an example.
      groups: int64 [k], index into `keys` of the slice which the example is in.
    """

    keys: list[SliceKey]
    rows: np.ndarray
    groups: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Entries:
    """Values of one feature: `codes[i]` of example `rows[i]`, rows ascending, no pair twice."""

    rows: np.ndarray
    codes: np.ndarray
    values: list[Any]


def slice_members(
    features: Sequence[Mapping[str, Any]], num_examples: int, specs: Iterable[config_pb2.SlicingSpec]
) -> Iterator[SliceMembers]:
    """Yields the members of each spec.

    Args:
      features: batches of features in order of precedence, as TFMA extracts them: arrays [n] or [n, k], or TFMA's
        sparse and ragged values. A feature is read from the first that has it.
      num_examples: n.
      specs: what to slice by.

    Raises:
      DataError: a text value that is not UTF-8.
    """
    cache: dict[str, _Entries] = {}
    for spec in specs:
        rows = np.arange(num_examples)
        codes = np.zeros(num_examples, np.int64)
        parts: list[tuple[str, list[Any]]] = []
        for name in sorted({*spec.feature_keys, *spec.feature_values}):
            if name not in cache:
                cache[name] = _entries(name, features)
            entries = cache[name]
            if name in spec.feature_values:
                value = _typed(spec.feature_values[name])
                matching = np.array([_matches(value, candidate) for candidate in entries.values], dtype=bool)
                member = np.zeros(num_examples, dtype=bool)
                member[entries.rows[matching[entries.codes]]] = True
                rows, codes = rows[member[rows]], codes[member[rows]]
                parts.append((name, [value]))
            else:
                counts = np.bincount(entries.rows, minlength=num_examples)
                starts = np.cumsum(counts) - counts
                repeats = counts[rows]
                within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
                index = np.repeat(starts[rows], repeats) + within
                rows = np.repeat(rows, repeats)
                codes = np.repeat(codes, repeats) * max(len(entries.values), 1) + entries.codes[index]
                parts.append((name, [_readable(name, value) for value in entries.values]))
        distinct, groups = np.unique(codes, return_inverse=True)
        shape = [max(len(values), 1) for _, values in parts]
        columns = np.stack(np.unravel_index(distinct, shape), axis=1).tolist() if parts else [[]] * distinct.size
        keys = [tuple((name, values[i]) for (name, values), i in zip(parts, column, strict=True)) for column in columns]
        yield SliceMembers(keys, rows, groups)


def _entries(name: str, features: Sequence[Mapping[str, Any]]) -> _Entries:
    for batch in features:
        if batch.get(name) is not None:
            rows, values = coordinates(batch[name])
            break
    else:
        rows, values = np.zeros(0, np.int64), np.zeros(0)
    codes, distinct = pd.factorize(values)
    present = codes >= 0
    rows, codes = rows[present], codes[present].astype(np.int64)
    if rows.size and (np.diff(rows) <= 0).any():
        pairs = np.unique(rows * len(distinct) + codes)
        rows, codes = pairs // len(distinct), pairs % len(distinct)
    return _Entries(rows, codes, distinct.tolist())


def coordinates(value: Any) -> tuple[np.ndarray, np.ndarray]:
    """Index of the example and value, both [k], of every value in a batch of one feature."""
    if hasattr(value, "nested_row_splits"):
        splits = np.asarray(value.nested_row_splits[0])
        for inner in value.nested_row_splits[1:]:
            splits = np.asarray(inner)[splits]
        return np.repeat(np.arange(splits.size - 1), np.diff(splits)), np.asarray(value.values).ravel()
    if hasattr(value, "indices"):
        return np.asarray(value.indices)[:, 0].astype(np.int64), np.asarray(value.values)
    array = np.asarray(value)
    per_example = array.size // max(len(array), 1)
    return np.repeat(np.arange(len(array)), per_example), array.ravel()


def _typed(value: str) -> SliceValue:
    """TFMA's reading of a value in a SlicingSpec: an integer or a number if it looks like one."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value


def _matches(value: SliceValue, candidate: Any) -> bool:
    if isinstance(value, str):
        return candidate in (value, value.encode())
    return candidate in (value, str(value))


def _readable(name: str, value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"Slices are named by the values of a feature, which must be UTF-8 text, but {name!r} holds {value!r}. "
            "Leave the feature out of the slices or convert it at ingest."
        ) from error
