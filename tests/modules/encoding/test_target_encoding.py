from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import TargetEncoder
from tensorflow_transform.graph_context import TFGraphContext

from modules.encoding.target import (
    FIRST,
    MISSING,
    UNKNOWN,
    TargetCounts,
    TargetEncoding,
    TargetSpec,
    TargetTable,
    count_categories,
    fold_of,
    rates,
    read_table,
)
from modules.vocabulary import EMPTY_VOCABULARY


def counted(categories, ids, labels, spec, batches=1) -> list[pa.Table]:
    """What the analysis pass finds, in one batch or several."""
    analyzer = TargetCounts(spec)
    merge = analyzer.combiner()
    accumulator = merge.create_accumulator()
    for rows in np.array_split(np.arange(len(labels)), batches):
        columns = [tf.constant([c[i] for i in rows], tf.string) for c in (categories, ids)]
        reduced = analyzer.reduce(*columns, tf.constant([labels[i] for i in rows], tf.int64))
        accumulator = merge.add_input(accumulator, [t.numpy() for t in reduced])
    return merge.extract_output(accumulator)


def learned(folder, categories, ids, labels, spec) -> TargetTable:
    files = TargetCounts(spec).write(counted(categories, ids, labels, spec), str(folder), 0)
    return read_table(files, spec)


def encode(folder, categories, ids, labels, asked, spec, asked_ids=None):
    """Learns from the first three; served and, with ids, out-of-fold values of `asked`, float32 [n]."""
    table = learned(folder, categories, ids, labels, spec)

    @tf.function
    def run(column, leads):
        with TFGraphContext(tf.Module(), None, None):
            encoding = TargetEncoding([tf.expand_dims(column, 1)], [table])
        return encoding.served()[:, 0], encoding.out_of_fold(tf.expand_dims(leads, 1))[:, 0]

    leads = [b""] * len(asked) if asked_ids is None else asked_ids
    return [v.numpy() for v in run(tf.constant(asked, tf.string), tf.constant(leads, tf.string))]


def ids_by_fold(folds: int, each: int) -> list[list[bytes]]:
    """`each` ids of every fold."""
    ids = [b"lead %d" % i for i in range(40 * folds * each)]
    fold = fold_of(tf.constant(ids), folds).numpy()
    return [[ids[i] for i in np.flatnonzero(fold == k)[:each]] for k in range(folds)]


def test_values_by_hand(tmp_path):
    (a0, b0, c0), (a1, b1, c1) = ids_by_fold(2, 3)
    ids = [a0, b0, c0, a1, b1, c1, a0, a1]
    categories = [b"x", b"x", b"y", b"x", b"x", b"y", b"", b"z"]
    labels = [1, 0, 1, 1, 1, 0, 0, 0]
    # 4 of 8 converted, so the prior is 0.5 and weighs 2 rows. x: 3 of 4; y: 1 of 2; z: 0 of 1; missing: 0 of 1.
    asked = [b"x", b"y", b"z", b"", b"new"]
    served, first = encode(tmp_path, categories, ids, labels, asked, TargetSpec("f", 2.0, 2), [c0] * 5)
    _, second = encode(tmp_path, categories, ids, labels, asked, TargetSpec("f", 2.0, 2), [c1] * 5)
    np.testing.assert_array_equal(served, np.float32([4 / 6, 2 / 4, 1 / 3, 1 / 3, 0.5]))
    # For the first fold the second one counts: x 2 of 2, y 0 of 1, z 0 of 1, nothing of missing.
    np.testing.assert_array_equal(first, np.float32([3 / 4, 1 / 3, 1 / 3, 0.5, 0.5]))
    # For the second fold the first one: x 1 of 2, y 1 of 1, nothing of z, missing 0 of 1.
    np.testing.assert_array_equal(second, np.float32([2 / 4, 2 / 3, 0.5, 1 / 3, 0.5]))


def test_counts_by_hand_with_a_limit_and_a_minimum():
    (a,), (b,) = ids_by_fold(2, 1)
    categories = [b"x", b"x", b"y", b"y", b"y", b"w", b"w", b"rare", b"", b"a\nb", b"a\nb"]
    ids = [a, b, a, a, b, a, a, a, a, b, b]
    labels = [1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 1]
    (table,) = counted(categories, ids, labels, TargetSpec("f", 2.0, 2), batches=3)
    # By falling frequency, ties by falling bytes; x is cut off by the limit, a line break cannot stand in the file.
    found, rows = count_categories(table, TargetSpec("f", 2.0, 2, top_k=2, min_count=2))
    assert found == [b"y", b"x"] and rows.sum() == len(categories)
    np.testing.assert_array_equal(rows[FIRST], [[1, 1], [0, 1]])
    np.testing.assert_array_equal(rows[FIRST + 1], [[0, 1], [1, 0]])
    # One missing row is fewer than two. All that are not in use: w, w, rare, '', and the two with a line break.
    assert not rows[MISSING].any()
    np.testing.assert_array_equal(rows[UNKNOWN], [[2, 2], [0, 2]])
    found, rows = count_categories(table, TargetSpec("f", 2.0, 2))
    assert found == [b"y", b"x", b"w", b"rare"]
    np.testing.assert_array_equal(rows[MISSING], [[0, 1], [0, 0]])


def test_unknown_has_the_prior_however_much_is_counted_under_it():
    counts = np.zeros((3, 2, 2), np.int64)
    counts[UNKNOWN] = [[0, 90], [0, 10]]
    counts[FIRST] = [[60, 0], [40, 0]]
    served, out_of_fold = rates(counts, smoothing=0.0)
    np.testing.assert_array_equal(served, [0.5, 0.5, 0])
    np.testing.assert_array_equal(out_of_fold, [[0.5, 0.5], [0.5, 0.5], [0, 0]])


def test_without_rows_everything_is_zero(tmp_path):
    served, out_of_fold = encode(tmp_path, [], [], [], [b"x", b"", EMPTY_VOCABULARY], TargetSpec("f", 20.0))
    assert served.tolist() == out_of_fold.tolist() == [0, 0, 0]


def test_no_row_asked(tmp_path):
    served, out_of_fold = encode(tmp_path, [b"x"], [b"1"], [1], [], TargetSpec("f", 20.0))
    assert served.shape == out_of_fold.shape == (0,)


@pytest.mark.parametrize("smoothing", [0.0, 1.0, 20.0])
def test_served_values_equal_those_of_scikit_learn(tmp_path, smoothing):
    rng = np.random.default_rng(0)
    categories = np.array([b"c%d" % min(i, 40) for i in rng.geometric(0.1, 2000)], object)
    categories[rng.random(2000) < 0.1] = b""
    labels = (rng.random(2000) < 0.3).astype(np.int64)
    asked = [b"c%d" % i for i in range(60)] + [b""]
    served, _ = encode(
        tmp_path, categories, [b"%d" % i for i in range(2000)], labels, asked, TargetSpec("f", smoothing)
    )
    reference = TargetEncoder(target_type="binary", smooth=smoothing).fit(categories[:, None], labels)
    np.testing.assert_allclose(served, reference.transform(np.array(asked, object)[:, None])[:, 0], rtol=1e-6)


def test_values_out_of_fold_equal_those_of_scikit_learn_where_all_folds_have_the_same_rate(tmp_path):
    # Its prior is that of the other folds. With 60 of 200 rows converted in every fold it is ours.
    rng = np.random.default_rng(1)
    folds = 5
    ids = [lead for fold in ids_by_fold(folds, 200) for lead in fold]
    fold = np.repeat(np.arange(folds), 200)
    labels = np.concatenate([rng.permutation(np.arange(200) < 60) for _ in range(folds)]).astype(np.int64)
    categories = np.array([b"c%d" % c for c in rng.integers(0, 150, len(ids))], object)
    spec = TargetSpec("f", 10.0, folds)
    _, found = encode(tmp_path, categories, ids, labels, list(categories), spec, ids)
    for k in range(folds):
        others = TargetEncoder(target_type="binary", smooth=10.0).fit(categories[fold != k, None], labels[fold != k])
        expected = others.transform(categories[fold == k, None])[:, 0]
        np.testing.assert_allclose(found[fold == k], expected, rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_labels_of_a_fold_do_not_move_its_own_values(data):
    folds = data.draw(st.integers(2, 6))
    shape = (FIRST + data.draw(st.integers(1, 6)), folds, 2)
    cells = shape[0] * shape[1] * shape[2]
    counts = np.array(data.draw(st.lists(st.integers(0, 9), min_size=cells, max_size=cells))).reshape(shape)
    fold = data.draw(st.integers(0, folds - 1))
    # Labels change places within the fold; the number of conversions, and so the prior, stays.
    rows = counts[:, fold].sum(1)
    left = int(counts[:, fold, 1].sum())
    moved = counts.copy()
    for category in data.draw(st.permutations(range(shape[0]))):
        moved[category, fold, 1] = min(left, rows[category])
        moved[category, fold, 0] = rows[category] - moved[category, fold, 1]
        left -= moved[category, fold, 1]
    smoothing = data.draw(st.sampled_from([0.0, 0.5, 20.0]))
    served, out_of_fold = rates(counts, smoothing)
    _, found = rates(moved, smoothing)
    np.testing.assert_array_equal(found[:, fold], out_of_fold[:, fold])
    assert ((served >= 0) & (served <= 1)).all() and ((found >= 0) & (found <= 1)).all()


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 30), st.integers(0, 1)), max_size=40),
    batches=st.integers(1, 5),
)
def test_counts_equal_counting_row_by_row(rows, batches):
    categories, ids, labels = zip(*[(c, b"%d" % i, y) for c, i, y in rows], strict=True) if rows else ((), (), ())
    folds = 3
    spec = TargetSpec("f", 1.0, folds)
    found, counts = count_categories(*counted(categories, ids, labels, spec, batches), spec)
    fold = fold_of(tf.constant(list(ids), tf.string), folds).numpy()
    for place, category in [(MISSING, b""), *enumerate(found, FIRST)]:
        for k in range(folds):
            for label in (0, 1):
                expected = sum(
                    c == category and f == k and y == label for c, f, y in zip(categories, fold, labels, strict=True)
                )
                assert counts[place, k, label] == expected
    assert counts.sum() == len(rows)
    readable = {c for c in categories if c and b"\n" not in c and b"\r" not in c}
    assert set(found) == (readable or {EMPTY_VOCABULARY})


def test_folds_are_even_and_fixed():
    ids = tf.constant([b"L%d" % i for i in range(50_000)])
    folds = fold_of(ids, 5).numpy()
    # 10,000 each with a standard deviation of 89.
    assert abs(np.bincount(folds) - 10_000).max() < 400
    np.testing.assert_array_equal(fold_of(tf.constant([b"L1", b"", b"lead"]), 5).numpy(), [4, 0, 0])


def test_two_columns_lie_side_by_side(tmp_path):
    specs = [TargetSpec("f", 1.0, 2), TargetSpec("g", 3.0, 2)]
    columns = [[b"a", b"a", b"b"], [b"p", b"q", b"q"]]
    ids, labels = [b"1", b"2", b"3"], [1, 0, 0]
    tables = []
    for spec, column in zip(specs, columns, strict=True):
        (tmp_path / spec.name).mkdir()
        tables.append(learned(tmp_path / spec.name, column, ids, labels, spec))
    tensors = [tf.constant(c, shape=(3, 1)) for c in columns]
    with TFGraphContext(tf.Module(), None, None):
        both = TargetEncoding(tensors, tables)
        alone = [TargetEncoding([c], [t]) for c, t in zip(tensors, tables, strict=True)]
    leads = tf.constant(ids, shape=(3, 1))
    np.testing.assert_array_equal(both.served(), tf.concat([e.served() for e in alone], 1))
    np.testing.assert_array_equal(both.out_of_fold(leads), tf.concat([e.out_of_fold(leads) for e in alone], 1))
    # The rate is 1/3: a has 1 of 2 and a prior of one row, q 0 of 2 and a prior of three.
    np.testing.assert_allclose(both.served()[0, 0], (1 + 1 / 3) / 3, rtol=1e-6)
    np.testing.assert_allclose(both.served()[2, 1], (0 + 3 / 3) / 5, rtol=1e-6)
