"""Which files the tables of a journey dataset are, and what is in them."""

from __future__ import annotations

from typing import Any

from modules.journeys import tables
from modules.journeys.dataset import JourneyDataset
from pipeline.components.example_gen.settings import Settings
from pipeline.components.example_gen.table import Contents, TableDriver


class JourneyDriver(TableDriver):
    """See TableDriver."""

    def find(self, exec_properties: dict[str, Any]) -> Contents:
        settings = Settings.unpack(exec_properties, JourneyDataset)
        found = tables.resolve(settings.dataset, settings.span, settings.last_spans)
        fingerprint = settings.fingerprint or tables.fingerprint(found)
        return Contents(found.span, fingerprint, tables.needs_key(settings.dataset))
