from __future__ import annotations

import numpy as np
import pytest

from modules.lead_scoring.column_checks import column_facts, same_order, sample_rows
from modules.lead_scoring.matrix import Spool

NAN = np.nan


def spool_of(path, matrix, batch=3):
    matrix = np.asarray(matrix, np.float32)
    batches = [
        {"features": matrix[start : start + batch], "label": np.zeros(len(matrix[start : start + batch]))}
        for start in range(0, len(matrix), batch)
    ]
    return Spool(path / "rows", batches, range(matrix.shape[1]))


def columns(*each):
    return np.array(each, np.float32).T


def test_a_column_with_one_value_is_constant_and_missing_is_a_value(tmp_path):
    matrix = columns([2, 2, 2, 2], [2, 2, 2, 3], [NAN, NAN, NAN, NAN], [NAN, 1, 1, 1], [0.0, -0.0, 0.0, 0.0])
    facts = column_facts(spool_of(tmp_path, matrix), 5)
    assert facts.rows == 4
    assert facts.constant.tolist() == [True, False, True, False, True]
    assert facts.missing.tolist() == [0, 0, 1, 0.25, 0]
    assert facts.first[0] == 2


def test_equal_columns_have_equal_digests_wherever_batches_end(tmp_path):
    a = [1, NAN, 3, 4, 5]
    matrix = columns(a, a, [1, NAN, 3, 4, 5.0000005], [1, 0, 3, 4, 5])
    found = []
    for batch in (1, 2, 5):
        digests = column_facts(spool_of(tmp_path, matrix, batch), 4).digests
        assert digests[0] == digests[1]
        assert len(set(digests)) == 3
        found.append(digests)
    assert found[0] == found[1] == found[2]


def test_a_nan_of_other_bits_is_still_missing(tmp_path):
    other = np.array([1, 0], np.float32)
    other.view(np.uint32)[1] = 0x7FC00001
    matrix = np.stack([np.array([1, NAN], np.float32), other], axis=1)
    digests = column_facts(spool_of(tmp_path, matrix), 2).digests
    assert digests[0] == digests[1]


def test_sampled_rows_are_those_asked_for(tmp_path):
    matrix = np.arange(40, dtype=np.float32).reshape(10, 4)
    rows = np.array([0, 2, 3, 8, 9])
    assert np.array_equal(sample_rows(spool_of(tmp_path, matrix), rows, [3, 1]), matrix[rows][:, [3, 1]])


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([10, 400, 20, NAN, 400], True),  # rising
        ([-1, -9, -2, NAN, -9], True),  # falling
        ([10, 400, 20, NAN, 401], False),  # cuts what the first does not
        ([10, 400, 20, 5, 400], False),  # is there where the first is missing
        ([20, 400, 10, NAN, 400], False),  # another order
    ],
)
def test_columns_of_the_same_order_are_duplicates(tmp_path, other, same):
    matrix = columns([1, 4, 2, NAN, 4], other)
    spool = spool_of(tmp_path, matrix)
    assert same_order(spool, matrix, [0, 1], [0, 0], complete=True) == ({1: 0} if same else {})


def test_three_of_a_kind_name_the_earliest(tmp_path):
    a = np.array([3, 1, 2, 7], np.float32)
    matrix = columns(a, [0, 1, 0, 1], -a, a**3)
    assert same_order(spool_of(tmp_path, matrix), matrix, [0, 1, 2, 3], [0] * 4, complete=True) == {2: 0, 3: 0}


def test_another_monotone_constraint_makes_another_column(tmp_path):
    a = np.array([3, 1, 2, 7], np.float32)
    matrix = columns(a, 2 * a, -a)
    spool = spool_of(tmp_path, matrix)
    assert same_order(spool, matrix, [0, 1, 2], [1, 0, 0], complete=True) == {2: 1}
    assert same_order(spool, matrix, [0, 1, 2], [1, 1, -1], complete=True) == {1: 0, 2: 0}
    assert same_order(spool, matrix, [0, 1, 2], [1, 1, 1], complete=True) == {1: 0}


def test_a_sample_proposes_and_all_rows_confirm(tmp_path):
    rng = np.random.default_rng(0)
    a = rng.normal(size=200).astype(np.float32)
    differs = np.exp(a)
    differs[150] = 100  # outside of the sample
    word, twin, almost = (rng.random(200) < 0.1).astype(np.float32), None, None
    twin, almost = word.copy(), word.copy()
    almost[199] = 1 - almost[199]
    matrix = columns(a, differs, -5 * a, word, twin, almost)
    rows = np.arange(100)
    sample = matrix[rows]
    spool = spool_of(tmp_path, matrix, batch=17)
    places = [0, 1, 2, 3, 4, 5]
    assert same_order(spool, sample, places, [0] * 6, complete=True) == {1: 0, 2: 0, 4: 3, 5: 3}
    assert same_order(spool, sample, places, [0] * 6, complete=False) == {2: 0, 4: 3}


def test_columns_that_are_constant_in_the_sample_are_not_taken_for_the_same(tmp_path):
    matrix = columns([0, 0, 0, 1], [0, 0, 1, 0], [NAN, NAN, NAN, 1])
    assert same_order(spool_of(tmp_path, matrix), matrix[:2], [0, 1, 2], [0] * 3, complete=False) == {}
