"""Sums over decisions: rows, groups, merging in any order."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.evaluation import histogram
from modules.evaluation import next_action_statistics as statistics

COUNTS = tuple(name for name in statistics.SUMS if name not in ("reciprocal_rank", "ndcg_at_5", "log_loss"))


def random_table(rows: int, seed: int = 0, actions: int = 4) -> np.ndarray:
    """Decisions with ties, unknown actions and outcomes, and histories without a length."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(actions), rows).round(1).astype(np.float32)
    return statistics.rows_of(
        random.integers(-1, actions, rows),
        probabilities,
        random.random((rows, actions), np.float32).round(1),
        random.choice([0, 1, np.nan], rows),
        random.choice([0, 1, 2, 7, np.nan], rows),
        random.integers(-1, actions, (rows, 3)),
    )


def assert_same(left: statistics.ActionStatistics, right: statistics.ActionStatistics) -> None:
    def rows(counts, size):
        return np.pad(counts, ((0, size - len(counts)), (0, 0)))

    for name in COUNTS:
        assert left.total(name) == right.total(name), name
    np.testing.assert_allclose(left.sums, right.sums, rtol=1e-12)
    for kind in ("classes", "lengths"):
        ours, theirs = getattr(left, kind), getattr(right, kind)
        size = max(len(ours), len(theirs))
        np.testing.assert_array_equal(rows(ours, size), rows(theirs, size))
    np.testing.assert_allclose(left.reliability, right.reliability, rtol=1e-12)
    confusions = [np.argwhere(s.confusion).tolist() for s in (left, right)]
    assert confusions[0] == confusions[1]
    assert left.confusion[left.confusion > 0].tolist() == right.confusion[right.confusion > 0].tolist()
    np.testing.assert_array_equal(left.conversion.keys, right.conversion.keys)
    np.testing.assert_array_equal(left.conversion.positives, right.conversion.positives)
    np.testing.assert_array_equal(left.conversion.negatives, right.conversion.negatives)


def test_rows_hold_rank_and_probability_of_the_label_by_hand():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1]], np.float32)
    conversion = np.array([[0.1, 0.2, 0.3]] * 4, np.float32)
    table = statistics.rows_of(
        np.array([2, 0, 1, -1]),
        probabilities,
        conversion,
        np.array([1, 0, np.nan, 1]),
        np.arange(4.0),
        np.zeros((4, 3)),
    )
    row = dict(zip(statistics.COLUMNS, table.T, strict=True))
    # Equally probable actions rank in vocabulary order: 2 comes after 1, 0 before it.
    assert row["rank"].tolist() == [3, 2, 1, np.inf]
    assert row["predicted"].tolist() == [0, 2, 1, 1]
    np.testing.assert_allclose(row["probability"], [0.25, 0.25, 0.7, 0])
    np.testing.assert_allclose(row["top_probability"], [0.5, 0.5, 0.7, 0.7])
    np.testing.assert_allclose(row["conversion"], [0.3, 0.1, 0.2, np.nan])


def test_equally_probable_actions_are_first_only_once():
    table = statistics.rows_of(
        np.arange(3), np.full((3, 3), 1 / 3), np.zeros((3, 3)), np.full(3, np.nan), np.zeros(3), np.zeros((3, 3))
    )
    assert table[:, statistics.COLUMNS.index("rank")].tolist() == [1, 2, 3]
    assert statistics.build(table).total("model_correct") == 1


def test_counts_by_action_and_length_by_hand():
    one_hot = np.eye(2, dtype=np.float32)[[0, 0, 1]]
    table = statistics.rows_of(
        np.array([0, 1, -1]),
        one_hot,
        one_hot / 2,
        np.array([1, 0, 1]),
        np.array([2, 2, np.nan]),
        np.array([[0, 1, -1], [0, 1, -1], [0, 1, -1]]),
    )
    built = statistics.build(table)
    assert built.by_class("label").tolist() == [1, 1, 1]
    assert built.by_class("model_predicted").tolist() == [0, 2, 1]
    assert built.by_class("model_correct").tolist() == [0, 1, 0]
    assert built.by_class("majority_correct").tolist() == [0, 1, 0]
    assert built.by_class("last_action_correct").tolist() == [0, 0, 1]
    # A baseline without a prediction is not right about an action without a name.
    assert built.by_class("prefix_predicted").tolist() == [3, 0, 0]
    assert built.by_class("prefix_correct").tolist() == [0, 0, 0]
    assert built.lengths.tolist() == [[0, 0], [0, 0], [2, 1]]
    # Certain predictions belong to the last interval.
    assert built.reliability[-1].tolist() == [3, 3, 1]
    assert built.reliability[:-1].sum() == 0
    # The third action is unknown, so nobody knows its conversion probability.
    assert built.conversion.predictions().tolist() == [0.0, 0.5]
    assert built.conversion.positives.tolist() == [0, 1]
    assert built.conversion.negatives.tolist() == [1, 0]


def test_histories_longer_than_the_longest_share_its_count():
    table = random_table(3)
    table[:, statistics.COLUMNS.index("history_length")] = [statistics.LONGEST, 10**9, 0]
    lengths = statistics.build(table).lengths
    assert len(lengths) == statistics.LONGEST + 1
    assert lengths[[0, -1], 0].tolist() == [1, 2]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=5), st.integers(0, 99), st.randoms(use_true_random=False))
def test_merging_in_any_order_and_grouping_equals_building_at_once(sizes, seed, random):
    table = random_table(sum(sizes), seed)
    at_once = statistics.build(table)
    built = [statistics.build(part) for part in np.split(table, np.cumsum(sizes)[:-1])]
    assert_same(functools.reduce(statistics.merge, built), at_once)
    random.shuffle(built)
    assert_same(functools.reduce(lambda a, b: statistics.merge(b, a), built, statistics.empty()), at_once)
    builder = statistics.ActionBuilder()
    for part in built:
        builder.add(part)
    assert_same(builder.result(), at_once)


@pytest.mark.parametrize("block", [1, 100, 1 << 21])
def test_groups_equal_statistics_built_one_by_one(block, monkeypatch):
    monkeypatch.setattr(statistics, "_BLOCK", block)
    random = np.random.default_rng(1)
    table = random_table(300)
    rows, groups = random.integers(0, 300, 700), random.integers(0, 5, 700)
    built = statistics.build_groups(groups, 6, table, rows)
    assert len(built) == 6
    for group, part in enumerate(built):
        assert_same(part, statistics.build(table[rows[groups == group]]))
    assert built[5].total("count") == 0


def test_statistics_grow_with_actions_and_lengths_only():
    few, many = statistics.build(random_table(50)), statistics.build(random_table(20_000))
    assert few.classes.shape == many.classes.shape == (5, len(statistics.CLASS_COUNTS))
    assert few.lengths.shape == many.lengths.shape == (8, 2)
    assert many.conversion.keys.size <= 11


def test_statistics_survive_the_way_between_workers():
    built = statistics.build(random_table(100))
    assert_same(pickle.loads(pickle.dumps(built)), built)


def test_no_decisions_are_neutral():
    built = statistics.build(random_table(30))
    assert_same(statistics.merge(statistics.empty(), built), built)
    assert_same(statistics.build(random_table(0)), statistics.empty())
    assert histogram.merge([]).keys.size == 0


def test_confusion_counts_action_taken_by_action_predicted_and_folds_rare_actions_together():
    from sklearn.metrics import confusion_matrix

    table = random_table(500, seed=3, actions=6)
    built = statistics.build(table)
    expected = confusion_matrix(table[:, 0], table[:, 1], labels=range(-1, 6))
    np.testing.assert_array_equal(built.confusion, expected[: len(built.confusion), : len(built.confusion)])
    assert built.confusion.sum() == 500
    np.testing.assert_array_equal(built.confusion.sum(axis=1), built.by_class("label"))

    table = random_table(400, seed=3, actions=90)
    many = statistics.build(table).confusion
    assert many.shape == (statistics.MOST_CONFUSED, statistics.MOST_CONFUSED)
    assert many[-1].sum() == (table[:, 0] >= statistics.MOST_CONFUSED - 2).sum()
