"""The free text of an enquiry: greeting, home, intent, urgency and closing, from phrase tables.

Intent and urgency carry signal; every phrase of an intent can be told from its words. Some words only tell
together with others ("offer" stands in "ready to make an offer" and in "not ready to make an offer").
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

INTENT_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "none": ("",),
    "buy_now": (
        "we are ready to make an offer",
        "i want to make a cash offer",
        "already preapproved and ready to make an offer",
        "where do i send our offer",
    ),
    "tour": (
        "can i schedule a tour",
        "i would like to tour it",
        "when is the next tour",
        "we want to visit for a tour this weekend",
    ),
    "financing": (
        "which mortgage could i get",
        "i need help with the mortgage",
        "can you recommend a lender for a mortgage",
        "what down payment and mortgage do i need",
    ),
    "sell_first": (
        "i have to sell my current house first",
        "we must sell before we buy",
        "what is my current home worth, i want to sell",
    ),
    "price": (
        "is the price negotiable",
        "what is the lowest price",
        "has the price been reduced",
    ),
    "invest": (
        "i am looking for a rental investment",
        "what is the yield of a rental",
        "what rental income could i expect",
    ),
    "browsing": (
        "just browsing",
        "just curious what it costs",
        "just curious, no plans",
        "just looking around",
    ),
    "not_ready": (
        "we are not ready yet",
        "not ready to make an offer, maybe next year",
        "not before next year",
    ),
    "rent": (
        "is it available to lease",
        "i would rather lease than buy",
        "do you also have apartments to lease",
    ),
    "agent": (
        "i represent an agency, are you hiring",
        "our agency offers marketing services",
        "we are an agency, please call back",
    ),
}

URGENCY_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "none": ("",),
    "soon": ("as it is urgent", "urgent", "it is quite urgent"),
    "relocating": ("relocating for work", "we are relocating soon"),
    "no_hurry": ("no hurry", "there is no hurry"),
}

_GREETINGS = ("", "", "hi,", "hello,", "good morning,", "hi there,", "dear team,")
_HOMES = (
    "",
    "",
    "",
    "about the condo downtown",
    "three bedroom house",
    "townhouse near the school",
    "house with a garden",
    "about the listing on main street",
    "about the café building",
    "two bedroom condo",
)
_CLOSINGS = ("", "", "", "thanks", "thank you", "please call me", "best regards")

INTENTS: Final[tuple[str, ...]] = tuple(INTENT_PHRASES)
URGENCIES: Final[tuple[str, ...]] = tuple(URGENCY_PHRASES)


def _flat(phrases: dict[str, tuple[str, ...]]) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """All phrases in one array, the first of each group, and the size of each group."""
    sizes = np.array([len(group) for group in phrases.values()])
    return _table(tuple(phrase for group in phrases.values() for phrase in group)), np.cumsum(sizes) - sizes, sizes


def _table(phrases: tuple[str, ...]) -> pa.Array:
    """The phrases, an empty one as null, so that joining leaves no double space."""
    return pa.array([phrase or None for phrase in phrases], pa.string())


def texts(intent: np.ndarray, urgency: np.ndarray, rng: np.random.Generator) -> pa.StringArray:
    """Texts of enquiries.

    Args:
      intent: int [n], index into `INTENTS`; 0 gives no text at all.
      urgency: int [n], index into `URGENCIES`.
      rng: chooses the phrases.

    Returns:
      string [n], null where nothing was written; lower case, up to 25 words, no quotes and no line breaks.
    """
    uniform = rng.random((5, len(intent)))
    written = intent > 0

    def grouped(phrases: dict[str, tuple[str, ...]], group: np.ndarray, draw: np.ndarray) -> pa.Array:
        table, first, size = _flat(phrases)
        return table.take(pa.array(first[group] + (draw * size[group]).astype(np.int64)))

    def plain(phrases: tuple[str, ...], draw: np.ndarray) -> pa.Array:
        return _table(phrases).take(pa.array((draw * len(phrases)).astype(np.int64)))

    # Arrow drops rows of nulls only when it skips nulls, hence the empty text where nothing was written.
    intents = grouped(INTENT_PHRASES, intent, uniform[2])
    joined = pc.binary_join_element_wise(
        plain(_GREETINGS, uniform[0]),
        plain(_HOMES, uniform[1]),
        pc.fill_null(intents, ""),
        grouped(URGENCY_PHRASES, urgency, uniform[3]),
        plain(_CLOSINGS, uniform[4]),
        " ",
        null_handling="skip",
    )
    return pc.if_else(pa.array(written), joined, pa.scalar(None, pa.string()))
