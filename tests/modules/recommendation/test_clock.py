from __future__ import annotations

import numpy as np
import pytest

from modules.recommendation.clock import AGE_BOUNDARIES, COLUMNS, DAY, GAP_BOUNDARIES, HOUR, codes
from modules.recommendation.layout import FIRST_WORD

SUNDAY_NIGHT = 1_704_067_199  # 2023-12-31T23:59:59Z


def test_codes_of_two_events_by_hand() -> None:
    times = np.array([[SUNDAY_NIGHT, SUNDAY_NIGHT + 1, -7]])
    found = codes(times, np.array([2]), np.array([SUNDAY_NIGHT - HOUR]))
    # An hour is the 15th boundary of gaps: 7 of seconds, 7 of minutes, then this one; one second is the first.
    assert found["gap"].tolist() == [[FIRST_WORD + 15, FIRST_WORD + 1, 0]]
    assert found["age"].tolist() == [[FIRST_WORD + 6, FIRST_WORD + 6, 0]]
    assert found["hour"].tolist() == [[FIRST_WORD + 23, FIRST_WORD + 0, 0]]
    assert found["weekday"].tolist() == [[FIRST_WORD + 6, FIRST_WORD + 0, 0]]


def test_boundary_belongs_to_the_class_above() -> None:
    times = np.array([[1000, 1000 + DAY - 1, 1000 + 2 * DAY - 1]])
    gap = codes(times, np.array([3]), np.array([1000]))["gap"][0]
    assert gap[2] == gap[1] + 1


def test_journey_without_a_start_begins_with_its_first_event() -> None:
    times = np.array([[5_000, 5_010]])
    unknown = codes(times, np.array([2]), np.array([-1]))
    known = codes(times, np.array([2]), np.array([5_000]))
    assert all(np.array_equal(unknown[name], known[name]) for name in known)
    assert unknown["gap"][0, 0] == FIRST_WORD


def test_time_that_runs_backwards_is_no_gap() -> None:
    found = codes(np.array([[900, 500]]), np.array([2]), np.array([1_000]))
    assert found["gap"].tolist() == found["age"].tolist() == [[FIRST_WORD, FIRST_WORD]]


@pytest.mark.parametrize("slots", [0, 4])
def test_unused_slots_are_padding(slots: int) -> None:
    found = codes(np.full((2, slots), 12_345), np.array([0, 0]), np.array([0, 0]))
    assert list(found) == [column.name for column in COLUMNS]
    assert all(value.shape == (2, slots) and value.dtype == np.int32 and not value.any() for value in found.values())


def test_no_code_is_outside_of_its_column() -> None:
    times = np.sort(np.random.default_rng(0).integers(0, 2**33, (50, 30)), axis=1)
    found = codes(times, np.full(50, 30), np.zeros(50, np.int64))
    for column in COLUMNS:
        assert found[column.name].min() >= FIRST_WORD
        assert found[column.name].max() < column.size
    assert list(GAP_BOUNDARIES) == sorted(set(GAP_BOUNDARIES))
    assert list(AGE_BOUNDARIES) == sorted(set(AGE_BOUNDARIES))
