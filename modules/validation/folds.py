"""Which part of which fold a row belongs to: a pure function of its id, class, group and time.

No order of files or rows matters, and nothing is drawn: a row's place follows from a keyed hash of its id. Like
scikit-learn's KFold, StratifiedKFold, GroupKFold and TimeSeriesSplit, with what those leave to the order of rows
decided by the hash; rows that share an id (and a class, when stratified) are never separated.

Within a fold, the rows that stop the training early (validation) and that calibrate are taken from its training rows,
never from what is held out: at random by another hash, of the group where there are groups, or as the newest ones.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modules.errors import DataError
from modules.ingest.hashing import mix64
from modules.validation.settings import ValidationSettings

PARTS = ("train", "validation", "calibration", "held_out")
TRAIN, VALIDATION, CALIBRATION, HELD_OUT = range(4)
LEFT_OUT = -1

SECONDS_PER_DAY = 86_400
_CUT, _INNER = 1, 2

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class RowKeys:
    """What decides where n rows go; what a method does not look at may be None.

    Attributes:
      hashes: uint64 [n], of the ids.
      labels: int [n], the class; method stratified.
      groups: uint64 [n], hash of the group's value; method group.
      times: int64 [n], seconds since 1970 UTC; method time.
    """

    hashes: Hashes
    labels: NDArray[np.int64] | None = None
    groups: Hashes | None = None
    times: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True)
class Inner:
    """How a fold's training rows are divided.

    Attributes:
      validation: share of them that stops the training early, 0-1.
      calibration: share of them that calibrates, 0-1.
      newest: method time only: the newest of the training rows calibrate, the ones before them stop the training,
        instead of rows at random.
    """

    validation: float
    calibration: float
    newest: bool = False


def assign(settings: ValidationSettings, rows: RowKeys, inner: Inner, repeat: int = 0) -> NDArray[np.int8]:
    """Part of every row in every fold of one repeat.

    Args:
      settings: with a number of folds k.
      rows: n rows.
      inner: how training rows are divided.
      repeat: 0 to repeats - 1; another one, other folds.

    Returns:
      int8 [n, k]: index into PARTS, or LEFT_OUT.

    Raises:
      DataError: there are fewer distinct ids, groups, times or rows of a class than folds.
    """
    k = settings.folds or 1
    seed = settings.seed + repeat
    if settings.method == "time":
        assert rows.times is not None
        held_out, train = _chain(rows.times, k, math.ceil(settings.gap_days * SECONDS_PER_DAY))
    else:
        fold = fold_of(settings, rows, repeat)
        held_out = fold[:, None] == np.arange(k)
        train = ~held_out
    parts = np.full((len(rows), k), LEFT_OUT, np.int8)
    units = _keyed(rows.hashes if rows.groups is None else rows.groups, seed, _INNER)
    by_hash = _inner_by_hash(units, inner)
    for j in range(k):
        mine = train[:, j]
        if rows.groups is not None:
            parts[mine, j] = _inner_by_group(units[mine], inner)
        elif inner.newest and rows.times is not None:
            parts[mine, j] = _inner_by_time(rows.times[mine], inner)
        else:
            parts[mine, j] = by_hash[mine]
    parts[held_out] = HELD_OUT
    return parts


def fold_of(settings: ValidationSettings, rows: RowKeys, repeat: int = 0) -> NDArray[np.intp]:
    """The fold, 0 to k - 1, that holds out each row [n]: methods random, stratified and group.

    random and stratified: rows (of a class) in order of their hashes are cut into k runs whose lengths differ by one
    at most. group: whole groups, the largest first, each to the fold that has the fewest rows so far.
    """
    k, seed = settings.folds or 1, settings.seed + repeat
    if settings.method == "group":
        assert rows.groups is not None
        return _balanced(_keyed(rows.groups, seed, _CUT), k)
    hashes = _keyed(rows.hashes, seed, _CUT)
    if settings.method == "random":
        return _runs(hashes, k, 0, "rows")
    assert rows.labels is not None
    fold = np.zeros(len(rows), np.intp)
    begin = 0
    for label in np.unique(rows.labels):
        mine = rows.labels == label
        # The longer runs of one class go to other folds than those of the last: folds are of equal length, too.
        fold[mine] = _runs(hashes[mine], k, begin, f"rows with label {label}")
        begin += int(mine.sum()) % k
    return fold


def _keyed(hashes: Hashes, seed: int, purpose: int) -> Hashes:
    """Other hashes for another seed or purpose; distinct ones stay distinct."""
    key = mix64(mix64(np.array([seed], np.uint64)) ^ np.uint64(purpose))
    return mix64(hashes ^ key[0])


def _runs(hashes: Hashes, k: int, begin: int, what: str) -> NDArray[np.intp]:
    """Cuts the hashes in order into k runs; the `len % k` longer ones are those of folds begin, begin + 1, ..."""
    ordered = np.sort(hashes)
    n = len(ordered)
    sizes = np.full(k, n // k)
    sizes[(begin + np.arange(n % k)) % k] += 1
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    if n < k or len(np.unique(ordered[starts])) < k:
        raise DataError(f"{k} folds need {k} {what} with different ids at least; there are {len(np.unique(ordered))}")
    # Equal hashes stay together: a run begins with the first of them.
    return np.searchsorted(ordered[starts], hashes, side="right") - 1


def _balanced(groups: Hashes, k: int) -> NDArray[np.intp]:
    distinct, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(distinct) < k:
        raise DataError(f"{k} folds need {k} groups at least; there are {len(distinct)}")
    # Sorting is stable, and the groups are in order of their hashes: ties follow the hash.
    order = np.argsort(-sizes, kind="stable")
    lightest = [(0, j) for j in range(k)]
    fold = np.zeros(len(distinct), np.intp)
    for group, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        rows, j = lightest[0]
        fold[group] = j
        heapq.heapreplace(lightest, (rows + size, j))
    return fold[place]


def _chain(times: NDArray[np.int64], k: int, gap: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Forward chaining: k + 1 blocks; fold j holds out block j + 1 and trains on what lies `gap` seconds before it."""
    distinct, counts = np.unique(times, return_counts=True)
    n, m = len(times), len(distinct)
    if m <= k:
        raise DataError(f"{k} folds by time need rows of {k + 1} different times at least; there are {m}")
    # As TimeSeriesSplit: the blocks held out are of equal length, what is left over belongs to the first. Where one
    # time has more rows than a block, the next block begins with the time after it.
    size = n // (k + 1)
    first = np.searchsorted(np.cumsum(counts), n - size * np.arange(k, 0, -1), side="right")
    step = np.arange(k)
    first = np.maximum.accumulate(np.maximum(first, 1) - step) + step
    starts = distinct[np.minimum(first, m - k + step)]
    block = np.searchsorted(starts, times, side="right")
    held_out = block[:, None] == np.arange(1, k + 1)
    train = times[:, None] < starts - gap
    empty = np.flatnonzero(~train.any(axis=0))
    if len(empty):
        raise DataError(
            f"fold {empty[0] + 1} of {k} has no rows to train on: gap_days leaves out all that came before the rows "
            f"held out. Ask for fewer folds or a shorter gap."
        )
    return held_out, train


def _inner_by_hash(hashes: Hashes, inner: Inner) -> NDArray[np.int8]:
    calibration, validation = (
        np.uint64(min(int(share * 2**64), 2**64 - 1))
        for share in (inner.calibration, inner.calibration + inner.validation)
    )
    return np.select([hashes < calibration, hashes < validation], [CALIBRATION, VALIDATION], TRAIN).astype(np.int8)


def _inner_by_group(groups: Hashes, inner: Inner) -> NDArray[np.int8]:
    """Whole groups in order of their hashes: to calibration until its share of the rows is reached, and so on."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    before = np.cumsum(sizes) - sizes
    calibration = before < inner.calibration * len(groups)
    taken = int(sizes[calibration].sum())
    validation = ~calibration & (before < taken + inner.validation * len(groups))
    return np.select([calibration, validation], [CALIBRATION, VALIDATION], TRAIN).astype(np.int8)[place]


def _inner_by_time(times: NDArray[np.int64], inner: Inner) -> NDArray[np.int8]:
    ordered = np.sort(times)
    n = len(ordered)
    part = np.full(n, TRAIN, np.int8)
    for share, which in ((inner.calibration + inner.validation, VALIDATION), (inner.calibration, CALIBRATION)):
        first = math.ceil(n * (1 - share) - 1e-9)
        if first < n:
            part[times >= ordered[first]] = which
    return part
