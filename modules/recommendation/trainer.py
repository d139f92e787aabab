"""`run_fn` of TFX's Trainer for journeys: raw tf.Examples and Transform graph in, SavedModel out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow_transform as tft

from modules import progress
from modules.convergence import CURVES
from modules.errors import DataError
from modules.journeys.dataset import JourneyDataset
from modules.manifest import MANIFEST, library_versions, run_facts
from modules.recommendation import baselines as naive
from modules.recommendation import calibration as calibrations
from modules.recommendation import manifest as manifests
from modules.recommendation.checkpoints import checkpoint_folder, prune
from modules.recommendation.curves import curves_of
from modules.recommendation.devices import capabilities, plan
from modules.recommendation.ensemble import Member, train
from modules.recommendation.export import RecommendationModel
from modules.recommendation.layout import Layout
from modules.recommendation.metrics import decision_metrics
from modules.recommendation.predict import Predicted, predict
from modules.recommendation.read import decisions, read_sequences
from modules.recommendation.rules import check_policy
from modules.recommendation.sequences import Sequences, concatenate
from modules.recommendation.transform_layout import JourneyTransformConfig
from modules.recommendation.transform_layout import layout as layout_of
from modules.recommendation.useless import useless_features
from modules.saved_model import save
from modules.training import Clock, FnArgs, split_patterns
from modules.tuning.hyperparameters import tuned


def run_fn(fn_args: FnArgs) -> None:
    """Trains, calibrates and exports a recommendation model.

    Args:
      fn_args: `train_files` of split train; `eval_files` of splits validation (not read when the model's
        validation_split is 0) and calibration, told apart by `Split-<name>` in their paths; raw examples.
        `custom_config`: `dataset` and `model` as JSON (JourneyTransformConfig), `configuration` as JSON,
        `configuration_hash`, `dataset_version`, `model_type`, and checkpoints.CHECKPOINT_DIR if a killed run may
        be continued: a subfolder named by everything that decides the weights holds its state until the model is
        written; those that nobody continued in checkpoints.KEPT_DAYS are removed. `hyperparameters`: of the Tuner, laid
        over the configured settings.

    Writes the SavedModel with assets.extra/ (manifest.json, calibration.json, curves.json) to `serving_model_dir` and
    TensorBoard curves to `model_run_dir`.

    Raises:
      DataError: a split holds nothing to learn from.
      ConfigError: the policy names what the data do not hold.
    """
    clock = Clock()
    config = JourneyTransformConfig.from_custom_config(fn_args.custom_config)
    effective, found_by_tuner = tuned(config.model, fn_args.hyperparameters)
    config = config.model_copy(update={"model": effective})
    settings, dataset = config.model, config.dataset
    output = tft.TFTransformOutput(fn_args.transform_graph_path)
    layout = layout_of(config, output)
    check_policy(settings.policy, dataset, layout.actions)
    checkpoints = checkpoint_folder(fn_args.custom_config, config, layout)
    if checkpoints is not None:
        prune(keep=checkpoints)

    with tempfile.TemporaryDirectory(prefix="trainer-") as folder:
        parts = _read(fn_args, config, output, layout, Path(folder))
        clock.lap("transform")
        devices = plan(settings, capabilities())
        members = train(
            layout,
            settings,
            devices,
            parts["train"].with_beginnings(),
            parts.get("validation"),
            checkpoint_dir=checkpoints,
            tensorboard_dir=fn_args.model_run_dir,
        )
        networks = [member.network for member in members]
        refit = any(member.fitted.refit for member in members)
        clock.lap("fit")
        progress.report(0, 0, "calibrating")
        found = {split: predict(networks, part) for split, part in parts.items() if split != "train" and len(part)}
        calibration = calibrate(found.get("calibration"), dataset)
        clock.lap("calibrate")
        # The naive predictors see what the network saw last.
        seen = concatenate([parts["train"], parts["validation"]]) if refit else parts["train"]
        baselines = naive.learn(seen, len(layout.actions), layout.length)
        del seen
        clock.lap("baselines")
        metrics = {split: _metrics(p, calibration, dataset.outcome is not None) for split, p in found.items()}
        if "calibration" in metrics:
            metrics["calibration"] |= _naive_metrics(baselines, parts["calibration"])
        learned = int((parts["train"].answers() >= 0).sum())
        rows = {split: len(part) for split, part in parts.items()}
        useless = useless_features(parts["train"], layout)
        del parts

    model = RecommendationModel(output, networks, layout, dataset, settings.policy, calibration, baselines)
    clock.lap("compile")
    manifest = manifests.Manifest(
        **run_facts(fn_args.custom_config, "recommendation"),
        settings=settings.model_dump(mode="json"),
        tuned=found_by_tuner,
        dataset=dataset.name,
        rows=rows,
        decisions={"train": learned, **{split: p.decisions for split, p in found.items()}},
        metrics=metrics,
        epochs=tuple(len(member.fitted.epochs) for member in members),
        best_epoch=tuple(member.fitted.best_epoch for member in members),
        refit=refit,
        parameters=sum(network.count_params() for network in networks),
        decisions_per_second=round(_rate(members, learned), 1),
        dtype_policy=devices.dtype_policy,
        replicas=devices.replicas,
        layout=layout,
        useless=useless,
        libraries=library_versions("keras"),
        seconds=clock.laps,
    )
    save(
        model,
        model.serving_functions,
        fn_args.serving_model_dir,
        {
            MANIFEST: manifest.model_dump_json(indent=1),
            manifests.CALIBRATION: calibration.model_dump_json(indent=1),
            CURVES: curves_of(members, settings).to_json(),
        },
    )
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)


def _read(
    fn_args: FnArgs, config: JourneyTransformConfig, output: tft.TFTransformOutput, layout: Layout, folder: Path
) -> dict[str, Sequences]:
    """Journeys of train and validation as causal training reads them, every decision of calibration."""
    patterns = split_patterns(fn_args.train_files, fn_args.eval_files)
    if config.model.validation_split == 0:
        patterns.pop("validation", None)
    found: dict[str, Sequences] = {}
    for done, (split, files) in enumerate(patterns.items()):
        progress.report(done, len(patterns), f"reading {split}")
        if split == "calibration":
            found[split] = decisions(files, output, layout, folder=folder)
        else:
            found[split] = read_sequences(files, output, layout, causal=True, folder=folder)
    return found


def calibrate(held_out: Predicted | None, dataset: JourneyDataset) -> calibrations.Calibration:
    """On the calibration part; without one (`split.calibration: 0`) the networks' probabilities stay what they are."""
    if held_out is None and dataset.split.calibration == 0:
        return calibrations.uncalibrated(dataset.outcome is not None)
    if held_out is None:
        raise DataError(
            "the calibration split holds no decision: give it more of the journeys (dataset.split.calibration)"
        )
    outcome = held_out.outcome if dataset.outcome else None
    return calibrations.fit(held_out.action_logits, held_out.action, held_out.conversion_logits, outcome)


def _metrics(found: Predicted, calibration: calibrations.Calibration, outcomes: bool) -> dict[str, float]:
    if not found.decisions:
        return {}
    return decision_metrics(
        calibration.probabilities(found.action_logits),
        found.action,
        calibration.conversion(found.conversion_logits),
        found.outcome if outcomes else None,
    )


def _naive_metrics(baselines: naive.Baselines, held_out: Sequences) -> dict[str, float]:
    """Accuracy of the naive predictors over decisions, one a row."""
    right: dict[str, int] = dict.fromkeys(naive.NAMES, 0)
    known = held_out.next_action >= 0
    for start in range(0, len(held_out), 1 << 16):
        part = slice(start, start + (1 << 16))
        guesses = baselines(held_out.event_codes[part, :, 0], held_out.length[part])
        for name, guess in guesses.items():
            right[name] += int((known[part] & (guess == held_out.next_action[part])).sum())
    return {f"{name}_accuracy": count / max(int(known.sum()), 1) for name, count in right.items()}


def _rate(members: Sequence[Member], learned: int) -> float:
    """Decisions of the training part per second of all its epochs."""
    epochs = [epoch for member in members for epoch in member.fitted.epochs]
    return learned * len(epochs) / max(sum(epoch.seconds for epoch in epochs), 1e-9)
