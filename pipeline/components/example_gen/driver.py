"""Which files a table is, and what is in them."""

from __future__ import annotations

from typing import Any

from modules.dataset import Dataset
from modules.ingest import sources, work
from pipeline.components.example_gen.settings import Settings
from pipeline.components.example_gen.table import Contents, TableDriver


class ColumnarDriver(TableDriver):
    """See TableDriver."""

    def find(self, exec_properties: dict[str, Any]) -> Contents:
        settings = Settings.unpack(exec_properties, Dataset)
        source = sources.resolve(settings.dataset, settings.span, settings.last_spans)
        fingerprint = settings.fingerprint or sources.fingerprint(source)
        return Contents(source.span, fingerprint, work.needs_key(settings.dataset))
