"""Executor of PolicyValue: the candidate over one split, `modules.off_policy` over its answers, a report."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from modules.journeys.dataset import JourneyDataset
from modules.off_policy.replay import value_of
from modules.off_policy.report import PolicyValueReport
from modules.off_policy.settings import PolicyValueSettings

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
VALUE_KEY = "policy_value"
DATASET_KEY = "dataset"
SETTINGS_KEY = "settings"
SPLIT_KEY = "split"

Artifacts = dict[str, list[types.Artifact]]


class Executor(base_executor.BaseExecutor):
    """See `PolicyValue`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes the report. A split without a usable decision is a report that says so, no error."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        output = artifact_utils.get_single_instance(output_dict[VALUE_KEY])
        dataset = JourneyDataset.model_validate_json(exec_properties[DATASET_KEY])
        split = exec_properties[SPLIT_KEY]
        report = value_of(
            path_utils.serving_model_path(model.uri),
            [f"{artifact_utils.get_split_uri([examples], split)}/*"],
            dataset.id_feature,
            PolicyValueSettings.model_validate_json(exec_properties[SETTINGS_KEY]),
            logged=dataset.events.propensity is not None,
            split=split,
        )
        for line in report.lines():
            logging.info("%s", line)
        report.write(output.uri)
        _set_properties(output, report)


def _set_properties(output: types.Artifact, report: PolicyValueReport) -> None:
    output.set_string_custom_property("propensities", report.propensities)
    found, best = report.valuation, report.headline
    if found is None or best is None:
        return
    output.set_int_custom_property("decisions", found.decisions)
    output.set_int_custom_property("leads", found.leads)
    figures = {
        "logging": found.logging.value,
        "value": best.value.value,
        "value_low": best.value.low,
        "value_high": best.value.high,
        "uplift": best.uplift.value,
        "uplift_low": best.uplift.low,
        "uplift_high": best.uplift.high,
        "effective_sample": found.weights.effective_sample,
        "mean_weight": found.weights.mean.value,
    }
    for name, figure in figures.items():
        output.set_float_custom_property(name, figure)
