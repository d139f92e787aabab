"""What the network sees: the columns of its inputs, in order. Transform fills them, the network embeds them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FROZEN = ConfigDict(frozen=True, extra="forbid")

PADDING, MISSING, UNKNOWN, FIRST_WORD = 0, 1, 2, 3
"""Codes: no event here (events) or nothing; a value that is missing; a word outside of the vocabulary; the most
frequent word of the vocabulary, from where words follow by falling frequency."""

ACTION = "action"
"""Name of the first column of event codes."""


class Codes(BaseModel):
    """A column of codes: 0 to `size` - 1, each with an embedding."""

    model_config = FROZEN
    name: str
    size: int


class Layout(BaseModel):
    """Columns of the network's inputs.

    Attributes:
      length: most events of a history, L.
      actions: the A actions in vocabulary order, by falling frequency; action `a` has the event code a + FIRST_WORD.
      event_codes: columns of `event_codes` int32 [n, T, C]: the action, the categorical attributes of an event, and
        what its time says (see clock.py). T is the longest history of the batch, at most L; unused slots are PADDING
        and lie behind the events (the oldest event is in slot 0).
      event_numbers: columns of `event_numbers` float32 [n, T, K], standardised, 0 where missing.
      lead_codes: columns of `lead_codes` int32 [n, F]. The categorical features of the lead.
      lead_numbers: columns of `lead_numbers` float32 [n, G], standardised, 0 where missing, and for each a 0/1 column
        that says so; words of its texts as 0/1 columns.
    """

    model_config = FROZEN
    length: int
    actions: tuple[str, ...]
    event_codes: tuple[Codes, ...]
    event_numbers: tuple[str, ...] = ()
    lead_codes: tuple[Codes, ...] = ()
    lead_numbers: tuple[str, ...] = ()


def missing_name(name: str) -> str:
    """Name of the column that is 1 where a number is missing."""
    return f"{name}=?"
