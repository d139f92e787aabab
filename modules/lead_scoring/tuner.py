"""`tuner_fn` of TFX's Tuner: searches settings that score better on held-out training rows."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.tuner.component import TunerFnResult

from modules.errors import ConfigError
from modules.lead_scoring.fold_files import prepare_folds
from modules.lead_scoring.folds import HELD_OUT, Fold
from modules.lead_scoring.spools import spools
from modules.lead_scoring.trials import FoldTrials
from modules.training import split_patterns
from modules.transform_config import TransformConfig
from modules.transform_features import transformed_features, vocabulary_names
from modules.tuning.models import LEAD_SCORING
from modules.tuning.settings import TuningSettings
from modules.tuning.space import resolve
from modules.tuning.tuner import TUNING, FnArgs, make_tuner
from modules.validation.settings import ValidationSettings
from modules.vocabulary import read_vocabularies

VALIDATION = "validation"
"""Key of custom_config: ValidationSettings as JSON."""
HOLD_OUT = "the validation part"
RECENCY = "recency_half_life_days"


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """The search of lead scoring's settings.

    Trials are scored on the folds of cross-validation, cut from everything but the test part, or on the validation
    part where `validation.folds` is null.

    Args:
      fn_args: as for `modules.lead_scoring.trainer.run_fn`, with the schema of the raw examples; `custom_config` holds
        `tuning` and `validation` (settings as JSON) and maybe `tuning_dir`.

    Raises:
      ConfigError: nothing is held out to score trials on.
    """
    config = TransformConfig.from_custom_config(fn_args.custom_config)
    validation = ValidationSettings.model_validate_json(fn_args.custom_config.get(VALIDATION, "{}")).without_bounds()
    if validation.folds is None and config.model.validation_split == 0:
        raise ConfigError(
            "tuning needs rows to score trials on: set model.validation_split above 0, or validation.folds to 5, say"
        )

    @contextlib.contextmanager
    def objective() -> Iterator[FoldTrials]:
        tuning = TuningSettings.model_validate_json(fn_args.custom_config[TUNING])
        metric, _ = LEAD_SCORING.objective(tuning.objective)
        read = _with_times(config) if RECENCY in resolve(tuning, LEAD_SCORING) else config
        with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
            if validation.folds is None:
                prepared, how = [_hold_out(fn_args, read, Path(folder))], HOLD_OUT
                # Its rows are those that a refit would learn from.
                settings = config.model.model_copy(update={"refit": False, "warm_start": False})
            else:
                patterns = [*fn_args.train_files, *fn_args.eval_files]
                prepared = list(prepare_folds(patterns, _schema(fn_args), read, validation, Path(folder)))
                how = scheme(validation)
                settings = config.model.model_copy(update={"warm_start": False})
            yield FoldTrials(prepared, settings, metric, how)

    deciding = {"validation": validation.model_dump(mode="json", exclude={"workers", "confidence"})}
    return TunerFnResult(make_tuner(fn_args, LEAD_SCORING, config.model, deciding, objective), {})


def scheme(validation: ValidationSettings) -> str:
    """How folds are cut, in words: "5 folds by time"."""
    how = {"random": "at random", "stratified": "stratified", "group": f"by {validation.group}", "time": "by time"}
    gap = f", gap of {validation.gap_days:g} days" if validation.gap_days else ""
    repeats = f"{validation.repeats} x " if validation.repeats > 1 else ""
    return f"{repeats}{validation.folds} folds {how[validation.method]}{gap}"


def _with_times(config: TransformConfig) -> TransformConfig:
    """Rows are read with their times if the configured settings weigh them by age; trials may where these do not."""
    if config.model.recency_half_life_days is not None:
        return config
    if config.dataset.time_feature is None:
        raise ConfigError(f"tuning.space.{RECENCY} needs a dataset with a time column (`time` in the dataset file)")
    return config.model_copy(update={"model": config.model.model_copy(update={RECENCY: 1.0})})


def _hold_out(fn_args: FnArgs, config: TransformConfig, folder: Path) -> Fold:
    """The splits of the Trainer as a single fold, whose validation part both stops the training and is scored."""
    output = tft.TFTransformOutput(fn_args.transform_graph_path)
    vocabularies = read_vocabularies(output, vocabulary_names(config))
    features = transformed_features(config, vocabularies)
    patterns = split_patterns(fn_args.train_files, fn_args.eval_files)
    rows = spools(patterns, output, features, config, folder)
    return Fold(0, {**rows, HELD_OUT: rows["validation"]}, tuple(features), folder)


def _schema(fn_args: FnArgs) -> schema_pb2.Schema:
    if not fn_args.schema_path:
        raise ConfigError("tuning on folds needs the schema: Tuner(schema=...)")
    return text_format.Parse(Path(fn_args.schema_path).read_text(), schema_pb2.Schema())
