"""TFX's Transform with the fast analysis pass of pipeline/components/transform_executor.py."""

from __future__ import annotations

from tfx import components
from tfx.dsl.components.base import executor_spec

from pipeline.components.transform_executor import Executor


class Transform(components.Transform):
    """The stock component; only its executor differs."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)
