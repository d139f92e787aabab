"""Executor of Importance: `modules.explanation` over the candidate and one split, a report."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from modules.columns import read_dataset
from modules.explanation.journeys import journey_importance
from modules.explanation.leads import lead_importance
from modules.explanation.settings import ImportanceSettings
from modules.journeys.dataset import JourneyDataset

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
IMPORTANCE_KEY = "importance"
DATASET_KEY = "dataset"
SETTINGS_KEY = "settings"
SPLIT_KEY = "split"

Artifacts = dict[str, list[types.Artifact]]


class Executor(base_executor.BaseExecutor):
    """See `Importance`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes the report."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        output = artifact_utils.get_single_instance(output_dict[IMPORTANCE_KEY])
        dataset = read_dataset(exec_properties[DATASET_KEY])
        settings = ImportanceSettings.model_validate_json(exec_properties[SETTINGS_KEY])
        split = exec_properties[SPLIT_KEY]
        path, patterns = (
            path_utils.serving_model_path(model.uri),
            [f"{artifact_utils.get_split_uri([examples], split)}/*"],
        )
        if isinstance(dataset, JourneyDataset):
            report = journey_importance(path, patterns, dataset, settings, split)
        else:
            report = lead_importance(path, patterns, dataset, settings, split)
        for line in report.lines():
            logging.info("%s", line)
        report.write(output.uri)
        if report.features:
            strongest = report.features[0]
            output.set_string_custom_property("strongest", strongest.name)
            output.set_string_custom_property("metric", report.ranked_by)
            output.set_float_custom_property("worsening", strongest.permutation[report.ranked_by].mean)
