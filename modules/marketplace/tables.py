"""The four tables of a chunk as Arrow record batches: leads, events, truth and truth_events."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from modules.marketplace import encode
from modules.marketplace.columns import COLUMNS
from modules.marketplace.enquiry import texts
from modules.marketplace.faults import UNSEEN, Fault, cells_to_damage
from modules.marketplace.generate import CELLS, PEOPLE, TEXT, Chunk
from modules.marketplace.journeys import ACTIONS, RESPONSES
from modules.marketplace.people import people
from modules.marketplace.sampling import generator
from modules.marketplace.settings import MarketplaceSettings

TABLES: Final = ("leads", "events", "truth", "truth_events")
QUOTED: Final = frozenset({"enquiry"})
"""Columns whose cells may hold a comma."""


class ChunkTables:
    """Tables of the rows of a chunk that belong to one span.

    Args:
      settings: settings of the sample.
      chunk: the chunk.
      span: 1-based span.
      span_first_row: first row of that span, 0-based over all spans.
      as_text: whether numbers, times and probabilities become the strings of a CSV.
    """

    def __init__(
        self, settings: MarketplaceSettings, chunk: Chunk, span: int, span_first_row: int, as_text: bool
    ) -> None:
        self.settings, self.chunk, self.span, self.as_text = settings, chunk, span, as_text
        self.first, self.last = (int(x) for x in np.searchsorted(chunk.span, [span, span + 1]))
        self.row_in_file = chunk.first_row + self.first - span_first_row
        lead = chunk.journeys.lead
        inside = chunk.visible & (lead >= self.first) & (lead < self.last)
        self.events_at = np.flatnonzero(inside)
        self.ids = encode.lead_ids(chunk.first_row, len(chunk.leads))

    def table(self, name: str) -> dict[str, pa.Array]:
        """Columns of one of `TABLES`, in order."""
        columns = getattr(self, name)()
        return {key: encode.text(column) for key, column in columns.items()} if self.as_text else columns

    def leads(self) -> dict[str, pa.Array]:
        """The table of leads, damaged cells included."""
        chunk, settings = self.chunk, self.settings
        count = self.last - self.first
        part = slice(self.first, self.last)
        hits = self._cell_faults(count)
        name, email, phone = people(len(chunk.leads), generator(settings.seed, chunk.index, PEOPLE))
        enquiry = texts(chunk.leads.intent, chunk.leads.urgency, generator(settings.seed, chunk.index, TEXT))
        whole = {"lead_id": self.ids, "name": name, "email": email, "phone": phone, "enquiry": enquiry}
        out: dict[str, pa.Array] = {}
        for column in COLUMNS:
            key = column.name
            if key in whole:
                out[key] = whole[key].slice(self.first, count)
                for _, hit in hits.get(key, ()):
                    out[key] = pa.array(np.where(hit, None, out[key].to_numpy(zero_copy_only=False)), pa.string())
            elif key == "created_at":
                out[key] = self._time(chunk.leads.time[part])
            elif column.kind == "numeric":
                values = chunk.leads.numeric[key][part]
                for fault, hit in hits.get(key, ()):
                    values = np.where(hit, np.nan if fault.kind == "missing" else 10 * (column.maximum or 0), values)
                out[key] = encode.number(values, column.decimals)
            elif column.kind == "categorical":
                codes, categories = chunk.leads.codes[key][part], column.categories
                for fault, hit in hits.get(key, ()):
                    codes = np.where(hit, -1 if fault.kind == "missing" else len(column.categories), codes)
                    categories = (*column.categories, UNSEEN)
                out[key] = encode.category(codes, categories)
            else:
                out[key] = pa.array(chunk.converted[part].astype(np.int64))
        return out

    def events(self) -> dict[str, pa.Array]:
        """The table of events up to the export."""
        journeys, at = self.chunk.journeys, self.events_at
        return {
            "lead_id": self._event_ids(),
            "time": self._time(journeys.time[at]),
            "action": encode.category(journeys.action[at], ACTIONS),
            "response": encode.category(journeys.response[at], RESPONSES),
            "propensity": self._share(self._propensity()),
        }

    def truth(self) -> dict[str, pa.Array]:
        """True probability and final outcome of every lead, seen by the export or not."""
        part = slice(self.first, self.last)
        journeys = self.chunk.journeys
        converted = journeys.converted[part]
        when = self._time(journeys.conversion_time[part])
        return {
            "lead_id": self.ids.slice(self.first, self.last - self.first),
            "probability": self._share(self.chunk.probability[part]),
            "converted": pa.array(converted.astype(np.int64)),
            "converted_at": when.take(pa.array(np.arange(len(converted)), mask=~converted)),
        }

    def truth_events(self) -> dict[str, pa.Array]:
        """What is true at every event of `events`, row by row."""
        journeys, at = self.chunk.journeys, self.events_at
        policy, conversion = journeys.policy[at], journeys.conversion[at]
        likeliest = policy.argmax(axis=1) if len(at) else np.empty(0, dtype=np.int64)
        return {
            "lead_id": self._event_ids(),
            "position": pa.array(journeys.position[at]),
            "policy_probability": self._share(self._propensity()),
            "likeliest_action": encode.category(likeliest, ACTIONS),
            "before": self._share(journeys.before[at]),
            "after": self._share(journeys.after[at]),
            **{f"conversion_{name}": self._share(conversion[:, i]) for i, name in enumerate(ACTIONS)},
        }

    def _propensity(self) -> np.ndarray:
        """The logging policy's probability of the action taken, float64 [events]."""
        journeys, at = self.chunk.journeys, self.events_at
        return journeys.policy[at, journeys.action[at]]

    def _event_ids(self) -> pa.Array:
        return self.ids.take(pa.array(self.chunk.journeys.lead[self.events_at]))

    def _time(self, seconds: np.ndarray) -> pa.Array:
        if self.as_text:
            return encode.iso_times(seconds)
        return pa.array(seconds * 1000, pa.timestamp("ms", tz="UTC"))

    def _share(self, values: np.ndarray) -> pa.Array:
        return encode.shares(values) if self.as_text else pa.array(values.astype(np.float32))

    def _cell_faults(self, count: int) -> dict[str, list[tuple[Fault, np.ndarray]]]:
        """Faults of cells by column, each with the rows of this piece that it hits."""
        hits: dict[str, list[tuple[Fault, np.ndarray]]] = {}
        for index, fault in enumerate(self.settings.faults):
            if fault.of_lines or self.span < fault.from_span:
                continue
            rng = generator(self.settings.seed, self.chunk.index * 1000 + self.span, CELLS + index)
            hit = cells_to_damage(fault, self.row_in_file, count, rng)
            hits.setdefault(fault.column, []).append((fault, hit))
        return hits


def csv_bytes(columns: dict[str, pa.Array]) -> memoryview:
    """Lines of a CSV, without its header, from columns of strings."""
    return encode.csv_lines([encode.quoted(c) if name in QUOTED else c for name, c in columns.items()])
