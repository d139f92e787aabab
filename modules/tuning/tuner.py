"""A search as TFX's Tuner runs it: a keras_tuner.BaseTuner whose `search` runs Optuna's trials."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import keras_tuner
from keras_tuner.engine import base_tuner
from keras_tuner.engine import trial as trials
from pydantic import BaseModel

from modules.errors import ConfigError
from modules.kept import folder_of, prune
from modules.tuning.models import Tunable
from modules.tuning.objective import Objective
from modules.tuning.report import TuningReport
from modules.tuning.search import search
from modules.tuning.settings import TuningSettings
from modules.tuning.space import hyperparameters, resolve

TUNING, TUNING_DIR = "tuning", "tuning_dir"
"""Keys of custom_config: TuningSettings as JSON, and a folder that outlives a killed search."""

_STATUS = {
    "complete": trials.TrialStatus.COMPLETED,
    "pruned": trials.TrialStatus.STOPPED,
    "failed": trials.TrialStatus.FAILED,
}


class FnArgs(Protocol):
    """The part of tfx.components.trainer.fn_args_utils.FnArgs that a `tuner_fn` reads."""

    working_dir: str | None
    train_files: list[str]
    eval_files: list[str]
    schema_path: str | None
    transform_graph_path: str
    custom_config: Mapping[str, Any]


class SearchTuner(base_tuner.BaseTuner):
    """Runs a search and shows its trials the way keras_tuner does.

    Attributes:
      report: what the search found; None before.
      folder: where its trials outlive the process; None: nowhere.
    """

    def __init__(
        self,
        run: Callable[[Path | None], TuningReport],
        settings: TuningSettings,
        model: Tunable,
        directory: str | None,
        folder: Path | None = None,
    ) -> None:
        name, direction = model.objective(settings.objective)
        space = resolve(settings, model)
        super().__init__(
            oracle=keras_tuner.Oracle(
                objective=keras_tuner.Objective(name, direction[:3]),
                max_trials=settings.trials,
                hyperparameters=hyperparameters(space, {}),
                seed=settings.seed,
            ),
            directory=directory,
            project_name="tuning",
        )
        self._run = run
        self.folder = folder
        self.report: TuningReport | None = None

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Runs the search; the arguments are not used."""
        if self.folder is not None:
            prune(keep=self.folder)
        self.report = self._run(self.folder)
        for found in self.report.trials:
            trial = trials.Trial(
                hyperparameters(self.report.space, found.parameters),
                trial_id=f"{found.number:04d}",
                status=_STATUS[found.state],
                message=found.error or None,
            )
            trial.score = found.score
            self.oracle.trials[trial.trial_id] = trial
            self.oracle.end_order.append(trial.trial_id)


def make_tuner(
    fn_args: FnArgs,
    model: Tunable,
    settings: BaseModel,
    deciding: Mapping[str, Any],
    objective: Callable[[], AbstractContextManager[Objective]],
) -> SearchTuner:
    """The tuner of a `tuner_fn`.

    Args:
      fn_args: `custom_config` holds TUNING, and TUNING_DIR if a killed search may be continued.
      model: what can be searched.
      settings: the configured settings of the model.
      deciding: whatever else decides the score of a trial, as JSON knows it.
      objective: prepares what scores the trials; entered when the search begins, left when it ends.

    Raises:
      ConfigError: custom_config holds no settings of a search.
    """
    custom_config = fn_args.custom_config
    if TUNING not in custom_config:
        raise ConfigError(f"custom_config needs {TUNING!r}, TuningSettings as JSON; received {sorted(custom_config)}")
    tuning = TuningSettings.model_validate_json(custom_config[TUNING])
    folder = None
    if custom_config.get(TUNING_DIR) and tuning.resume:
        folder = folder_of(custom_config[TUNING_DIR], _deciding(fn_args, tuning, model, settings) | dict(deciding))

    def run(folder: Path | None) -> TuningReport:
        with objective() as scored:
            return search(scored, tuning, model, settings.model_dump(mode="json"), folder)

    return SearchTuner(run, tuning, model, fn_args.working_dir, folder)


def _deciding(fn_args: FnArgs, tuning: TuningSettings, model: Tunable, settings: BaseModel) -> dict[str, Any]:
    space = {name: parameter.model_dump(mode="json") for name, parameter in resolve(tuning, model).items()}
    schema = Path(fn_args.schema_path).read_bytes() if fn_args.schema_path else b""
    return {
        "model": settings.model_dump(mode="json"),
        "dataset": json.loads(fn_args.custom_config["dataset"]),
        "dataset_version": fn_args.custom_config.get("dataset_version", ""),
        "schema": hashlib.sha256(schema).hexdigest(),
        "code": fn_args.custom_config.get("code", ""),
        "search": tuning.model_dump(mode="json", include={"sampler", "pruner", "seed"}),
        "objective": model.objective(tuning.objective),
        "space": list(space.items()),
        "libraries": {name: metadata.version(name) for name in ("optuna", "xgboost", "keras", "tensorflow")},
    }
