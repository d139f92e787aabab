"""InfraCheck: stands where TFX's InfraValidator stands, without Docker."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from modules.serving_check.settings import ServingCheckSettings
from pipeline.components.infra_check import executor


class InfraCheckSpec(ComponentSpec):
    """Contract of InfraCheck; see there."""

    PARAMETERS = {  # noqa: RUF012  the base class reads it as it is
        executor.SETTINGS_KEY: ExecutionParameter(type=str),
        executor.MODEL_NAME_KEY: ExecutionParameter(type=str),
        executor.SPLIT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.BLESSING_KEY: ChannelParameter(type=standard_artifacts.InfraBlessing),
    }


class InfraCheck(base_component.BaseComponent):
    """Loads the candidate in a fresh process as the C++ server does, asks real requests and times it.

    Output `blessing` is an InfraBlessing as InfraValidator writes it with `make_warmup`: the file INFRA_BLESSED or
    INFRA_NOT_BLESSED, the custom property `blessed`, and, for a blessed one, `stamped_model/`, a copy of the model
    with warm-up requests in `assets.extra/`, and `has_model` 1. Stock Pusher takes it as it is. Beside them
    `report.json` lists the checks with reasons, and the custom properties `p50_ms`, `p99_ms`, `reason` sum it up.
    """

    SPEC_CLASS = InfraCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        *,
        settings: ServingCheckSettings | None = None,
        model_name: str = "model",
        split: str = "test",
    ) -> None:
        """
        Args:
          model: the candidate.
          examples: raw examples to build requests from.
          settings: the demands.
          model_name: servable the warm-up requests name.
          split: part of the examples to use.
        """
        super().__init__(
            InfraCheckSpec(
                model=model,
                examples=examples,
                settings=(settings or ServingCheckSettings()).model_dump_json(),
                model_name=model_name,
                split=split,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
