"""The columns of the `leads` table: one row each, in the order of the file.

Ranges are legal ranges (what a schema may enforce); missing shares are those of a large sample without drift or
faults, within 0.02.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modules.marketplace.world import STATES, ZIPS

Role = Literal["id", "time", "personal", "numeric", "categorical", "text", "label"]


@dataclass(frozen=True)
class Column:
    """One column of `leads`.

    Attributes:
      name: header in the file.
      kind: numeric, categorical and text are features; id, time, personal and label are not.
      group: heading under which people see it.
      description: one line for people.
      unit: unit of a number; empty for counts and everything else.
      minimum: smallest legal value of a number.
      maximum: largest legal value of a number.
      decimals: decimals written; 0 for whole numbers.
      missing: share of empty cells, 0-1.
      missing_when: what decides that a cell is empty; empty when none is.
      categories: legal values of a categorical column; the order is the order of codes inside the generator.
    """

    name: str
    kind: Role
    group: str
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    decimals: int = 0
    missing: float = 0.0
    missing_when: str = ""
    categories: tuple[str, ...] = ()


def _number(name: str, group: str, description: str, low: float, high: float, **rest: object) -> Column:
    return Column(name, "numeric", group, description, minimum=low, maximum=high, **rest)  # type: ignore[arg-type]


def _category(name: str, group: str, description: str, categories: tuple[str, ...], **rest: object) -> Column:
    return Column(name, "categorical", group, description, categories=categories, **rest)  # type: ignore[arg-type]


_NEVER = "the lead was never contacted before"
_CONSENT = "no consent to track e-mails; commoner among leads with little engagement"
_OUTAGE = "market feed out for this zip and month"

COLUMNS: tuple[Column, ...] = (
    Column("lead_id", "id", "identity", "L and nine digits, unique over all spans"),
    Column("created_at", "time", "identity", "when the lead came in, ISO 8601, UTC, whole seconds"),
    Column("name", "personal", "identity", "first and last name"),
    Column("email", "personal", "identity", "e-mail address under a reserved domain"),
    Column("phone", "personal", "identity", "fictional telephone number"),
    _number("age", "demographic", "age", 18, 100, unit="years", missing=0.04, missing_when="at random"),
    _category("state", "demographic", "state of the home looked for", STATES),
    _category("zip", "demographic", "post code of the home looked for; some start with 0", ZIPS),
    _category(
        "income_band",
        "demographic",
        "yearly household income, USD",
        ("under_35k", "35k_50k", "50k_75k", "75k_100k", "100k_150k", "150k_200k", "over_200k"),
        missing=0.15,
        missing_when="not disclosed; commoner on portals and among leads that are not serious",
    ),
    _category(
        "occupation",
        "demographic",
        "occupation",
        (
            "office",
            "healthcare",
            "education",
            "engineering",
            "sales",
            "trades",
            "service",
            "management",
            "public_sector",
            "military",
            "self_employed",
            "investor",
            "retired",
            "student",
            "unemployed",
        ),
        missing=0.06,
        missing_when="at random",
    ),
    _category(
        "homeowner",
        "demographic",
        "how the lead lives now",
        ("own", "rent", "with_family"),
        missing=0.05,
        missing_when="at random",
    ),
    _category(
        "credit_band",
        "demographic",
        "credit rating, as stated by the lead",
        ("poor", "fair", "good", "very_good", "excellent"),
        missing=0.21,
        missing_when="not disclosed; commoner with a poor rating",
    ),
    _category(
        "source",
        "behavioural",
        "where the lead came from",
        (
            "portal",
            "organic_search",
            "paid_search",
            "social",
            "referral",
            "email_campaign",
            "partner",
            "open_house",
            "walk_in",
        ),
    ),
    _category("device", "behavioural", "device of the first visit", ("mobile", "desktop", "tablet")),
    _number("visits", "behavioural", "visits to the site in the 90 days before", 1, 500),
    _number(
        "time_on_site_s",
        "behavioural",
        "time on the site, all visits",
        0,
        86400,
        unit="seconds",
        decimals=1,
        missing=0.04,
        missing_when="at random",
    ),
    _number(
        "pages_per_visit",
        "behavioural",
        "pages per visit",
        1,
        100,
        decimals=2,
        missing=0.04,
        missing_when="together with time_on_site_s",
    ),
    _number("listings_viewed", "behavioural", "distinct listings viewed", 0, 2000),
    _number("searches_saved", "behavioural", "searches saved", 0, 50),
    _number("email_opens", "behavioural", "newsletters opened", 0, 200, missing=0.24, missing_when=_CONSENT),
    _number("email_clicks", "behavioural", "newsletters clicked in", 0, 200, missing=0.24, missing_when=_CONSENT),
    Column(
        "enquiry",
        "text",
        "behavioural",
        "free text of the enquiry, up to 25 words",
        missing=0.10,
        missing_when="no enquiry written; commoner among leads that are not serious",
    ),
    _number("past_contacts", "engagement", "contacts with an agent before this lead", 0, 100),
    _number(
        "days_since_contact",
        "engagement",
        "time since the last of them",
        0,
        1000,
        unit="days",
        decimals=1,
        missing=0.45,
        missing_when=_NEVER,
    ),
    _category(
        "last_outcome",
        "engagement",
        "outcome of the last of them",
        ("no_answer", "voicemail", "not_interested", "conversation", "callback", "meeting_booked"),
        missing=0.45,
        missing_when=_NEVER,
    ),
    _number(
        "response_time_min",
        "engagement",
        "median time the lead took to answer an agent",
        0,
        50000,
        unit="minutes",
        decimals=1,
        missing=0.61,
        missing_when=_NEVER + ", or never answered",
    ),
    _number("earlier_purchases", "engagement", "homes bought through the marketplace before", 0, 20),
    _number(
        "median_price",
        "market",
        "median price of homes sold, zip and month",
        20000,
        10000000,
        unit="USD",
        missing=0.02,
        missing_when=_OUTAGE,
    ),
    _number(
        "months_of_inventory",
        "market",
        "homes for sale / homes sold a month, zip and month",
        0,
        40,
        unit="months",
        decimals=1,
        missing=0.02,
        missing_when=_OUTAGE,
    ),
    _number(
        "mortgage_rate", "market", "30-year fixed mortgage rate, state and month", 1, 15, unit="percent", decimals=2
    ),
    _number(
        "days_on_market",
        "market",
        "median days a home is listed, zip and month",
        1,
        500,
        unit="days",
        missing=0.02,
        missing_when=_OUTAGE,
    ),
    _number(
        "price_trend",
        "market",
        "change of median_price over a year, zip and month",
        -60,
        100,
        unit="percent",
        decimals=1,
        missing=0.02,
        missing_when=_OUTAGE,
    ),
    Column("converted", "label", "label", "1 when the lead converted within 90 days and the export has seen it"),
)

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
NUMERIC: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.kind == "numeric")
CATEGORICAL: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.kind == "categorical")


def code(column: str, category: str) -> int:
    """Index of a category within its column's categories."""
    return BY_NAME[column].categories.index(category)


def markdown() -> str:
    """The table as Markdown, as it stands in docs/marketplace.md."""
    lines = [
        "| column | kind | group | what it is | range or categories | missing |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for column in COLUMNS:
        values = ""
        if column.kind == "numeric":
            values = f"{column.minimum:g} to {column.maximum:.0f} {column.unit}".rstrip()
            values += f", {column.decimals} decimals" if column.decimals else ", whole"
        elif len(column.categories) > 20:
            values = f"{len(column.categories)} values, {column.categories[0]} ... {column.categories[-1]}"
        elif column.categories:
            values = ", ".join(column.categories)
        missing = f"{column.missing:.0%}: {column.missing_when}" if column.missing else ""
        cells = (f"`{column.name}`", column.kind, column.group, column.description, values, missing)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
