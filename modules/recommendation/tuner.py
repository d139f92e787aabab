"""`tuner_fn` of TFX's Tuner for journeys: searches settings of the network that score better on held-out journeys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tfx.components.tuner.component import TunerFnResult

from modules.errors import ConfigError
from modules.recommendation.transform_layout import JourneyTransformConfig
from modules.recommendation.trials import JourneyTrials
from modules.training import split_patterns
from modules.tuning.models import RECOMMENDATION
from modules.tuning.settings import TuningSettings
from modules.tuning.tuner import TUNING, FnArgs, make_tuner


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """The search of the recommendation model's settings.

    A trial trains one network on the training journeys and is scored on those of the validation part, which also stop
    its training; it is pruned by its epochs.

    Args:
      fn_args: as for `modules.recommendation.trainer.run_fn`; `custom_config` holds `tuning` (settings as JSON) and
        maybe `tuning_dir`.

    Raises:
      ConfigError: nothing is held out to score trials on.
    """
    config = JourneyTransformConfig.from_custom_config(fn_args.custom_config)
    if config.model.validation_split == 0:
        raise ConfigError("tuning needs journeys to score trials on: set model.validation_split above 0")

    @contextlib.contextmanager
    def objective() -> Iterator[JourneyTrials]:
        tuning = TuningSettings.model_validate_json(fn_args.custom_config[TUNING])
        patterns = split_patterns(fn_args.train_files, fn_args.eval_files)
        yield JourneyTrials(
            files={split: patterns[split] for split in ("train", "validation")},
            transform_graph=fn_args.transform_graph_path,
            config=config,
            metric=RECOMMENDATION.objective(tuning.objective)[0],
        )

    return TunerFnResult(make_tuner(fn_args, RECOMMENDATION, config.model, {}, objective), {})
