"""TFX's executor of the Tuner, and tuning_report.json beside tuner_results.json.

The stock executor hands a `tuner_fn` no output folder, so what keras_tuner's trials cannot hold (scores by fold, pruned
trials, what mattered) has to be written here.
"""

from __future__ import annotations

from typing import Any

from tfx import types
from tfx.components.tuner import executor
from tfx.types import artifact_utils, standard_component_specs

from modules.tuning.tuner import SearchTuner


class Executor(executor.Executor):
    """Runs the search of a `tuner_fn`; both standard outputs are the stock ones."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        tuner = executor.search(input_dict, exec_properties, self._get_tmp_dir())
        executor.write_best_hyperparameters(tuner, output_dict)
        if isinstance(tuner, SearchTuner) and tuner.report is not None:
            tuner.report.write(artifact_utils.get_single_uri(output_dict[standard_component_specs.TUNER_RESULTS_KEY]))
