"""Features of leads: correlated, heavy-tailed, with outliers, missing values, season and a slow trend.

Three latent traits tie the features together: how serious a lead is, how wealthy, how engaged. They appear in no
table, and the outcome depends on the observed features only (`modules.marketplace.conversion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from modules.marketplace import world
from modules.marketplace.columns import BY_NAME, CATEGORICAL, NUMERIC
from modules.marketplace.drift import Drift, drifted_category, drifted_number
from modules.marketplace.enquiry import INTENTS, URGENCIES
from modules.marketplace.sampling import cumulative, pick, sigmoid

_TREND_MONTHS: Final = 48
_GRADES: Final = 7  # a normal latent is cut into this many grades where a table of shares depends on it
_GRADE_EDGES: Final = np.array([-1.5, -0.9, -0.3, 0.3, 0.9, 1.5])
_GRADE_VALUES: Final = np.array([-1.9, -1.2, -0.6, 0.0, 0.6, 1.2, 1.9])


@dataclass(frozen=True)
class Leads:
    """Features of n leads.

    Attributes:
      time: int64 [n], seconds since 1970 UTC, ascending.
      numeric: float64 [n] per numeric column, NaN where missing, rounded as written.
      codes: int64 [n] per categorical column, index into its categories, -1 where missing.
      intent: int64 [n], index into `enquiry.INTENTS`; 0 where no enquiry was written.
      urgency: int64 [n], index into `enquiry.URGENCIES`.
      concept: float64 [n], what concept drift adds to the log-odds of conversion.
    """

    time: np.ndarray
    numeric: dict[str, np.ndarray]
    codes: dict[str, np.ndarray]
    intent: np.ndarray
    urgency: np.ndarray
    concept: np.ndarray

    def __len__(self) -> int:
        return len(self.time)


def _graded(base: dict[str, float], slope: dict[str, float], column: str | None = None) -> np.ndarray:
    """Cumulative shares [grades, categories]: base share x exp(slope x latent)."""
    names = BY_NAME[column].categories if column else tuple(base)
    shares = np.array([base[name] for name in names])
    slopes = np.array([slope.get(name, 0.0) for name in names])
    return cumulative(shares * np.exp(_GRADE_VALUES[:, None] * slopes))


_SOURCE_SLOPE = {
    "portal": -0.15,
    "social": -0.35,
    "paid_search": -0.1,
    "referral": 0.35,
    "open_house": 0.4,
    "walk_in": 0.4,
    "partner": 0.1,
}
_SOURCE_BEFORE = {
    "portal": 0.36,
    "organic_search": 0.18,
    "paid_search": 0.14,
    "social": 0.07,
    "referral": 0.09,
    "email_campaign": 0.07,
    "partner": 0.045,
    "open_house": 0.03,
    "walk_in": 0.015,
}
_SOURCE_AFTER = {
    "portal": 0.28,
    "organic_search": 0.16,
    "paid_search": 0.16,
    "social": 0.18,
    "referral": 0.09,
    "email_campaign": 0.06,
    "partner": 0.045,
    "open_house": 0.02,
    "walk_in": 0.005,
}
_SOURCES = np.stack([_graded(_SOURCE_BEFORE, _SOURCE_SLOPE, "source"), _graded(_SOURCE_AFTER, _SOURCE_SLOPE, "source")])
_OUTCOMES = _graded(
    {
        "no_answer": 0.3,
        "voicemail": 0.16,
        "not_interested": 0.14,
        "conversation": 0.24,
        "callback": 0.1,
        "meeting_booked": 0.06,
    },
    {"no_answer": -0.2, "not_interested": -0.45, "conversation": 0.15, "callback": 0.4, "meeting_booked": 0.6},
    "last_outcome",
)
_OCCUPATIONS = _graded(
    {
        "office": 0.16,
        "healthcare": 0.12,
        "education": 0.08,
        "engineering": 0.1,
        "sales": 0.1,
        "trades": 0.1,
        "service": 0.1,
        "management": 0.08,
        "public_sector": 0.05,
        "military": 0.015,
        "self_employed": 0.065,
        "investor": 0.012,
        "retired": 0.01,
        "student": 0.02,
        "unemployed": 0.025,
    },
    {
        "engineering": 0.4,
        "management": 0.6,
        "investor": 0.9,
        "service": -0.5,
        "trades": -0.15,
        "student": -0.5,
        "unemployed": -0.8,
        "self_employed": 0.2,
    },
    "occupation",
)
_INTENT_SHARES = _graded(
    {
        "none": 0.1,
        "buy_now": 0.07,
        "tour": 0.2,
        "financing": 0.1,
        "sell_first": 0.06,
        "price": 0.15,
        "invest": 0.04,
        "browsing": 0.14,
        "not_ready": 0.06,
        "rent": 0.06,
        "agent": 0.02,
    },
    {
        "none": -0.45,
        "buy_now": 0.8,
        "tour": 0.35,
        "sell_first": 0.15,
        "browsing": -0.5,
        "not_ready": -0.4,
        "rent": -0.5,
        "agent": -0.6,
    },
)
_URGENCY_SHARES = _graded(
    {"none": 0.7, "soon": 0.1, "relocating": 0.07, "no_hurry": 0.13}, {"soon": 0.4, "relocating": 0.2, "no_hurry": -0.4}
)
_ZIP_SHARES: Final = cumulative(world.ZIP_SHARE)


def draw_leads(time: np.ndarray, rng: np.random.Generator) -> Leads:
    """Draws features for leads created at the given times.

    Args:
      time: int64 [n], seconds since 1970 UTC, ascending.
      rng: source of all draws.

    Returns:
      Leads without drift.
    """
    n = len(time)
    month = time.astype("datetime64[s]").astype("datetime64[M]")
    serious, wealth, own_engagement = rng.standard_normal((3, n))
    engaged = 0.6 * serious + 0.8 * own_engagement
    grade = np.searchsorted(_GRADE_EDGES, serious)
    wealth_grade = np.searchsorted(_GRADE_EDGES, wealth)
    numeric: dict[str, np.ndarray] = {}
    codes: dict[str, np.ndarray] = {}

    def uniform() -> np.ndarray:
        return rng.random(n)

    def normal() -> np.ndarray:
        return rng.standard_normal(n)

    def blank(name: str, where: np.ndarray) -> None:
        """Empties cells."""
        if name in codes:
            codes[name][where] = -1
        else:
            numeric[name][where] = np.nan

    # Where
    zip_code = np.minimum(np.searchsorted(_ZIP_SHARES, uniform(), side="right"), len(world.ZIPS) - 1)
    codes["zip"] = zip_code
    codes["state"] = world.ZIP_STATE[zip_code]
    _add_market(numeric, zip_code, (month - world.FIRST_MONTH).astype(np.int64))

    # Who
    age = np.floor(18 + 8.3 * rng.standard_gamma(3.3, n))
    age = np.minimum(age, 96.0)
    income = np.exp(
        11.25
        + 0.45 * wealth
        + 0.25 * world.market().log_price_level[zip_code]
        - 0.6 * ((age - 48) / 40) ** 2
        + 0.35 * normal()
    )
    codes["income_band"] = np.searchsorted(np.array([35e3, 50e3, 75e3, 100e3, 150e3, 200e3]), income, side="right")
    occupation = pick(_OCCUPATIONS[wealth_grade], uniform())
    categories = BY_NAME["occupation"].categories
    old, young = uniform(), uniform()
    occupation[(age >= 66) & (old < 0.75)] = categories.index("retired")
    occupation[(age < 24) & (young < 0.5)] = categories.index("student")
    codes["occupation"] = occupation
    owns = uniform() < sigmoid(-0.5 + 0.055 * (age - 42) + 0.6 * wealth)
    family = uniform() < np.where(age < 30, 0.3, 0.06)
    codes["homeowner"] = np.where(owns, 0, np.where(family, 2, 1))
    credit = 690 + 38 * wealth + 0.7 * (age - 44) + 52 * normal()
    codes["credit_band"] = np.searchsorted(np.array([580, 670, 740, 800]), credit, side="right")

    # How they came, and what they did on the site
    months_in = (month - np.datetime64("2023-01", "M")).astype(np.int64)
    late = uniform() < np.clip(months_in / _TREND_MONTHS, 0, 1)
    codes["source"] = pick(_SOURCES[late.astype(np.int64), grade], uniform())
    mobile = sigmoid(0.75 - 0.035 * (age - 42) + 0.006 * months_in)
    device = uniform()
    codes["device"] = np.where(device < mobile, 0, np.where(device < mobile + 0.8 * (1 - mobile), 1, 2))
    visits = np.minimum(1 + np.floor(np.exp(0.6 + 0.6 * serious + 0.85 * normal())), 500.0)
    seconds = visits**0.9 * np.exp(4.7 + 0.4 * serious + 0.7 * normal())
    seconds *= np.where(uniform() < 0.004, 40.0, 1.0)  # a tab left open
    pages = 1 + np.exp(0.7 + 0.25 * serious + 0.5 * normal())
    numeric["visits"] = visits
    numeric["time_on_site_s"] = np.round(np.minimum(seconds, 86400), 1)
    numeric["pages_per_visit"] = np.round(np.minimum(pages, 100), 2)
    numeric["listings_viewed"] = np.minimum(np.floor(visits * (pages - 1) * (0.3 + 0.7 * uniform())), 2000)
    numeric["searches_saved"] = np.minimum(rng.poisson(np.exp(-0.9 + 0.5 * serious)), 50).astype(np.float64)
    opens = np.minimum(rng.poisson(np.exp(0.7 + 0.6 * engaged)), 200)
    numeric["email_opens"] = opens.astype(np.float64)
    numeric["email_clicks"] = rng.binomial(opens, sigmoid(-1.3 + 0.7 * serious)).astype(np.float64)
    intent = pick(_INTENT_SHARES[grade], uniform())
    intent[(codes["occupation"] == categories.index("investor")) & (uniform() < 0.5)] = INTENTS.index("invest")
    urgency = pick(_URGENCY_SHARES[grade], uniform())
    urgency[intent == INTENTS.index("none")] = URGENCIES.index("none")

    # What happened with them before
    known = uniform() < 0.55
    contacts = np.where(known, 1 + np.floor(np.exp(0.2 + 0.8 * normal())), 0.0)
    numeric["past_contacts"] = np.minimum(contacts, 100)
    numeric["days_since_contact"] = np.round(np.minimum(np.exp(3.0 - 0.2 * serious + 1.2 * normal()), 1000), 1)
    codes["last_outcome"] = pick(_OUTCOMES[grade], uniform())
    numeric["response_time_min"] = np.round(np.minimum(np.exp(4.6 - 0.5 * serious + 1.4 * normal()), 50000), 1)
    bought = rng.poisson(0.13 * np.exp(0.02 * (age - 45) + 0.35 * wealth))
    numeric["earlier_purchases"] = np.minimum(bought, 20).astype(np.float64)
    numeric["age"] = age

    # What is missing: at random, or telling something
    portal = codes["source"] == BY_NAME["source"].categories.index("portal")
    consent = uniform() < sigmoid(1.2 + 0.5 * engaged)
    no_tracking = uniform() < 0.04
    no_answer = codes["last_outcome"] == BY_NAME["last_outcome"].categories.index("no_answer")
    blank("income_band", uniform() < sigmoid(-2.15 + 0.9 * portal - 0.5 * serious))
    blank("credit_band", uniform() < sigmoid(-1.4 - 0.009 * (credit - 690)))
    for name, share in (("age", 0.04), ("occupation", 0.06), ("homeowner", 0.05)):
        blank(name, uniform() < share)
    for name in ("time_on_site_s", "pages_per_visit"):
        blank(name, no_tracking)
    for name in ("email_opens", "email_clicks"):
        blank(name, ~consent)
    for name in ("days_since_contact", "last_outcome", "response_time_min"):
        blank(name, ~known)
    blank("response_time_min", no_answer)
    return Leads(
        time,
        {name: numeric[name] for name in NUMERIC},
        {name: codes[name] for name in CATEGORICAL},
        intent,
        urgency,
        np.zeros(n),
    )


def _add_market(numeric: dict[str, np.ndarray], zip_code: np.ndarray, month: np.ndarray) -> None:
    """Looks up the market of each lead's zip and month."""
    market = world.market()
    known = market.known[month, zip_code]
    numeric["mortgage_rate"] = market.mortgage_rate[month, zip_code]
    for name in ("median_price", "months_of_inventory", "days_on_market", "price_trend"):
        numeric[name] = np.where(known, getattr(market, name)[month, zip_code], np.nan)


def with_drift(leads: Leads, drifts: tuple[Drift, ...], span: np.ndarray, rng: np.random.Generator) -> Leads:
    """Leads after drift, in the order in which the drifts are listed.

    Args:
      leads: leads without drift.
      drifts: what changes.
      span: int [n], 1-based span of each lead.
      rng: decides which cells change their category.
    """
    numeric, codes, concept = dict(leads.numeric), dict(leads.codes), leads.concept
    for drift in drifts:
        active = span >= drift.from_span
        if drift.change == "share":
            codes[drift.column] = drifted_category(drift, codes[drift.column], active, rng)
        elif drift.column in numeric:
            numeric[drift.column] = drifted_number(drift, numeric[drift.column], active)
        else:
            concept = concept + np.where(active, drift.value, 0.0)
    return Leads(leads.time, numeric, codes, leads.intent, leads.urgency, concept)
