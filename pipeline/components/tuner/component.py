"""TFX's Tuner, which also keeps the report of the search."""

from __future__ import annotations

from tfx import components
from tfx.dsl.components.base import executor_spec

from pipeline.components.tuner.executor import Executor


class Tuner(components.Tuner):
    """The stock component; its executor writes one more file."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
