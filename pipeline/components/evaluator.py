"""TFX's Evaluator, which also asks cross-validation before it blesses a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as stock
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types import standard_component_specs as specs
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.experimental import simple_artifacts
from tfx.utils import io_utils

from modules.validation.bounds import judge
from modules.validation.report import CrossValidationReport

CROSS_VALIDATION_KEY = "cross_validation"
BOUNDS_KEY = "cross_validation_bounds"

Artifacts = dict[str, list[types.Artifact]]


class EvaluatorSpec(specs.EvaluatorSpec):
    """The stock contract, with the report of cross-validation and the bounds on it."""

    PARAMETERS = {**specs.EvaluatorSpec.PARAMETERS, BOUNDS_KEY: ExecutionParameter(type=str)}  # noqa: RUF012
    INPUTS = {  # noqa: RUF012
        **specs.EvaluatorSpec.INPUTS,
        CROSS_VALIDATION_KEY: ChannelParameter(type=simple_artifacts.Metrics),
    }


class Executor(stock.Executor):
    """Evaluates as TFX does; then a bound that cross-validation misses takes the blessing away."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes evaluation and blessing, and `cross_validation_bounds.json` beside the evaluation."""
        super().Do(input_dict, output_dict, exec_properties)
        report = CrossValidationReport.read(artifact_utils.get_single_uri(input_dict[CROSS_VALIDATION_KEY]))
        bounds = json.loads(exec_properties[BOUNDS_KEY])
        verdict = judge(report, bounds["min"], bounds["max"])
        verdict.write(artifact_utils.get_single_uri(output_dict[specs.EVALUATION_KEY]))
        if not verdict.missed:
            return
        for missed in verdict.missed:
            logging.info("not blessed: %s", missed.describe())
        blessing = artifact_utils.get_single_instance(output_dict[specs.BLESSING_KEY])
        folder = Path(blessing.uri)
        (folder / constants.BLESSED_FILE_NAME).unlink(missing_ok=True)
        io_utils.write_string_file(str(folder / constants.NOT_BLESSED_FILE_NAME), "")
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.NOT_BLESSED_VALUE)


class Evaluator(base_beam_component.BaseBeamComponent):
    """TFX's Evaluator with a word for cross-validation; inputs, outputs and artifacts are the stock ones.

    TFX's own component builds its contract itself, so this one stands beside it.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel,
        schema: types.BaseChannel,
        eval_config: config_pb2.EvalConfig,
        example_splits: Sequence[str],
        module_path: str,
        cross_validation: types.BaseChannel,
        bounds: Mapping[str, Mapping[str, float]],
    ) -> None:
        """
        Args:
          examples, model, baseline_model, schema, eval_config, example_splits, module_path: see TFX's Evaluator.
          cross_validation: Metrics artifact of `pipeline.components.cross_validation`.
          bounds: `min` bounds the lower end of the interval of a metric, `max` the upper one.
        """
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                schema=schema,
                eval_config=eval_config,
                example_splits=json.dumps(list(example_splits)),
                fairness_indicator_thresholds="null",
                module_path=module_path,
                cross_validation=cross_validation,
                cross_validation_bounds=json.dumps({k: dict(v) for k, v in bounds.items()}, sort_keys=True),
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
