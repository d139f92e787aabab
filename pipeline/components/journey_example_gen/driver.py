"""Resolves files, span and fingerprint when the component runs, so that changed data is never taken from the cache."""

from __future__ import annotations

from typing import Any

from tfx.components.example_gen import driver, utils
from tfx.orchestration import data_types

from modules.ingest import hashing
from modules.journeys import tables
from pipeline.components.journey_example_gen.settings import JourneySettings


class JourneyDriver(driver.FileBasedDriver):
    """The file-based driver for the files of two tables, anywhere; fingerprints contents, not names and dates."""

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Adds `span`, `version` and `input_fingerprint`; the cache compares them with those of earlier runs."""
        settings = JourneySettings.unpack(exec_properties)
        found = tables.resolve(settings.dataset, settings.span, settings.last_spans)
        fingerprint = settings.fingerprint or tables.fingerprint(found)
        if tables.needs_key(settings.dataset):
            # Values hashed under another key are other data.
            fingerprint += "-" + hashing.key_id(hashing.personal_key())
        exec_properties[utils.SPAN_PROPERTY_NAME] = found.span or 0
        exec_properties[utils.VERSION_PROPERTY_NAME] = None
        exec_properties[utils.FINGERPRINT_PROPERTY_NAME] = fingerprint
        return exec_properties
