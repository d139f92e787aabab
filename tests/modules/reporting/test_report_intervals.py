"""Intervals against published figures, scipy, and definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modules.reporting.intervals import Interval, bootstrap, difference, from_error, wilson


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_that_of_scipy(successes, more, level):
    trials = successes + more
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    found = wilson(successes, trials, level)
    assert found.value == successes / trials
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_not_defined():
    found = wilson(0, 0)
    assert math.isnan(found.value) and not found.known


def test_difference_of_proportions_is_that_of_newcombes_table():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10.
    found = difference(wilson(56, 70), wilson(48, 80))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    found = difference(wilson(9, 10), wilson(3, 10))
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.1705, 0.8090), abs=5e-5)


def test_difference_without_an_interval_has_none():
    assert not difference(wilson(1, 2), Interval(0.5)).known


def test_an_interval_from_an_error_is_cut_at_its_range():
    found = from_error(0.95, 0.1, 0.95, 0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((0.95 - 1.959964 * 0.1, 1.0))


def test_bootstrap_of_a_share_comes_close_to_its_standard_error_and_repeats_itself():
    counts = np.array([300.0, 700.0])
    share = lambda c: float(c[0] / c.sum())  # noqa: E731
    found = bootstrap(counts, share, times=4000)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert found.value == 0.3
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.002)
    assert bootstrap(counts, share, times=4000) == found
    assert not bootstrap(np.zeros(2), lambda c: 0.0).known
