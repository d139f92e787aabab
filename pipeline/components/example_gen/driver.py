"""Resolves files, span and fingerprint when the component runs, so that changed data is never taken from the cache."""

from __future__ import annotations

from typing import Any

from tfx.components.example_gen import driver, utils
from tfx.orchestration import data_types

from modules.ingest import hashing, sources, work
from pipeline.components.example_gen.settings import Settings


class ColumnarDriver(driver.FileBasedDriver):
    """The file-based driver for files anywhere: several patterns, absolute or relative.

    The stock driver looks for one pattern below one folder and fingerprints names, sizes and dates; this one
    fingerprints contents, so a copy of a file is the same data, and a file that was only touched is not new.
    """

    def resolve_exec_properties(
        self,
        exec_properties: dict[str, Any],
        pipeline_info: data_types.PipelineInfo,
        component_info: data_types.ComponentInfo,
    ) -> dict[str, Any]:
        """Adds `span`, `version` and `input_fingerprint`; the cache compares them with those of earlier runs."""
        settings = Settings.unpack(exec_properties)
        source = sources.resolve(settings.dataset, settings.span, settings.last_spans)
        fingerprint = settings.fingerprint or sources.fingerprint(source)
        if work.needs_key(settings.dataset):
            # Values hashed under another key are other data.
            fingerprint += "-" + hashing.key_id(hashing.personal_key())
        exec_properties[utils.SPAN_PROPERTY_NAME] = source.span or 0
        exec_properties[utils.VERSION_PROPERTY_NAME] = None
        exec_properties[utils.FINGERPRINT_PROPERTY_NAME] = fingerprint
        return exec_properties
