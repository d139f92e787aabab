"""The single demands on a model's answers, as pure functions over arrays. Each returns None or what is wrong."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

Outputs = Mapping[str, np.ndarray]


def batch_fault(outputs: Outputs, rows: int) -> str | None:
    """Every output has one entry per row."""
    for key, value in sorted(outputs.items()):
        if value.ndim < 1 or value.shape[0] != rows:
            return f"{key}: expected {rows} rows, received shape {value.shape}"
    return None


def finite_fault(outputs: Outputs) -> str | None:
    """No NaN and no infinity."""
    for key, value in sorted(outputs.items()):
        if np.issubdtype(value.dtype, np.floating):
            bad = int(np.size(value) - np.isfinite(value).sum())
            if bad:
                return f"{key}: {bad} of {value.size} values are not finite"
    return None


def range_fault(outputs: Outputs, ranges: Mapping[str, tuple[float, float]]) -> str | None:
    """Outputs with a declared range keep to it."""
    for key, (low, high) in sorted(ranges.items()):
        value = outputs.get(key)
        if value is None or not value.size or not np.issubdtype(value.dtype, np.number):
            continue
        if np.any(value < low) or np.any(value > high):
            return f"{key}: expected {low:g} to {high:g}, received {np.nanmin(value):.6g} to {np.nanmax(value):.6g}"
    return None


def ascending_fault(outputs: Outputs, keys: Sequence[str], tolerance: float) -> str | None:
    """Outputs never decrease in this order; does not apply where one is absent."""
    if any(key not in outputs for key in keys):
        return None
    for lower, upper in itertools.pairwise(keys):
        low, high = outputs[lower].reshape(-1), outputs[upper].reshape(-1)
        wrong = np.flatnonzero(low > high + tolerance)
        if len(wrong):
            row = wrong[0]
            return f"{lower} {low[row]:.6g} above {upper} {high[row]:.6g} in {len(wrong)} of {len(low)} rows"
    return None


def sum_fault(outputs: Outputs, parts: str, base: str, whole: str, tolerance: float) -> str | None:
    """`base` `[n]` and the rows of `parts` `[n, k]` add up to `whole` `[n]`; does not apply where one is absent."""
    if any(key not in outputs for key in (parts, base, whole)):
        return None
    total = outputs[base].astype(np.float64) + outputs[parts].astype(np.float64).sum(axis=1)
    gap = np.abs(total - outputs[whole])
    wrong = np.flatnonzero(~(gap <= tolerance))
    if not len(wrong):
        return None
    row = wrong[0]
    return f"{base} and {parts} sum to {total[row]:.6g} where {whole} is {outputs[whole][row]:.6g}"


def difference_fault(a: Outputs, b: Outputs, tolerance: float, floats_only: bool = False) -> str | None:
    """Outputs of the same name are equal: |a - b| / max(1, |b|) within the tolerance, strings exactly."""
    common = sorted(a.keys() & b.keys())
    if not common:
        return f"no output in common: {sorted(a)} and {sorted(b)}"
    for key in common:
        fault = array_fault(a[key], b[key], tolerance, floats_only)
        if fault:
            return f"{key}: {fault}"
    return None


def array_fault(a: np.ndarray, b: np.ndarray, tolerance: float, floats_only: bool = False) -> str | None:
    """As `difference_fault`, for one output."""
    if a.shape != b.shape:
        return f"shapes {a.shape} and {b.shape} differ"
    if not a.size:
        return None
    if not np.issubdtype(a.dtype, np.number):
        different = 0 if floats_only else int(np.sum(a != b))
        return f"{different} of {a.size} values differ" if different else None
    gap = np.abs(a.astype(np.float64) - b.astype(np.float64)) / np.maximum(1, np.abs(b.astype(np.float64)))
    # Equal infinities and NaNs on both sides are for finite_fault to report.
    gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, gap)
    worst = float(np.nan_to_num(gap, nan=np.inf).max())
    return f"differs by {worst:.2g}, at most {tolerance:g} allowed" if worst > tolerance else None


def pick(results: Mapping[str, Outputs], path: str) -> np.ndarray | None:
    """The values `signature:output` or `signature:output[column]` names, float64 `[rows]`; None without the signature.

    Raises:
      ValueError: the signature has no such output or column.
    """
    match = re.fullmatch(r"([^:]+):([^\[\]]+)(?:\[(\d+)\])?", path)
    if not match:
        raise ValueError(f"expected signature:output or signature:output[column], received {path!r}")
    signature, output, column = match.groups()
    if signature not in results:
        return None
    value = results[signature].get(output)
    if value is None:
        raise ValueError(f"signature {signature!r} has no output {output!r}, only {sorted(results[signature])}")
    flat = value.reshape(len(value), -1).astype(np.float64) if len(value) else np.zeros((0, 1))
    index = int(column or 0)
    if len(value) and (index >= flat.shape[1] or (column is None and flat.shape[1] != 1)):
        raise ValueError(f"{path}: the output has {flat.shape[1]} columns")
    return flat[:, index] if len(value) else flat[:, 0]
