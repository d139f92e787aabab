"""CrossValidation: the Evaluator says how good the candidate is on one test part; this node, how much that varies."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.experimental import simple_artifacts

from modules.validation.settings import ValidationSettings
from pipeline.components.cross_validation import executor


class CrossValidationSpec(ComponentSpec):
    """Contract of CrossValidation; see there."""

    PARAMETERS = {  # noqa: RUF012  the base class reads it as it is
        executor.KIND_KEY: ExecutionParameter(type=str),
        executor.CONFIG_KEY: ExecutionParameter(type=str),
        executor.SETTINGS_KEY: ExecutionParameter(type=str),
        executor.SPLITS_KEY: ExecutionParameter(type=str),
        executor.THRESHOLD_KEY: ExecutionParameter(type=float),
    }
    INPUTS = {  # noqa: RUF012
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema),
        executor.HYPERPARAMETERS_KEY: ChannelParameter(type=standard_artifacts.HyperParameters, optional=True),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.REPORT_KEY: ChannelParameter(type=simple_artifacts.Metrics),
    }


class CrossValidation(base_component.BaseComponent):
    """Fits the model once per fold, each time from the raw examples on, and measures it on the rows held out.

    Output `cross_validation` is a Metrics artifact with the file `cross_validation.json`
    (`modules.validation.report`), and of the most telling metrics the custom properties `<metric>`, `<metric>_low` and
    `<metric>_high`. It measures and does not judge: bounds are the Evaluator's (`pipeline.components.evaluator`), so
    that another bound is no reason to fit the folds again.
    """

    SPEC_CLASS = CrossValidationSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        kind: str,
        custom_config: dict[str, str],
        settings: ValidationSettings,
        *,
        splits: Sequence[str],
        threshold: float = 0.5,
        hyperparameters: types.BaseChannel | None = None,
    ) -> None:
        """
        Args:
          examples: raw examples.
          schema: of the examples.
          kind: of the model, as in the model file: `lead_scoring` or `recommendation`.
          custom_config: what Transform and Trainer are told: dataset and model settings as JSON.
          settings: how the rows are cut; its bounds are ignored.
          splits: parts of the examples to cut into folds; the test part is none of them.
          threshold: of lead scoring, decision threshold of accuracy, precision and recall.
          hyperparameters: of the Tuner, laid over the model settings.
        """
        super().__init__(
            CrossValidationSpec(
                examples=examples,
                schema=schema,
                kind=kind,
                config=json.dumps(custom_config, sort_keys=True),
                settings=settings.without_bounds().model_dump_json(),
                splits=json.dumps(list(splits)),
                threshold=float(threshold),
                hyperparameters=hyperparameters,
                cross_validation=types.Channel(type=simple_artifacts.Metrics),
            )
        )
