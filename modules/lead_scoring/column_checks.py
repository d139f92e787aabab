"""Columns that cannot teach a booster anything: constant, nearly all missing, or the same as an earlier one.

Everything is exact over all rows and read in one pass, whose memory does not grow with them: first values, counts and
a cryptographic digest of every column. Only columns of the same order are proposed by a sample of the rows, and then
confirmed on all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modules.lead_scoring.matrix import Spool

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ColumnFacts:
    """What one pass over n rows says about F columns.

    Attributes:
      rows: n.
      first: float32 [F], value of the first row.
      constant: bool [F], whether all rows have it; missing is a value like any other.
      missing: float64 [F], share of rows without a value, 0-1.
      digests: bytes [F]; equal for equal columns only.
    """

    rows: int
    first: Floats
    constant: NDArray[np.bool_]
    missing: NDArray[np.float64]
    digests: tuple[bytes, ...]


def column_facts(spool: Spool, width: int) -> ColumnFacts:
    """One pass over the rows of a spool with `width` columns."""
    digests = [hashlib.blake2b(digest_size=16) for _ in range(width)]
    first = np.full(width, np.nan, np.float32)
    constant, missing, rows = np.ones(width, np.bool_), np.zeros(width, np.int64), 0
    for batch in spool:
        if not len(batch):
            continue
        # One NaN for all NaNs, one zero for both zeros, one run of memory for each column.
        columns = np.ascontiguousarray(batch.T) + np.float32(0)
        gaps = np.isnan(columns)
        columns[gaps] = np.nan
        if not rows:
            first = columns[:, 0].copy()
        bits = columns.view(np.uint32)
        constant &= (bits == first.view(np.uint32)[:, None]).all(axis=1)
        missing += gaps.sum(axis=1)
        rows += len(batch)
        for digest, column in zip(digests, columns, strict=True):
            digest.update(column.data)
    return ColumnFacts(rows, first, constant, missing / max(rows, 1), tuple(d.digest() for d in digests))


def sample_rows(spool: Spool, rows: NDArray[np.int64], columns: Sequence[int]) -> Floats:
    """Some rows, by ascending number, of some columns; float32 [rows, columns]."""
    parts, start = [np.zeros((0, len(columns)), np.float32)], 0
    at = np.asarray(columns, np.intp)
    for batch in spool:
        low, high = np.searchsorted(rows, (start, start + len(batch)))
        parts.append(batch[rows[low:high] - start][:, at])
        start += len(batch)
    return np.concatenate(parts)


def same_order(
    spool: Spool, sample: Floats, columns: Sequence[int], constraints: Sequence[int], complete: bool
) -> dict[int, int]:
    """Columns that a strictly monotone map of an earlier one gives; trees cut both at the same rows.

    A falling map counts, too. Columns with different monotone constraints are never the same.

    Args:
      spool: all rows.
      sample: float32 [rows, C], some of them, of these columns.
      columns: where the C columns stand in the spool.
      constraints: -1, 0 or 1 for each of them.
      complete: whether the sample holds all rows, so that there is nothing to confirm.

    Returns:
      By place among the C columns, the place of the earliest column that it repeats.
    """
    candidates: dict[int, tuple[int, int]] = {}
    seen: dict[tuple[bytes, int], tuple[int, int]] = {}
    for place in range(len(columns)):
        digest, direction = _order(sample[:, place])
        if not direction:
            continue
        key = (digest, direction * constraints[place])
        if key in seen:
            earliest, its_direction = seen[key]
            candidates[place] = (earliest, direction * its_direction)
        else:
            seen[key] = (place, direction)
    if candidates and not complete:
        candidates = _confirmed(spool, sample, columns, candidates)
    return {place: earliest for place, (earliest, _) in candidates.items()}


def _order(values: Floats) -> tuple[bytes, int]:
    """A digest that is equal for values of the same order, or of opposite orders, and the direction, 1 or -1.

    The direction is 0 for values without an order: fewer than two different ones.
    """
    gaps = np.isnan(values)
    distinct, ranks = np.unique(values[~gaps], return_inverse=True)
    if len(distinct) < 2:
        return b"", 0
    last = len(distinct) - 1
    mirrored = ranks[ranks * 2 != last]
    direction = 1 if not len(mirrored) or mirrored[0] * 2 < last else -1
    codes = np.full(len(values), -1, np.int64)
    codes[~gaps] = ranks if direction > 0 else last - ranks
    return hashlib.blake2b(codes.data, digest_size=16).digest(), direction


def _confirmed(
    spool: Spool, sample: Floats, columns: Sequence[int], candidates: dict[int, tuple[int, int]]
) -> dict[int, tuple[int, int]]:
    """Those candidates (place: earliest, relative direction) that stand between the same sampled values in all rows."""
    knots = {
        place: np.unique(sample[:, place][~np.isnan(sample[:, place])])
        for place in {p for place, (earliest, _) in candidates.items() for p in (place, earliest)}
    }

    def between(values: Floats, at: Floats) -> NDArray[np.int64]:
        found = np.searchsorted(at, values, "left") + np.searchsorted(at, values, "right")
        return np.where(np.isnan(values), -1, found)

    left = dict(candidates)
    for batch in spool:
        for place, (earliest, direction) in list(left.items()):
            a, b = batch[:, columns[earliest]], batch[:, columns[place]]
            there, here = between(a, knots[earliest]), between(b, knots[place])
            if direction < 0:
                here = np.where(here < 0, here, 2 * len(knots[place]) - here)
            if not np.array_equal(there, here):
                del left[place]
        if not left:
            break
    return left
