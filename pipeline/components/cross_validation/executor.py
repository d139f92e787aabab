"""Executor of CrossValidation: examples, schema and settings in, the report of all folds out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils

from modules.recommendation.transform_layout import JourneyTransformConfig
from modules.transform_config import TransformConfig
from modules.tuning.hyperparameters import tuned
from modules.validation.report import CrossValidationReport
from modules.validation.settings import NextActionValidationSettings, ValidationSettings

EXAMPLES_KEY = "examples"
SCHEMA_KEY = "schema"
HYPERPARAMETERS_KEY = "hyperparameters"
REPORT_KEY = "cross_validation"
KIND_KEY = "kind"
CONFIG_KEY = "config"
SETTINGS_KEY = "settings"
SPLITS_KEY = "splits"
THRESHOLD_KEY = "threshold"

Artifacts = dict[str, list[types.Artifact]]


class Executor(base_executor.BaseExecutor):
    """See `CrossValidation`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes the report.

        Raises:
          ConfigError, DataError: see `modules.lead_scoring.fold_files.prepare_folds`.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        schema_file = io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict[SCHEMA_KEY]))
        output = artifact_utils.get_single_instance(output_dict[REPORT_KEY])
        available = artifact_utils.decode_split_names(examples.split_names)
        splits = [s for s in json.loads(exec_properties[SPLITS_KEY]) if s in available]
        with tempfile.TemporaryDirectory(prefix="folds-") as folder:
            report = _cross_validate(
                {split: [f"{artifact_utils.get_split_uri([examples], split)}/*"] for split in splits},
                io_utils.SchemaReader().read(schema_file),
                exec_properties,
                _hyperparameters(input_dict),
                Path(folder),
            )
        for line in report.lines():
            logging.info("%s", line)
        report.write(output.uri)
        for name, found in report.shown.items():
            figures = {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
            for key, figure in figures.items():
                output.set_float_custom_property(key, figure)


def _cross_validate(
    patterns: dict[str, list[str]],
    schema: Any,
    exec_properties: dict[str, Any],
    hyperparameters: dict[str, Any] | None,
    folder: Path,
) -> CrossValidationReport:
    # Imported here: XGBoost and the network take seconds, and every run imports this module.
    custom_config, chosen = json.loads(exec_properties[CONFIG_KEY]), exec_properties[SETTINGS_KEY]
    if exec_properties[KIND_KEY] == "recommendation":
        from modules.recommendation import cross_validation as recommendation

        journeys = JourneyTransformConfig.from_custom_config(custom_config)
        network, found = tuned(journeys.model, hyperparameters)
        return recommendation.cross_validate(
            patterns,
            schema,
            journeys.model_copy(update={"model": network}),
            NextActionValidationSettings.model_validate_json(chosen),
            folder,
            hyperparameters=found,
        )
    from modules.lead_scoring import cross_validation as lead_scoring

    leads = TransformConfig.from_custom_config(custom_config)
    trees, found = tuned(leads.model, hyperparameters)
    return lead_scoring.cross_validate(
        patterns,
        schema,
        leads.model_copy(update={"model": trees}),
        ValidationSettings.model_validate_json(chosen),
        folder,
        threshold=exec_properties[THRESHOLD_KEY],
        hyperparameters=found,
    )


def _hyperparameters(input_dict: Artifacts) -> dict[str, Any] | None:
    """What the Tuner wrote; None without one."""
    if not input_dict.get(HYPERPARAMETERS_KEY):
        return None
    folder = artifact_utils.get_single_uri(input_dict[HYPERPARAMETERS_KEY])
    found: dict[str, Any] = json.loads(Path(io_utils.get_only_uri_in_dir(folder)).read_text())
    return found
