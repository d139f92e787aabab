"""Journeys: the probability is a martingale, and policy and effects are what the truth says."""

from __future__ import annotations

import numpy as np
import pytest

from modules.marketplace.generate import Chunk, generate_chunk
from modules.marketplace.journeys import ACTIONS, CONVERSION_WINDOW_S, LONGEST_JOURNEY_S, RESPONSES, tilted
from modules.marketplace.settings import MarketplaceSettings


@pytest.fixture(scope="module")
def chunk() -> Chunk:
    return generate_chunk(MarketplaceSettings(rows=50_000, seed=5), 0)


def _last(chunk: Chunk) -> np.ndarray:
    """Whether an event is the last of its lead."""
    lead = chunk.journeys.lead
    return np.append(lead[1:] != lead[:-1], True)


def test_tilt_by_hand() -> None:
    # p (1 - p) = 0.16, gain 0.5, centred scores 1 and -1: 0.2 + 0.08 and 0.2 - 0.08
    branches = tilted(np.array([0.2]), np.array([1.0, -1.0]), np.array([[0.5, 0.5]]), 0.5)
    np.testing.assert_allclose(branches, [[0.28, 0.12]], atol=1e-15)


def test_tilt_keeps_probabilities_inside_their_range_even_at_the_extremes() -> None:
    p = np.array([1e-9, 0.5, 1 - 1e-9])
    branches = tilted(p, np.array([1.0, -1.0]), np.array([[0.999, 0.001]] * 3), 0.5)
    assert ((branches > 0) & (branches < 1)).all()


def test_conversion_averaged_over_the_policy_is_the_probability_before_the_action(chunk: Chunk) -> None:
    journeys = chunk.journeys
    np.testing.assert_allclose((journeys.policy * journeys.conversion).sum(axis=1), journeys.before, atol=1e-12)


def test_a_journey_starts_at_the_leads_probability_and_each_step_where_the_last_ended(chunk: Chunk) -> None:
    journeys, last = chunk.journeys, _last(chunk)
    first = journeys.position == 1
    np.testing.assert_array_equal(journeys.before[first], chunk.probability[journeys.lead[first]])
    np.testing.assert_array_equal(journeys.before[~first], journeys.after[:-1][~last[:-1]])


def test_the_probability_after_a_journey_averages_to_the_leads_probability(chunk: Chunk) -> None:
    end = chunk.journeys.after[_last(chunk)]
    change = end - chunk.probability
    assert change.std() > 0.02  # journeys do matter
    for part in np.array_split(np.argsort(chunk.probability), 10):
        assert abs(change[part].mean()) < 4 * change[part].std() / np.sqrt(len(part))


def test_actions_are_taken_as_often_as_the_policy_says_in_every_state(chunk: Chunk) -> None:
    journeys = chunk.journeys
    previous = np.where(journeys.position == 1, len(RESPONSES), np.roll(journeys.response, 1))
    for response in range(len(RESPONSES) + 1):
        here = previous == response
        for action in range(len(ACTIONS)):
            p = journeys.policy[here, action]
            taken = (journeys.action[here] == action).sum()
            assert abs(taken - p.sum()) < 4.5 * np.sqrt((p * (1 - p)).sum()) + 1


def test_leads_convert_as_often_as_the_truth_says_for_their_first_action(chunk: Chunk) -> None:
    journeys = chunk.journeys
    first = journeys.position == 1
    for action in range(len(ACTIONS)):
        here = first & (journeys.action == action)
        q = journeys.conversion[here, action]
        converted = journeys.converted[journeys.lead[here]].sum()
        assert abs(converted - q.sum()) < 4 * np.sqrt((q * (1 - q)).sum()) + 1


def test_the_best_action_differs_between_leads_and_is_not_what_the_policy_prefers(chunk: Chunk) -> None:
    journeys = chunk.journeys
    best = journeys.conversion.argmax(axis=1)
    shares = np.bincount(best, minlength=len(ACTIONS)) / len(best)
    assert shares.max() < 0.5
    assert (journeys.policy.argmax(axis=1) == best).mean() < 0.6


def test_the_policy_can_be_predicted_but_not_perfectly(chunk: Chunk) -> None:
    journeys = chunk.journeys
    likeliest = journeys.policy.argmax(axis=1)
    top = (journeys.action == likeliest).mean()
    assert top == pytest.approx(journeys.policy.max(axis=1).mean(), abs=0.01)
    assert 0.5 < top < 0.75
    assert top > np.bincount(journeys.action).max() / len(journeys.action) + 0.3


def test_events_of_a_lead_follow_in_time_and_stay_within_sixty_days(chunk: Chunk) -> None:
    journeys = chunk.journeys
    same = journeys.lead[1:] == journeys.lead[:-1]
    assert (np.diff(journeys.time)[same] > 0).all()
    assert (np.diff(journeys.position)[same] == 1).all()
    assert (np.diff(journeys.lead)[~same] == 1).all()
    since = journeys.time - chunk.leads.time[journeys.lead]
    assert since.min() > 0
    assert since.max() < LONGEST_JOURNEY_S
    assert 4.5 < len(journeys.lead) / len(chunk.leads) < 5.5


def test_conversion_comes_after_the_last_event_and_within_ninety_days(chunk: Chunk) -> None:
    journeys = chunk.journeys
    last = _last(chunk)
    assert (journeys.conversion_time > journeys.time[last]).all()
    assert (journeys.conversion_time - chunk.leads.time <= CONVERSION_WINDOW_S).all()


def test_waiting_is_never_answered(chunk: Chunk) -> None:
    journeys = chunk.journeys
    waited = journeys.action == ACTIONS.index("wait")
    assert waited.sum() > 1000
    assert set(journeys.response[waited]) == {RESPONSES.index("no_response")}
