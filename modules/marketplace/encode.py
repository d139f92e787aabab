"""Columns as Arrow strings, and Arrow strings as CSV, without a Python object per cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SHARE_DECIMALS: Final = 5


def fixed_width(values: np.ndarray) -> pa.StringArray:
    """Strings that all fill their width: bytes [n] of dtype S{w} to Arrow, without a copy.

    Args:
      values: S{w} [n], ASCII, no padding.
    """
    width = values.dtype.itemsize
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(values)))


@cache
def _digits() -> np.ndarray:
    """000 to 999, S3 [1000]."""
    return np.array([f"{i:03d}" for i in range(1000)], dtype="S3")


@cache
def _seconds() -> np.ndarray:
    """Times of a day, S10 [86400]: T00:00:00Z to T23:59:59Z."""
    return np.array(
        [f"T{h:02d}:{m:02d}:{s:02d}Z" for h in range(24) for m in range(60) for s in range(60)], dtype="S10"
    )


@cache
def _shares() -> pa.StringArray:
    """0.00000 to 1.00000 in steps of 0.00001."""
    top = 10**SHARE_DECIMALS
    return pa.array([f"{i / top:.{SHARE_DECIMALS}f}" for i in range(top + 1)], pa.string())


def lead_ids(first: int, count: int) -> pa.StringArray:
    """L000000000, L000000001, ...: string [count], from number `first`."""
    number = np.arange(first, first + count)
    out = np.empty(count, dtype=[("l", "S1"), ("a", "S3"), ("b", "S3"), ("c", "S3")])
    out["l"] = b"L"
    digits = _digits()
    out["a"], out["b"], out["c"] = digits[number // 10**6], digits[number // 1000 % 1000], digits[number % 1000]
    return fixed_width(out.view("S10"))


def iso_times(seconds: np.ndarray) -> pa.StringArray:
    """2024-01-31T09:30:00Z, string [n], from int64 [n] seconds since 1970 UTC."""
    out = np.empty(len(seconds), dtype=[("day", "S10"), ("time", "S10")])
    days = seconds // 86400
    if len(days):
        first = days.min()
        names = np.datetime_as_string(np.arange(first, days.max() + 1).astype("datetime64[D]")).astype("S10")
        out["day"] = names[days - first]
    out["time"] = _seconds()[seconds % 86400]
    return fixed_width(out.view("S20"))


def shares(values: np.ndarray) -> pa.StringArray:
    """Probabilities with five decimals, string [n], from float [n] within 0-1."""
    return _shares().take(pa.array(np.rint(values * 10**SHARE_DECIMALS).astype(np.int32)))


def number(values: np.ndarray, decimals: int) -> pa.Array:
    """Numbers as Arrow: int64 when there are no decimals, float64 otherwise; NaN becomes null.

    Args:
      values: float64 [n].
      decimals: decimals the values are rounded to already.
    """
    missing = np.isnan(values)
    if decimals:
        return pa.array(values, mask=missing)
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)


def category(codes: np.ndarray, categories: Sequence[str]) -> pa.DictionaryArray:
    """Categories as an Arrow dictionary, from int [n] codes; a negative code becomes null."""
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int16), mask=codes < 0), pa.array(list(categories), pa.string())
    )


def text(column: pa.Array) -> pa.Array:
    """A column as CSV cells: string [n]; null stays null, numbers are written shortest."""
    if pa.types.is_dictionary(column.type):
        return column.dictionary.take(column.indices)
    return column if pa.types.is_string(column.type) else pc.cast(column, pa.string())


def quoted(column: pa.Array) -> pa.Array:
    """Cells in quotes; null stays null. The texts hold no quotes."""
    mark = pa.scalar('"')
    return pc.binary_join_element_wise(mark, column, mark, "")


def csv_lines(columns: Sequence[pa.Array]) -> memoryview:
    """Rows of a CSV: cells joined by commas, a line feed behind each row, null as an empty cell.

    Args:
      columns: string [n] each, quoted where their cells need it.

    Returns:
      The bytes of n lines.
    """
    rows = pc.binary_join_element_wise(*columns, ",", null_handling="replace", null_replacement="")
    lines = pc.binary_join_element_wise(rows, pa.scalar(""), "\n")
    if len(lines) == 0:
        return memoryview(b"")
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]]
