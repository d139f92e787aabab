import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.journeys.windows import Decisions, find_decisions, find_journeys


def binary(values) -> pa.Array:
    return pa.array(values, pa.large_binary())


def test_events_are_ordered_by_lead_time_and_place():
    lead = binary([b"b", b"a", b"b", b"a", b"b", b"a"])
    journeys = find_journeys(lead, np.array([5, 9, 5, 3, 1, 9]))
    assert journeys.leads.to_pylist() == [b"b", b"a"]
    assert journeys.order.tolist() == [4, 0, 2, 3, 1, 5]
    assert journeys.begin.tolist() == [0, 3]
    assert journeys.count.tolist() == [3, 3]
    assert journeys.first.tolist() == [0, 1]


def test_journeys_can_be_put_into_another_order():
    journeys = find_journeys(binary([b"a", b"b", b"b", b"c"]), np.array([0, 1, 0, 0]))
    turned = journeys.take(np.array([2, 1]))
    assert turned.order.tolist() == [3, 2, 1]
    assert turned.begin.tolist() == [0, 1]
    assert turned.count.tolist() == [1, 2]
    assert turned.leads.to_pylist() == [b"c", b"b"]


def test_more_leads_than_16_bits_hold():
    rng = np.random.default_rng(0)
    code, micros = rng.permutation(np.repeat(np.arange(70_000), 2)), rng.integers(0, 9, 140_000)
    journeys = find_journeys(pa.array(code).cast(pa.string()).cast(pa.large_binary()), micros)
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    expected = np.lexsort((np.arange(len(code)), micros, first[which]))
    assert journeys.order.tolist() == expected.tolist()


def test_a_history_is_the_last_events_before_the_decision():
    decisions = find_decisions(np.array([3, 1, 4]), length=2)
    assert decisions.journey.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert decisions.earlier.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert decisions.event.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    shown = decisions.history(pa.array(np.arange(8))).to_pylist()
    assert shown == [[], [0], [0, 1], [], [], [4], [4, 5], [5, 6]]


def test_early_decisions_are_left_out():
    decisions = find_decisions(np.array([3, 1, 4]), length=2, fewest=2)
    assert decisions.journey.tolist() == [0, 2, 2]
    assert decisions.earlier.tolist() == [2, 2, 3]
    assert decisions.event.tolist() == [2, 6, 7]


@pytest.mark.parametrize(
    ("events", "length", "fewest", "expected"),
    [
        # The window of the last decision reaches back to the first event: it stands for all.
        (4, 4, 0, [0, 0, 0, 4]),
        (5, 4, 0, [0, 0, 0, 0, 5]),
        # S = 2: the last stands for two; the window of the one before shows the whole past.
        (6, 4, 0, [0, 0, 0, 4, 0, 2]),
        (9, 4, 0, [0, 0, 0, 0, 5, 0, 2, 0, 2]),
        (9, 4, 1, [0, 0, 0, 4, 0, 2, 0, 2]),
        (9, 4, 6, [1, 0, 2]),
        (3, 1, 0, [0, 2, 1]),
        (1, 5, 0, [1]),
    ],
)
def test_training_positions_by_hand(events, length, fewest, expected):
    assert find_decisions(np.array([events]), length, fewest).positions.tolist() == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=6), st.integers(1, 20), st.integers(0, 25))
def test_every_decision_is_stood_for_once_and_with_enough_context(counts, length, fewest):
    decisions = find_decisions(np.array(counts, np.int64), length, fewest)
    stood_for = np.zeros(sum(counts), int)
    for i in range(len(decisions)):
        one: Decisions = decisions.slice(i, i + 1)
        earlier, window, positions = int(one.earlier[0]), int(one.window[0]), int(one.positions[0])
        assert 0 <= positions <= window + 1
        for back in range(positions):
            stood_for[int(one.event[0]) - back] += 1
            # Slot window - back shows that many events; it should show all there are or half of L.
            assert window - back == earlier - back or window - back >= length / 2
    assert stood_for[decisions.event].tolist() == [1] * len(decisions)
    assert stood_for.sum() == len(decisions)
