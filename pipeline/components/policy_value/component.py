"""PolicyValue: the Evaluator says how well actions are predicted; this node, what the recommended ones are worth."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.types.experimental import simple_artifacts

from modules.journeys.dataset import JourneyDataset
from modules.off_policy.settings import PolicyValueSettings
from pipeline.components.policy_value import executor


class PolicyValueSpec(ComponentSpec):
    """Contract of PolicyValue; see there."""

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
        executor.VALUE_KEY: ChannelParameter(type=simple_artifacts.Metrics),
    }


class PolicyValue(base_component.BaseComponent):
    """Estimates what the candidate's policy would have been worth on logged decisions it has not seen.

    Output `policy_value` is a Metrics artifact with the file `value.json` (`modules.off_policy.report`) and, where
    there was something to estimate, the custom properties `propensities`, `decisions`, `leads`, `logging`, `value`,
    `value_low`, `value_high`, `uplift`, `uplift_low`, `uplift_high`, `effective_sample`, `mean_weight`; value and
    uplift are the doubly robust ones. It measures and never judges: no figure of it stops a model.
    """

    SPEC_CLASS = PolicyValueSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        dataset: JourneyDataset,
        *,
        settings: PolicyValueSettings | None = None,
        split: str = "test",
    ) -> None:
        """
        Args:
          examples: raw examples of decisions.
          model: the candidate.
          dataset: names the lead's id, and says whether propensities were logged.
          settings: level, cuts and policy.
          split: part of the examples, one the model was not trained on.
        """
        super().__init__(
            PolicyValueSpec(
                examples=examples,
                model=model,
                dataset=dataset.model_dump_json(),
                settings=(settings or PolicyValueSettings()).model_dump_json(),
                split=split,
                policy_value=types.Channel(type=simple_artifacts.Metrics),
            )
        )
