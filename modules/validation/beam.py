"""The Beam pipeline in which a fold's analysis runs."""

from __future__ import annotations

import apache_beam as beam
from apache_beam.runners.portability import fn_api_runner


def in_process() -> beam.Pipeline:
    """A pipeline in this process; naming the runner keeps Beam from trying others first."""
    return beam.Pipeline(runner=fn_api_runner.FnApiRunner())
