"""Importance: which features the candidate's answers depend on."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.experimental import simple_artifacts

from modules.columns import AnyDataset
from modules.explanation.settings import ImportanceSettings
from pipeline.components.importance import executor


class ImportanceSpec(ComponentSpec):
    """Contract of Importance; see there."""

    PARAMETERS = {  # noqa: RUF012  the base class reads it as it is
        executor.DATASET_KEY: ExecutionParameter(type=str),
        executor.SETTINGS_KEY: ExecutionParameter(type=str),
        executor.SPLIT_KEY: ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {  # noqa: RUF012
        executor.IMPORTANCE_KEY: ChannelParameter(type=simple_artifacts.Metrics),
    }


class Importance(base_component.BaseComponent):
    """Measures on a sample of a split how much worse the served model gets when a feature is shuffled.

    Output `importance` is a Metrics artifact with the file `importance_report.json` (`modules.explanation.report`) and
    the custom properties `strongest` (name of the feature), `worsening` and `metric`. It measures and never judges.
    """

    SPEC_CLASS = ImportanceSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        dataset: AnyDataset,
        *,
        settings: ImportanceSettings | None = None,
        split: str = "test",
    ) -> None:
        """
        Args:
          examples: raw examples.
          model: the candidate, of either kind.
          dataset: its features; a dataset of journeys for a recommendation model.
          settings: how much to look at.
          split: part of the examples, one the model was not trained on.
        """
        super().__init__(
            ImportanceSpec(
                examples=examples,
                model=model,
                dataset=dataset.model_dump_json(),
                settings=(settings or ImportanceSettings()).model_dump_json(),
                split=split,
                importance=types.Channel(type=simple_artifacts.Metrics),
            )
        )
