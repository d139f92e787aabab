"""Journeys: what agents did with each lead, how it responded, and the conversion probability along the way.

The probability is a martingale. A journey starts at p = P(converted | features). When action a is taken in state s,

    q(s, a) = p + ACTION_GAIN p (1 - p) (e(s, a) - sum_b pi(b | s) e(s, b))

and when response r follows,

    p' = q + RESPONSE_GAIN q (1 - q) (g(r) - sum_k rho(k | s, a) g(k))

with pi the logging policy, e(s, a) in [-1, 1] the effect of an action on this lead in this state, rho the
distribution of responses, g(r) in [-1, 1] what a response tells. Effects are centred under pi, tidings under rho, so

    E[q | s] = p,   E[p' | s, a] = q,   hence   E[p at the end | features] = P(converted | features)   exactly,

whatever decides when the journey ends, as long as it does not look at the outcome. The outcome is drawn from the
last p. So q(s, a) is P(converted | features, history, next action is a), the logging policy acting afterwards; and
the contrast of two actions, ACTION_GAIN p (1 - p) (e(s, a) - e(s, b)), is causal, since the policy sees nothing but s.
Gains of at most 0.5 keep every probability within (0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from modules.marketplace.columns import code
from modules.marketplace.enquiry import INTENTS, URGENCIES
from modules.marketplace.leads import Leads
from modules.marketplace.sampling import pick, softmax

ACTIONS: Final = (
    "email", "call", "text", "listing_alert", "showing", "offer_discussion", "financing_referral", "wait"
)  # fmt: skip
RESPONSES: Final = ("no_response", "opened", "clicked", "replied", "booked", "declined")
ACTION_GAIN: Final = 0.5
RESPONSE_GAIN: Final = 0.4
MAX_STEPS: Final = 12
LONGEST_JOURNEY_S: Final = 60 * 86400
CONVERSION_WINDOW_S: Final = 90 * 86400

A, R = len(ACTIONS), len(RESPONSES)
_EMAIL, _CALL, _TEXT, _ALERT, _SHOWING, _OFFER, _FINANCING, _WAIT = range(A)
_NONE, _OPENED, _CLICKED, _REPLIED, _BOOKED, _DECLINED = range(R)
_START = A * R  # the state before the first action; others are action * R + response

TIDINGS: Final = np.array([-0.35, 0.05, 0.3, 0.45, 1.0, -1.0])
"""g(r): what a response tells about the lead."""

_NEVER = -np.inf
# Log-weights of responses: rows are actions, columns responses.
_RESPONSE_BASE: Final = np.array(
    [
        [0.9, 1.0, 0.2, -0.3, _NEVER, -1.2],
        [0.8, _NEVER, _NEVER, 0.8, -0.4, -0.5],
        [0.6, _NEVER, _NEVER, 0.6, -0.9, -1.0],
        [0.8, 0.9, 0.6, _NEVER, _NEVER, -1.8],
        [0.3, _NEVER, _NEVER, 0.2, 0.6, 0.1],
        [-0.2, _NEVER, _NEVER, 0.5, 0.2, 0.4],
        [0.3, _NEVER, 0.5, 0.3, 0.0, -0.3],
        [0.0, _NEVER, _NEVER, _NEVER, _NEVER, _NEVER],
    ]
)


def _state_table() -> np.ndarray:
    """Log-weights of the next action by last action and response, [A * R + 1, A]; the last row is the start."""
    table = np.zeros((A * R + 1, A))
    after = {
        _NONE: {_EMAIL: 0.5, _CALL: 0.4, _TEXT: 0.6, _ALERT: 0.5, _SHOWING: -1.0, _OFFER: -2.0, _WAIT: 0.9},
        _OPENED: {_EMAIL: 0.4, _CALL: 1.2, _TEXT: 0.5, _ALERT: 0.9, _SHOWING: 0.0, _OFFER: -1.2, _WAIT: 0.0},
        _CLICKED: {_CALL: 1.5, _TEXT: 0.4, _ALERT: 0.7, _SHOWING: 0.9, _OFFER: -0.6, _WAIT: -1.0},
        _REPLIED: {_CALL: 0.8, _SHOWING: 1.7, _OFFER: 0.4, _FINANCING: 0.4, _WAIT: -1.0},
        _BOOKED: {_CALL: 0.2, _SHOWING: 0.8, _OFFER: 2.0, _FINANCING: 0.6, _ALERT: -1.0, _WAIT: -0.8},
        _DECLINED: {_EMAIL: 0.2, _CALL: -1.0, _TEXT: -0.4, _ALERT: 1.3, _SHOWING: -1.4, _OFFER: -1.8, _WAIT: 1.8},
    }
    again = {_EMAIL: -0.5, _CALL: -0.7, _TEXT: -0.4, _ALERT: -0.3, _SHOWING: -0.5, _OFFER: -0.2, _WAIT: -1.6}
    for action in range(A):
        for response in range(R):
            row = table[action * R + response]
            for target, weight in after[response].items():
                row[target] += weight
            row[action] += again.get(action, 0.0)
    for response in range(R):
        table[_SHOWING * R + response, _OFFER] += 1.0
        table[_FINANCING * R + response, _OFFER] += 0.5
        table[_EMAIL * R + response, _CALL] += 0.4
        table[_WAIT * R + response, _EMAIL] += 0.8
    table[_START] = [1.2, 0.9, 0.3, 0.2, -0.4, -2.5, -0.8, -2.0]
    return table


POLICY_SHARPNESS: Final = 1.7
_POLICY_STATE: Final = POLICY_SHARPNESS * _state_table()
_TRAITS: Final = (
    "one", "hot", "cold", "needs_financing", "older", "young_mobile", "no_consent", "active", "new", "invest", "tight"
)  # fmt: skip


def _by_trait(weights: dict[str, dict[int, float]]) -> np.ndarray:
    """A matrix [traits, A] from the entries that are not zero."""
    matrix = np.zeros((len(_TRAITS), A))
    for trait, row in weights.items():
        for action, weight in row.items():
            matrix[_TRAITS.index(trait), action] = weight
    return matrix


_POLICY_TRAIT: Final = POLICY_SHARPNESS * _by_trait(
    {
        "one": {_FINANCING: -0.4},
        "hot": {_CALL: 0.7, _SHOWING: 0.9, _OFFER: 0.6, _ALERT: -0.5, _WAIT: -0.8},
        "cold": {_CALL: -0.8, _ALERT: 0.8, _EMAIL: 0.4, _SHOWING: -0.7, _OFFER: -0.6, _WAIT: 0.5},
        "needs_financing": {_FINANCING: 1.5},
        "older": {_CALL: 0.9, _TEXT: -0.8},
        "young_mobile": {_TEXT: 1.0, _CALL: -0.3},
        "no_consent": {_EMAIL: -1.1, _ALERT: -0.9, _CALL: 0.3, _TEXT: 0.3},
        "active": {_SHOWING: 0.4, _CALL: 0.3, _WAIT: -0.4},
        "new": {_EMAIL: 0.4},
        "invest": {_ALERT: 0.7, _OFFER: 0.4},
        "tight": {_ALERT: 0.3, _OFFER: 0.2},
    }
)
# Effects on conversion differ from what the policy likes: there is something to gain.
_EFFECT_TRAIT: Final = _by_trait(
    {
        "one": {_EMAIL: -0.1, _CALL: 0.15, _ALERT: 0.0, _SHOWING: 0.1, _OFFER: -0.25, _FINANCING: -0.2, _WAIT: -0.45},
        "hot": {_SHOWING: 0.6, _OFFER: 0.5, _ALERT: -0.3, _WAIT: -0.4, _EMAIL: -0.2},
        "cold": {_CALL: -0.6, _OFFER: -0.7, _SHOWING: -0.3, _ALERT: 0.5, _WAIT: 0.5, _EMAIL: 0.2},
        "needs_financing": {_FINANCING: 1.1, _OFFER: -0.3},
        "older": {_CALL: 0.5, _TEXT: -0.6},
        "young_mobile": {_TEXT: 0.6, _CALL: -0.4},
        "no_consent": {_EMAIL: -0.5, _ALERT: -0.3, _TEXT: 0.2},
        "active": {_SHOWING: 0.3, _ALERT: 0.1},
        "invest": {_ALERT: 0.5, _SHOWING: -0.3},
        "tight": {_ALERT: 0.3, _OFFER: 0.2, _WAIT: -0.3},
    }
)
# By last response: rows none, opened, clicked, replied, booked, declined, and the start.
_EFFECT_STATE: Final = np.array(
    [
        [0.0, 0.2, 0.1, 0.0, -0.2, -0.4, 0.0, 0.1],
        [0.1, 0.3, 0.1, 0.1, 0.0, -0.3, 0.0, -0.1],
        [0.0, 0.5, 0.2, 0.1, 0.3, -0.1, 0.1, -0.3],
        [-0.1, 0.2, 0.0, -0.1, 0.6, 0.2, 0.2, -0.4],
        [-0.3, 0.0, -0.1, -0.3, 0.4, 0.8, 0.2, -0.6],
        [0.0, -0.6, -0.3, 0.3, -0.7, -0.9, -0.1, 0.8],
        [0.1, 0.3, 0.1, 0.0, -0.1, -0.6, 0.0, -0.5],
    ]
)
_STOP: Final = np.array([0.19, 0.14, 0.12, 0.11, 0.16, 0.42])  # share of journeys that end after a response
_MEAN_GAP_DAYS: Final = np.array([2.5, 1.8, 1.2, 3.5, 3.0, 3.0, 3.5, 7.0])


@dataclass(frozen=True)
class Journeys:
    """Events of n leads, m in all, ordered by lead and then by time.

    Attributes:
      lead: int64 [m], row of the lead, ascending.
      position: int64 [m], 1 for the first event of a lead.
      time: int64 [m], seconds since 1970 UTC, strictly ascending within a lead.
      action: int64 [m], index into `ACTIONS`.
      response: int64 [m], index into `RESPONSES`.
      policy: float64 [m, A], the logging policy's probability of every action; rows sum to 1.
      conversion: float64 [m, A], P(converted | features, history before, next action), 0-1.
      before: float64 [m], P(converted | features, history before); equals (policy * conversion).sum(1).
      after: float64 [m], the same after this event's response.
      converted: bool [n], whether the lead converts within 90 days of its creation.
      conversion_time: int64 [n], when; meaningless where not converted.
    """

    lead: np.ndarray
    position: np.ndarray
    time: np.ndarray
    action: np.ndarray
    response: np.ndarray
    policy: np.ndarray
    conversion: np.ndarray
    before: np.ndarray
    after: np.ndarray
    converted: np.ndarray
    conversion_time: np.ndarray


def traits(leads: Leads) -> np.ndarray:
    """The observed features the policy and the effects look at, as 0/1: float64 [n, traits]."""
    x, c, intent = leads.numeric, leads.codes, leads.intent

    def any_intent(*names: str) -> np.ndarray:
        return np.isin(intent, [INTENTS.index(name) for name in names])

    urgent = np.isin(leads.urgency, [URGENCIES.index("soon"), URGENCIES.index("relocating")])
    columns = {
        "one": np.ones(len(leads)),
        "hot": any_intent("buy_now", "tour") | urgent,
        "cold": any_intent("browsing", "not_ready", "rent", "agent"),
        "needs_financing": any_intent("financing") | (c["credit_band"] == 0) | (c["credit_band"] == 1),
        "older": x["age"] >= 60,
        "young_mobile": (x["age"] < 40) & (c["device"] == code("device", "mobile")),
        "no_consent": np.isnan(x["email_opens"]),
        "active": x["visits"] >= 5,
        "new": x["past_contacts"] == 0,
        "invest": any_intent("invest"),
        "tight": x["months_of_inventory"] < 2.5,
    }
    return np.stack([columns[name] for name in _TRAITS], axis=1).astype(np.float64)


def _receptiveness(leads: Leads, probability: np.ndarray, trait: np.ndarray) -> np.ndarray:
    """How likely a lead is to respond well to each action: float64 [n, A], about -1.5 to 1.5."""
    out = np.repeat(0.3 * np.clip(np.log(probability / (1 - probability)) + 2.8, -4, 4)[:, None], A, axis=1)
    out[:, _TEXT] += 0.6 * trait[:, _TRAITS.index("young_mobile")]
    out[:, _CALL] += 0.6 * trait[:, _TRAITS.index("older")]
    out[:, [_EMAIL, _ALERT]] -= 0.8 * trait[:, [_TRAITS.index("no_consent")]]
    out[:, _FINANCING] += 0.8 * trait[:, _TRAITS.index("needs_financing")]
    return out


def tilted(probability: np.ndarray, score: np.ndarray, weights: np.ndarray, gain: float) -> np.ndarray:
    """Probabilities of k branches whose weighted mean is the probability before the branching.

        p + gain p (1 - p) (score - sum(weights score))

    Args:
      probability: [n], 0-1.
      score: [n, k] or [k], within -1 to 1.
      weights: [n, k], rows sum to 1.
      gain: 0 to 0.5.

    Returns:
      float64 [n, k], 0-1.
    """
    centred = score - (weights * score).sum(axis=1, keepdims=True)
    p = probability[:, None]
    return p + gain * p * (1 - p) * centred


def simulate(leads: Leads, probability: np.ndarray, rng: np.random.Generator) -> Journeys:
    """Draws the journey and the outcome of every lead.

    Args:
      leads: features of n leads.
      probability: float64 [n], P(converted | features).
      rng: source of all draws.
    """
    n = len(leads)
    trait = traits(leads)
    liking, effect, receptive = trait @ _POLICY_TRAIT, trait @ _EFFECT_TRAIT, _receptiveness(leads, probability, trait)
    row = np.arange(n)
    state = np.full(n, _START)
    referred = np.zeros(n, dtype=bool)
    p = probability.astype(np.float64)
    last = p.copy()
    first_delay = np.exp(rng.normal(np.log(3 * 3600), 1.2, n))
    time = leads.time + np.clip(first_delay, 60, 5 * 86400).astype(np.int64)
    end = leads.time.copy()
    steps: list[tuple[np.ndarray, ...]] = []

    for step in range(MAX_STEPS):
        uniform = rng.random((3, len(row)))
        logits = _POLICY_STATE[state] + liking[row]
        logits[:, _FINANCING] -= np.where(referred, 4.0, 0.0)
        logits[:, _WAIT] += 0.25 * min(step, 6)
        policy = softmax(logits)
        response_state = np.where(state == _START, R, state % R)
        score = np.tanh(effect[row] + _EFFECT_STATE[response_state])
        conversion = tilted(p, score, policy, ACTION_GAIN)
        action = pick(np.cumsum(policy, axis=1), uniform[0])
        q = np.take_along_axis(conversion, action[:, None], axis=1)[:, 0]

        rho = softmax(_RESPONSE_BASE[action] + receptive[row, action][:, None] * TIDINGS)
        response = pick(np.cumsum(rho, axis=1), uniform[1])
        branches = tilted(q, TIDINGS, rho, RESPONSE_GAIN)
        after = np.take_along_axis(branches, response[:, None], axis=1)[:, 0]
        steps.append((row, np.full(len(row), step + 1), time, action, response, policy, conversion, p, after))
        last[row], end[row] = after, time

        gap = 3600 + 86400 * _MEAN_GAP_DAYS[action] * rng.standard_exponential(len(row))
        following = time + gap.astype(np.int64)
        goes_on = (uniform[2] >= _STOP[response]) & (following < leads.time[row] + LONGEST_JOURNEY_S)
        row, time, p = row[goes_on], following[goes_on], after[goes_on]
        referred = (referred | (action == _FINANCING))[goes_on]
        state = (action * R + response)[goes_on]
        if len(row) == 0:
            break

    fields = [np.concatenate(parts) for parts in zip(*steps, strict=True)]
    order = np.argsort(fields[0], kind="stable")  # steps are in order of time, so a stable sort keeps it
    lead, position, at, actions, responses, policies, conversions, before, afters = (f[order] for f in fields)
    converted = rng.random(n) < last
    # Most conversions come soon after the last event; all within 90 days of the lead's creation.
    left = leads.time + CONVERSION_WINDOW_S - end
    when = end + 1 + ((left - 1) * rng.random(n) ** 1.8).astype(np.int64)
    return Journeys(lead, position, at, actions, responses, policies, conversions, before, afters, converted, when)
