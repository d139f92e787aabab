from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

from modules.errors import DataError
from modules.validation.folds import (
    CALIBRATION,
    HELD_OUT,
    LEFT_OUT,
    SECONDS_PER_DAY,
    TRAIN,
    VALIDATION,
    Inner,
    RowKeys,
    assign,
    fold_of,
)
from modules.validation.settings import ValidationSettings

INNER = Inner(validation=0.2, calibration=0.1)
seeds = st.integers(0, 2**32 - 1)


def hashes(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 2**64, n, dtype=np.uint64)


def sizes(fold: np.ndarray, k: int) -> list[int]:
    return sorted(np.bincount(fold, minlength=k).tolist())


def held_out_sizes(splits) -> list[int]:
    return sorted(len(test) for _, test in splits)


@given(n=st.integers(2, 400), k=st.integers(2, 10), seed=seeds)
def test_random_folds_are_as_large_as_those_of_kfold(n, k, seed):
    assume(n >= k)
    rows = RowKeys(hashes(np.random.default_rng(seed), n))
    fold = fold_of(ValidationSettings(folds=k, method="random"), rows)
    assert sizes(fold, k) == held_out_sizes(KFold(k).split(np.zeros(n)))


@given(positives=st.integers(2, 60), negatives=st.integers(2, 300), k=st.integers(2, 10), seed=seeds)
def test_stratified_folds_hold_the_shares_of_stratified_kfold(positives, negatives, k, seed):
    assume(min(positives, negatives) >= k)
    labels = np.repeat([1, 0], [positives, negatives])
    rows = RowKeys(hashes(np.random.default_rng(seed), len(labels)), labels=labels)
    fold = fold_of(ValidationSettings(folds=k), rows)
    expected = [test for _, test in StratifiedKFold(k).split(labels, labels)]
    for label in (0, 1):
        assert sizes(fold[labels == label], k) == sorted(int((labels[test] == label).sum()) for test in expected)
    assert sizes(fold, k) == sorted(map(len, expected))


@given(counts=st.lists(st.integers(1, 40), min_size=2, max_size=40), k=st.integers(2, 8), seed=seeds)
def test_group_folds_are_balanced_like_those_of_group_kfold(counts, k, seed):
    assume(len(counts) >= k)
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(hashes(rng, len(counts)), counts))
    rows = RowKeys(hashes(rng, len(groups)), groups=groups)
    fold = fold_of(ValidationSettings(folds=k, method="group", group="household"), rows)
    assert sizes(fold, k) == held_out_sizes(GroupKFold(k).split(groups, groups=groups))
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1


@given(n=st.integers(3, 300), k=st.integers(2, 10), seed=seeds)
def test_folds_by_time_are_those_of_time_series_split(n, k, seed):
    assume(n > k)
    rng = np.random.default_rng(seed)
    times = rng.permutation(np.arange(n) * 3600)
    parts = assign(ValidationSettings(folds=k, method="time"), RowKeys(hashes(rng, n), times=times), INNER)
    order = np.argsort(times)
    for j, (train, test) in enumerate(TimeSeriesSplit(k).split(np.zeros(n))):
        assert set(np.flatnonzero(parts[:, j] == HELD_OUT)) == set(order[test])
        assert set(np.flatnonzero((parts[:, j] >= 0) & (parts[:, j] != HELD_OUT))) == set(order[train])


@given(
    n=st.integers(8, 120),
    unit=st.sampled_from([1, SECONDS_PER_DAY, 5 * SECONDS_PER_DAY]),
    seed=seeds,
    k=st.integers(2, 5),
    gap=st.sampled_from([0.0, 0.5, 3.0, 10.0]),
    newest=st.booleans(),
)
def test_no_fold_trains_on_the_future_or_on_the_gap(n, unit, seed, k, gap, newest):
    times = np.random.default_rng(seed).integers(0, 60 * SECONDS_PER_DAY // unit, n) * unit
    rows = RowKeys(np.arange(n, dtype=np.uint64), times=times)
    settings = ValidationSettings(folds=k, method="time", gap_days=gap)
    try:
        parts = assign(settings, rows, Inner(0.2, 0.1, newest))
    except DataError:
        assume(False)
    seen = np.zeros(len(times), int)
    for part in parts.T:
        held_out = rows.times[part == HELD_OUT]
        learned = rows.times[(part != HELD_OUT) & (part != LEFT_OUT)]
        between = rows.times[part == LEFT_OUT]
        seen += part == HELD_OUT
        assert len(held_out) and len(learned)
        assert learned.max() < held_out.min() - gap * SECONDS_PER_DAY
        assert all(held_out.min() - gap * SECONDS_PER_DAY <= t < held_out.min() or t > held_out.max() for t in between)
        if newest:
            of = {p: rows.times[part == p] for p in (TRAIN, VALIDATION, CALIBRATION)}
            assert max(of[TRAIN], default=-1) < min(of[VALIDATION], default=1e12)
            assert max(of[VALIDATION], default=-1) < min(of[CALIBRATION], default=1e12)
    assert seen.max() == 1


@pytest.mark.parametrize("method", ["random", "stratified", "group"])
@given(n=st.integers(40, 200), k=st.integers(2, 6), seed=seeds, repeat=st.integers(0, 3))
def test_every_row_is_held_out_once_and_used_in_every_other_fold(method, n, k, seed, repeat):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 // 2
    groups = hashes(rng, 20)[np.arange(n) % 20]
    settings = ValidationSettings(folds=k, method=method, group="g" if method == "group" else None, repeats=4)
    rows = RowKeys(hashes(rng, n), labels, groups if method == "group" else None)
    parts = assign(settings, rows, INNER, repeat)
    assert ((parts == HELD_OUT).sum(axis=1) == 1).all()
    assert (parts != LEFT_OUT).all()
    if method == "group":
        for group in np.unique(groups):
            assert len(np.unique(parts[groups == group], axis=0)) == 1, "a group plays one part in each fold"


def test_folds_follow_ids_and_not_the_order_of_rows():
    rng = np.random.default_rng(0)
    rows = RowKeys(hashes(rng, 500), np.arange(500) % 4 // 3)
    order = rng.permutation(500)
    settings = ValidationSettings(folds=5)
    parts = assign(settings, rows, INNER)
    shuffled = assign(settings, RowKeys(rows.hashes[order], rows.labels[order]), INNER)
    np.testing.assert_array_equal(shuffled, parts[order])


def test_rows_with_one_id_are_never_separated():
    ids = np.repeat(hashes(np.random.default_rng(1), 60), 5)
    fold = fold_of(ValidationSettings(folds=7, method="random"), RowKeys(ids))
    assert all(len(set(fold[ids == i])) == 1 for i in ids)


def test_another_seed_and_another_repeat_cut_other_folds():
    rows = RowKeys(hashes(np.random.default_rng(2), 300))
    first = fold_of(ValidationSettings(folds=5, method="random"), rows)
    for other in (
        fold_of(ValidationSettings(folds=5, method="random", seed=1), rows),
        fold_of(ValidationSettings(folds=5, method="random", repeats=2), rows, repeat=1),
    ):
        # Two independent cuts agree on a fifth of the rows.
        assert 30 < (first == other).sum() < 90


def test_training_rows_are_divided_by_the_shares_asked_for():
    rows = RowKeys(hashes(np.random.default_rng(3), 20_000))
    parts = assign(ValidationSettings(folds=4, method="random"), rows, INNER)
    for part in parts.T:
        assert (part == HELD_OUT).sum() == 5000
        assert (part == VALIDATION).sum() == pytest.approx(3000, abs=150)
        assert (part == CALIBRATION).sum() == pytest.approx(1500, abs=110)
        assert (part == TRAIN).sum() == pytest.approx(10_500, abs=180)


def test_newest_training_rows_calibrate_where_the_dataset_says_so():
    rows = RowKeys(np.arange(40, dtype=np.uint64), times=np.arange(40))
    (first, second, third) = assign(ValidationSettings(folds=3, method="time"), rows, Inner(0.2, 0.1, newest=True)).T
    assert "".join("tvch."[p] for p in third) == "t" * 21 + "v" * 6 + "c" * 3 + "h" * 10
    assert "".join("tvch."[p] for p in first) == "t" * 7 + "v" * 2 + "c" + "h" * 10 + "." * 20
    assert (second == HELD_OUT).sum() == 10


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        ("random", RowKeys(np.zeros(50, np.uint64))),
        ("stratified", RowKeys(np.arange(50, dtype=np.uint64), np.repeat([0, 1], [48, 2]))),
        ("group", RowKeys(np.arange(50, dtype=np.uint64), groups=np.arange(50, dtype=np.uint64) % 2)),
        ("time", RowKeys(np.arange(50, dtype=np.uint64), times=np.arange(50) % 3)),
    ],
)
def test_fewer_ids_rows_groups_or_times_than_folds_are_refused(method, rows):
    settings = ValidationSettings(folds=3, method=method, group="g" if method == "group" else None)
    with pytest.raises(DataError, match="3 folds"):
        assign(settings, rows, INNER)


def test_a_time_with_more_rows_than_a_block_is_a_block_of_its_own():
    # Six months, one of which has most of the rows: it stays whole, and every fold still holds out something.
    times = np.repeat([1, 2, 3, 4, 5, 6], [5, 5, 60, 5, 5, 20])
    rows = RowKeys(np.arange(100, dtype=np.uint64), times=times)
    parts = assign(ValidationSettings(folds=4, method="time"), rows, INNER)
    assert [sorted(set(times[part == HELD_OUT].tolist())) for part in parts.T] == [[3], [4], [5], [6]]
    assert [set(times[(part >= 0) & (part != HELD_OUT)]) for part in parts.T] == [
        {1, 2},
        {1, 2, 3},
        {1, 2, 3, 4},
        {1, 2, 3, 4, 5},
    ]


def test_a_gap_that_leaves_nothing_to_train_on_is_refused():
    rows = RowKeys(np.arange(40, dtype=np.uint64), times=np.arange(40) * SECONDS_PER_DAY)
    with pytest.raises(DataError, match=r"fold 1 of 3.*gap_days"):
        assign(ValidationSettings(folds=3, method="time", gap_days=10), rows, INNER)
