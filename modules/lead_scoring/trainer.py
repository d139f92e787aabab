"""`run_fn` of TFX's Trainer: raw tf.Examples and Transform graph in, SavedModel out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import tensorflow_transform as tft
import xgboost as xgb

from modules.convergence import CURVES
from modules.encoding.report import OUTLIERS, count_outliers
from modules.errors import ConfigError
from modules.lead_scoring import booster as boosters
from modules.lead_scoring import manifest as manifests
from modules.lead_scoring.curves import curves_of
from modules.lead_scoring.export import METHOD_NAMES, LeadScoringModel
from modules.lead_scoring.learn import learn
from modules.lead_scoring.linear import LINEAR
from modules.lead_scoring.selection import SELECTION
from modules.lead_scoring.spools import spools
from modules.manifest import EXTRA, MANIFEST, library_versions, run_facts
from modules.saved_model import save
from modules.training import Clock, FnArgs, split_patterns
from modules.transform_config import TransformConfig
from modules.transform_features import learned_values, transformed_features, vocabulary_names
from modules.tuning.hyperparameters import tuned
from modules.vocabulary import read_vocabularies


def run_fn(fn_args: FnArgs) -> None:
    """Trains, calibrates and exports a lead-scoring model.

    Args:
      fn_args: `train_files` of split train; `eval_files` of splits validation (none when the model's
        validation_split is 0) and calibration, told apart by `Split-<name>` in their paths; raw or transformed
        examples. `custom_config`: `dataset` and `model` as JSON (TransformConfig), `configuration` as JSON,
        `configuration_hash`, `dataset_version`, `model_type`. `base_model`: SavedModel to continue from, read
        with `warm_start` only. `hyperparameters`: of the Tuner, laid over the configured settings.

    Writes the SavedModel with assets.extra/ (booster.ubj, manifest.json, importance.json, calibration.json,
    curves.json, selection.json where columns were chosen, linear.json where the trees start from a linear term, and
    outliers.json where values were clipped) to
    `serving_model_dir` and TensorBoard curves to `model_run_dir`.

    Raises:
      DataError: a split is empty or has only one class.
      ConfigError: settings that exclude each other, or a base model with other columns.
    """
    clock = Clock()
    config = TransformConfig.from_custom_config(fn_args.custom_config)
    effective, found_by_tuner = tuned(config.model, fn_args.hyperparameters)
    config = config.model_copy(update={"model": effective})
    output = tft.TFTransformOutput(fn_args.transform_graph_path)
    vocabularies = read_vocabularies(output, vocabulary_names(config))
    features = transformed_features(config, vocabularies)
    columns_hash = manifests.columns_hash(features, vocabularies, config.dataset.encoded)
    base = _base_booster(fn_args, config, columns_hash)

    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        patterns = split_patterns(fn_args.train_files, fn_args.eval_files)
        if config.model.validation_split == 0:
            patterns.pop("validation", None)
        rows_of = spools(patterns, output, features, config, Path(folder))
        outliers = count_outliers(rows_of, features)
        clock.lap("transform")
        learned = learn(
            rows_of,
            features,
            config.model,
            log_dir=Path(fn_args.model_run_dir) if fn_args.model_run_dir else None,
            base=base,
            clock=clock,
        )
        rows = {split: len(spool) for split, spool in rows_of.items()}

    booster = learned.fitted.booster
    model = LeadScoringModel(
        output, booster, learned.calibration, config.dataset.table, learned.features, learned.linear
    )
    clock.lap("compile")
    curves = curves_of(learned.fitted, config.model, base.num_boosted_rounds() if base is not None else 0)
    manifest = manifests.Manifest(
        **run_facts(fn_args.custom_config, "lead-scoring"),
        settings=config.model.model_dump(mode="json"),
        tuned=found_by_tuner,
        dataset=config.dataset.name,
        rows=rows,
        metrics=learned.metrics,
        best_iteration=learned.fitted.best_iteration,
        rounds_fitted=max((len(v) for m in learned.fitted.curves.values() for v in m.values()), default=0),
        warm_start=base is not None,
        features=config.dataset.table.names,
        columns=manifests.columns_of(learned.features),
        columns_hash=columns_hash,
        libraries=library_versions("xgboost"),
        seconds=clock.laps,
    )
    save(
        model,
        model.serving_functions,
        fn_args.serving_model_dir,
        {
            manifests.BOOSTER: bytes(booster.save_raw("ubj")),
            MANIFEST: manifest.model_dump_json(indent=1),
            manifests.IMPORTANCE: json.dumps(boosters.importances(booster, learned.features), indent=1),
            manifests.CALIBRATION: learned.calibration.to_json(),
            CURVES: curves.to_json(),
            **({} if learned.selection is None else {SELECTION: learned.selection.to_json()}),
            **({} if learned.linear is None else {LINEAR: learned.linear.model_dump_json()}),
            **({} if outliers is None else {OUTLIERS: outliers.model_dump_json(indent=1)}),
        },
        METHOD_NAMES,
    )


def _base_booster(fn_args: FnArgs, config: TransformConfig, columns_hash: str) -> xgb.Booster | None:
    if not config.model.warm_start or not fn_args.base_model:
        return None
    moving = learned_values(config)
    if moving:
        raise ConfigError(
            f"warm_start: values of {', '.join(map(repr, moving))} depend on quantiles, means or rates that each run "
            "learns anew, so the trees of the base model cannot be continued. Set warm_start to false, or remove the "
            "options of these features that learn something (scaling, buckets, clip, fill, tfidf, target)."
        )
    base = manifests.Manifest.load(fn_args.base_model)
    if base.columns_hash != columns_hash:
        raise ConfigError(
            f"warm_start: the base model of {base.trained_at:%Y-%m-%d %H:%M} was trained on other columns or "
            "vocabularies than this run, so its trees cannot be continued. Set warm_start to false to train anew."
        )
    return xgb.Booster(model_file=str(Path(fn_args.base_model) / EXTRA / manifests.BOOSTER))
