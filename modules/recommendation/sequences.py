"""Journeys as arrays: what the training loop and the evaluation read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.recommendation.layout import FIRST_WORD

Array = NDArray[Any]

INPUTS = ("event_codes", "event_numbers", "lead_codes", "lead_numbers", "length")
"""Fields that are the network's inputs, by name."""


@dataclass(frozen=True)
class Sequences:
    """N journeys, or windows of them, of at most L events each.

    Slot m of a journey is the moment after its first m events, 0 <= m <= length. The answer at slot m < length is the
    action of event m + 1, class `event_codes[:, m, 0] - FIRST_WORD`, where a negative class (a word outside of the
    vocabulary) is no answer; the answer at slot `length` is `next_action`. Training in one pass learns from the last
    `positions` of the slots 0 to length, so that windows that overlap count no event twice.

    Attributes:
      event_codes: int32 (or int16) [N, L, C], columns of `Layout.event_codes`; PADDING behind the events.
      event_numbers: float32 [N, L, K], K may be 0.
      length: int32 [N], 0 to L.
      lead_codes: int32 [N, F], F may be 0.
      lead_numbers: float32 [N, G], G may be 0.
      next_action: int32 [N], class of the action that follows the last event; -1 where there is none or it is unknown.
      outcome: float32 [N], 1 where the lead converted, 0 where it did not, NaN where that is not known.
      positions: int32 [N], slots that carry loss, 0 to length + 1.
      time: int64 [N], seconds since 1970 of the journey's start; recency weights look at it.
    """

    event_codes: Array
    event_numbers: Array
    length: Array
    lead_codes: Array
    lead_numbers: Array
    next_action: Array
    outcome: Array
    positions: Array
    time: Array

    def __post_init__(self) -> None:
        rows = {field.name: len(getattr(self, field.name)) for field in dataclasses.fields(self)}
        if len(set(rows.values())) > 1:
            raise ValueError(f"arrays of different lengths: {rows}")

    def __len__(self) -> int:
        return len(self.length)

    def take(self, rows: Array) -> Sequences:
        """The journeys at these indices (or where this mask holds), in this order."""
        return Sequences(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})

    def with_beginnings(self) -> Sequences:
        """The same journeys; one that is learned from up to its second event is learned from up to its first, too.

        A dataset may leave out the first decision of a journey (`history.min: 1`). How journeys begin still teaches the
        network: on Helpdesk by start time it is worth 0.7 points of accuracy on the other decisions.
        """
        # A window that does not begin with its journey carries loss on at most half of its slots.
        begins = (self.positions == self.length) & (self.event_codes.shape[1] > 1)
        return dataclasses.replace(self, positions=self.positions + begins.astype(np.int32))

    def answers(self) -> NDArray[np.int32]:
        """The class to learn at each slot, int32 [N, L + 1]; -1 where there is none or the slot carries no loss."""
        n, longest = self.event_codes.shape[:2]
        found = np.full((n, longest + 1), -1, np.int32)
        if self.event_codes.shape[2]:
            found[:, :longest] = self.event_codes[:, :, 0].astype(np.int32) - FIRST_WORD
        length = np.asarray(self.length, np.int64)
        found[np.arange(n), length] = self.next_action
        slot = np.arange(longest + 1)[None, :]
        learned = (slot <= length[:, None]) & (slot > (length - self.positions)[:, None])
        return np.where(learned & (found >= 0), found, -1).astype(np.int32)

    def inputs(self, rows: Array | slice = slice(None)) -> dict[str, Array]:
        """The network's inputs of these journeys; T is the longest history among them."""
        found = {name: getattr(self, name)[rows] for name in INPUTS}
        longest = int(found["length"].max(initial=0))
        return found | {
            "event_codes": found["event_codes"][:, :longest].astype(np.int32, copy=False),
            "event_numbers": found["event_numbers"][:, :longest],
        }


def concatenate(parts: Sequence[Sequences]) -> Sequences:
    """All journeys of the parts, one part after the other. The parts have the same L."""
    if not parts:
        raise ValueError("nothing to concatenate")
    return Sequences(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(Sequences)
        }
    )
