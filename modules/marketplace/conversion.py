"""The true probability that a lead converts within 90 days, given everything its row says.

    P(converted | features) = sigmoid(f(features))

f is a known function of the observed, rounded and possibly missing values as they stand in the table (personal data
and created_at have no part in it), so the probability is exact, not an estimate. It has thresholds, saturation,
interactions and telling gaps.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modules.marketplace import world
from modules.marketplace.columns import BY_NAME, code
from modules.marketplace.enquiry import INTENTS, URGENCIES
from modules.marketplace.leads import Leads
from modules.marketplace.sampling import sigmoid

SCALE: Final = 0.68
INTERCEPT: Final = -3.56

_INTENT: Final = {
    "buy_now": 2.2,
    "tour": 1.2,
    "financing": 0.5,
    "sell_first": 0.0,
    "price": 0.0,
    "invest": 0.0,
    "browsing": -1.2,
    "not_ready": -1.4,
    "rent": -1.9,
    "agent": -2.2,
}
_URGENCY: Final = {"soon": 0.8, "relocating": 1.0, "no_hurry": -0.6}
_SOURCE: Final = {
    "referral": 1.5,
    "open_house": 0.8,
    "walk_in": 0.8,
    "portal": -0.2,
    "social": -0.9,
}
_OUTCOME: Final = {
    "no_answer": -0.4,
    "voicemail": 0.0,
    "not_interested": -1.9,
    "conversation": 0.7,
    "callback": 1.8,
    "meeting_booked": 2.8,
}
_OCCUPATION: Final = {"student": -0.4, "unemployed": -0.6}
_INCOME_USD: Final = np.array([28e3, 42e3, 62e3, 87e3, 122e3, 172e3, 260e3])
_CREDIT: Final = np.array([-2.0, -1.0, 0.0, 0.8, 1.2])


def _effects(column: str, effects: dict[str, float], missing: float = 0.0) -> np.ndarray:
    """Effect per code of a column; the last entry, reached by code -1, is that of a missing value."""
    return np.array([*(effects.get(name, 0.0) for name in BY_NAME[column].categories), missing])


_SOURCE_EFFECT = _effects("source", _SOURCE)
_OUTCOME_EFFECT = _effects("last_outcome", _OUTCOME)
_OCCUPATION_EFFECT = _effects("occupation", _OCCUPATION)
_STATE_EFFECT = _effects("state", {"TX": 0.1, "NY": -0.1})
_INTENT_EFFECT = np.array([_INTENT.get(name, 0.0) for name in INTENTS])
_URGENCY_EFFECT = np.array([_URGENCY.get(name, 0.0) for name in URGENCIES])
_ZIP_EFFECT = np.random.default_rng(world.WORLD_SEED + 1).normal(0, 0.03, len(world.ZIPS))


def log_odds(leads: Leads) -> np.ndarray:
    """f(features): float64 [n], log-odds of converting within 90 days."""
    x, c = leads.numeric, leads.codes
    intent, age, rate = leads.intent, x["age"], x["mortgage_rate"]

    def when(condition: np.ndarray, effect: float) -> np.ndarray:
        """The effect where the condition holds; a comparison with a missing value does not hold."""
        return np.where(condition, effect, 0.0)

    def known(values: np.ndarray, missing: float = 0.0) -> np.ndarray:
        return np.where(np.isnan(values), missing, values)

    # What they wrote
    f = _INTENT_EFFECT[intent] + _URGENCY_EFFECT[leads.urgency]
    f += when(intent == 0, -0.2)

    # What they did
    visits, clicks, opens = x["visits"], x["email_clicks"], x["email_opens"]
    f += 0.8 * np.minimum(np.log(visits), np.log(12.0))
    minutes = x["time_on_site_s"] / 60
    f += known(0.8 * np.clip(np.log(np.maximum(minutes, 0.1)) - 2.0, -1.2, 1.5), -0.1) + when(minutes > 240, -0.6)
    f += 0.35 * np.minimum(x["searches_saved"], 3)
    f += when(np.isnan(opens), -0.3) + when(clicks >= 1, 0.8) + when(clicks >= 3, 0.4)
    f += _SOURCE_EFFECT[c["source"]]

    # What happened before: the last outcome fades with time, a refusal later
    days = known(x["days_since_contact"], 0.0)
    refused = c["last_outcome"] == code("last_outcome", "not_interested")
    f += _OUTCOME_EFFECT[c["last_outcome"]] * np.where(days <= np.where(refused, 90.0, 30.0), 1.0, 0.35)
    answer = x["response_time_min"]
    f += when(answer < 60, 0.6) + when(answer < 360, 0.2)
    f += when(x["earlier_purchases"] >= 1, 0.6)

    # Who they are
    f += _OCCUPATION_EFFECT[c["occupation"]] + _STATE_EFFECT[c["state"]] + _ZIP_EFFECT[c["zip"]]
    renter = c["homeowner"] == code("homeowner", "rent")
    owner = c["homeowner"] == code("homeowner", "own")
    f += when(renter & (age >= 28) & (age < 43), 0.5) + when(age >= 70, -0.4)
    f += when(owner & (intent == INTENTS.index("sell_first")), 0.3)

    # What they can afford: credit matters more when rates are high
    credit = np.append(_CREDIT, -0.4)[c["credit_band"]]
    f += 0.35 * credit + when((credit < 0) & (rate > 6.3), -0.5) - 0.15 * (rate - 6.3)
    income = np.append(_INCOME_USD, np.nan)[c["income_band"]]
    f += known(-0.3 * np.clip(np.log(known(x["median_price"], np.nan) / (4.5 * income)), -1.0, 1.2), -0.25)

    # The market
    inventory, trend = x["months_of_inventory"], x["price_trend"]
    f += when((inventory < 2) & (intent != INTENTS.index("buy_now")), -0.2) + when(inventory > 5, 0.15)
    f += known(np.clip(trend, -10, 20), 4.0) * np.where(intent == INTENTS.index("invest"), 0.06, 0.01)
    return SCALE * f + INTERCEPT + leads.concept


def probability(leads: Leads) -> np.ndarray:
    """P(converted within 90 days | features), float64 [n], 0-1, exact."""
    return sigmoid(log_odds(leads))
