"""One chunk of the marketplace: leads, their journeys and the truth, as NumPy arrays.

A chunk depends on the settings and its number only, so chunks can be made in any order and memory does not grow
with the number of rows.

    >>> chunk = generate_chunk(MarketplaceSettings(rows=1000, seed=7), 0)
    >>> len(chunk.leads), chunk.probability.shape
    (1000, (1000,))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from modules.marketplace.arrivals import arrival_times, span_starts
from modules.marketplace.conversion import probability
from modules.marketplace.journeys import Journeys, simulate
from modules.marketplace.leads import Leads, draw_leads, with_drift
from modules.marketplace.sampling import generator
from modules.marketplace.settings import MarketplaceSettings

CHUNK_ROWS: Final = 50_000
"""Part of the definition of a sample: another size, other draws."""

ARRIVALS, FEATURES, DRIFT, PEOPLE, TEXT, JOURNEYS, LINES, CELLS = range(8)
"""Streams of random numbers; CELLS + i is that of the i-th fault."""


@dataclass(frozen=True)
class Chunk:
    """Rows first_row .. first_row + n - 1 of a sample.

    Attributes:
      index: number of the chunk, 0-based.
      first_row: number of its first lead, 0-based over all spans.
      span: int64 [n], 1-based span of each lead, ascending.
      leads: features, drift included.
      probability: float64 [n], P(converted within 90 days | features).
      journeys: events and outcomes, those after the export included.
      converted: bool [n], what the export shows: conversions that happened before it.
      visible: bool [m], events that happened before the export.
    """

    index: int
    first_row: int
    span: np.ndarray
    leads: Leads
    probability: np.ndarray
    journeys: Journeys
    converted: np.ndarray
    visible: np.ndarray


def chunk_count(settings: MarketplaceSettings) -> int:
    """Number of chunks of a sample."""
    return -(-settings.rows // CHUNK_ROWS)


def generate_chunk(settings: MarketplaceSettings, index: int) -> Chunk:
    """Makes chunk `index` (0 to chunk_count - 1) of a sample."""
    first = index * CHUNK_ROWS
    count = min(CHUNK_ROWS, settings.rows - first)
    seed = settings.seed
    span = np.searchsorted(span_starts(settings), np.arange(first, first + count), side="right")
    times = arrival_times(settings, first, count, generator(seed, index, ARRIVALS))
    leads = draw_leads(times, generator(seed, index, FEATURES))
    if settings.drift:
        leads = with_drift(leads, settings.drift, span, generator(seed, index, DRIFT))
    truth = probability(leads)
    journeys = simulate(leads, truth, generator(seed, index, JOURNEYS))
    return Chunk(
        index=index,
        first_row=first,
        span=span,
        leads=leads,
        probability=truth,
        journeys=journeys,
        converted=journeys.converted & (journeys.conversion_time < settings.export_time),
        visible=journeys.time < settings.export_time,
    )
