"""Which versions are to serve, which may go: pure functions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.manager.policies import VersionPolicy, aspired, evictable, missing

FOUND = {1: Path("/m/1"), 2: Path("/m/2"), 10: Path("/m/10"), 9: Path("/m/9")}


def test_the_latest_version_is_the_largest_number_not_the_last_name():
    assert aspired(VersionPolicy(), FOUND) == {10: Path("/m/10")}


@pytest.mark.parametrize(("asked", "expected"), [(0, [10]), (1, [10]), (3, [10, 9, 2]), (99, [10, 9, 2, 1])])
def test_latest_n_takes_the_n_largest_newest_first(asked, expected):
    policy = VersionPolicy(latest=VersionPolicy.Latest(num_versions=asked))
    assert list(aspired(policy, FOUND)) == expected


def test_all_takes_everything_newest_first():
    assert list(aspired(VersionPolicy(all=VersionPolicy.All()), FOUND)) == [10, 9, 2, 1]


def test_specific_takes_what_exists_and_tells_what_does_not():
    policy = VersionPolicy(specific=VersionPolicy.Specific(versions=[2, 9, 77, 2]))
    assert list(aspired(policy, FOUND)) == [9, 2]
    assert missing(policy, FOUND) == (77,)


def test_only_a_specific_policy_misses_versions():
    assert missing(VersionPolicy(), {}) == ()


@pytest.mark.parametrize(
    ("superseded", "total", "available", "expected"),
    [
        ([1], 1, 0, []),  # the new one loads: the old one stays
        ([1], 1, 1, [1]),  # the new one serves: the old one goes
        ([1, 2], 1, 0, [1]),  # one stands in for one, the newer
        ([1], 2, 1, []),  # two to serve, one of them missing: the old one stands in
        ([1, 2, 3], 2, 0, [1]),
        ([1, 2], 0, 0, []),  # everything vanished: all stay
        ([4, 4], 1, 0, [4]),  # one number from two base paths
    ],
)
def test_each_missing_version_keeps_one_old_one(superseded, total, available, expected):
    assert evictable(superseded, total, available) == expected


@given(st.lists(st.integers(0, 20)), st.integers(1, 5), st.data())
def test_an_eviction_leaves_as_many_as_are_wanted_the_newest_of_the_old(superseded, total, data):
    available = data.draw(st.integers(0, total))
    gone = evictable(superseded, total, available)
    left = len(superseded) - len(gone) + available
    assert left == min(total, len(superseded) + available)
    assert gone == sorted(superseded)[: len(gone)]
