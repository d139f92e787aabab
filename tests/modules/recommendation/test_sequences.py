from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from modules.recommendation.layout import FIRST_WORD, UNKNOWN
from modules.recommendation.sequences import Sequences, concatenate

A, B, C = FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2


def two_journeys() -> Sequences:
    return Sequences(
        event_codes=np.array([[[A], [UNKNOWN], [C], [0]], [[B], [A], [0], [0]]], np.int32),
        event_numbers=np.arange(8, dtype=np.float32).reshape(2, 4, 1),
        length=np.array([3, 2], np.int32),
        lead_codes=np.array([[4], [5]], np.int32),
        lead_numbers=np.zeros((2, 0), np.float32),
        next_action=np.array([1, -1], np.int32),
        outcome=np.array([1, np.nan], np.float32),
        positions=np.array([4, 2], np.int32),
        time=np.array([10, 20], np.int64),
    )


def test_answers_by_hand() -> None:
    # Journey 1: A, an unknown word, C, then action 1. Journey 2: slot 0 carries no loss, slot 1 asks for A, then none.
    assert two_journeys().answers().tolist() == [[0, -1, 2, 1, -1], [-1, 0, -1, -1, -1]]


def test_journey_without_positions_has_no_answers() -> None:
    silent = dataclasses.replace(two_journeys(), positions=np.array([0, 0], np.int32))
    assert (silent.answers() == -1).all()


def test_windows_of_a_journey_count_each_event_once() -> None:
    journey = np.array([A, B, C, B, A, C, C])  # the last one is only an answer
    windows = Sequences(
        event_codes=np.stack([journey[0:4], journey[2:6]])[..., None].astype(np.int32),
        event_numbers=np.zeros((2, 4, 0), np.float32),
        length=np.array([4, 4], np.int32),
        lead_codes=np.zeros((2, 0), np.int32),
        lead_numbers=np.zeros((2, 0), np.float32),
        next_action=journey[[4, 6]] - FIRST_WORD,
        outcome=np.zeros(2, np.float32),
        positions=np.array([5, 2], np.int32),
        time=np.zeros(2, np.int64),
    )
    answers = windows.answers()
    assert answers[answers >= 0].tolist() == (journey - FIRST_WORD).tolist()


def test_take_and_concatenate() -> None:
    both = two_journeys()
    swapped = concatenate([both.take(np.array([1])), both.take(np.array([True, False]))])
    assert len(swapped) == 2
    assert swapped.time.tolist() == [20, 10]
    assert swapped.event_numbers.tolist() == both.event_numbers[::-1].tolist()


def test_inputs_end_with_the_longest_history() -> None:
    inputs = two_journeys().inputs(np.array([1]))
    assert {name: value.shape for name, value in inputs.items()} == {
        "event_codes": (1, 2, 1),
        "event_numbers": (1, 2, 1),
        "length": (1,),
        "lead_codes": (1, 1),
        "lead_numbers": (1, 0),
    }
    assert two_journeys().inputs(np.array([], np.int64))["event_codes"].shape == (0, 0, 1)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="'time': 1"):
        dataclasses.replace(two_journeys(), time=np.zeros(1, np.int64))


def test_a_journey_learned_from_its_second_event_on_is_learned_from_its_beginning_too() -> None:
    """Lengths 0, 2, 3, 3: the third window starts in the middle of its journey, the last is all of one with a start."""
    journeys = Sequences(
        event_codes=np.array([[0, 0, 0], [3, 4, 0], [3, 4, 5], [3, 4, 5]], np.int32)[..., None],
        event_numbers=np.zeros((4, 3, 0), np.float32),
        length=np.array([0, 2, 3, 3], np.int32),
        lead_codes=np.zeros((4, 0), np.int32),
        lead_numbers=np.zeros((4, 0), np.float32),
        next_action=np.array([0, 1, 2, 2], np.int32),
        outcome=np.full(4, np.nan, np.float32),
        positions=np.array([1, 2, 1, 4], np.int32),
        time=np.zeros(4, np.int64),
    )
    found = journeys.with_beginnings()
    assert found.positions.tolist() == [1, 3, 1, 4]
    assert found.answers()[1].tolist() == [0, 1, 1, -1]
    assert journeys.answers()[1].tolist() == [-1, 1, 1, -1]
