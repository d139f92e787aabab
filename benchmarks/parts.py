"""What each part of lead scoring adds, or does not: folds of the training rows, no test part.

Bank Marketing (without `duration`; needs the table in ../shared) and leads of the marketplace, which have a text. Every
variant differs from the first one in what its name says, and is fitted to the same five stratified folds, with all that
it learns learned inside the fold; figures are means over the folds, of rows held out.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import special

from benchmarks.bank import PROJECT, TABLE
from modules.dataset import Dataset
from modules.lead_scoring.folds import HELD_OUT, Fold
from modules.lead_scoring.learn import learn
from modules.lead_scoring.settings import LeadScoringSettings
from modules.probability import expected_calibration_error, log_loss
from modules.roc import area_under_roc
from modules.transform_config import TransformConfig
from modules.validation.settings import ValidationSettings

BASE: dict[str, Any] = {"learning_rate": 0.03, "early_stopping_rounds": 40}
FOUND: dict[str, Any] = {
    "max_depth": 9,
    "min_child_weight": 1.5,
    "subsample": 0.95,
    "colsample_bytree": 0.9,
    "colsample_bylevel": 0.7,
    "gamma": 2.5,
    "reg_lambda": 2.0,
    "max_bin": 128,
}
"""What searches on training rows of Bank Marketing like."""

BANK: dict[str, dict[str, Any]] = {
    "as it is": {},
    "refit on validation rows": {"refit": True},
    "refit on all rows": {"refit": "all"},
    "target encoding": {"categorical": "target"},
    "one-hot": {"categorical": "one_hot"},
    "selection": {"selection": {}},
    "linear term": {"linear": {}},
    "tuned": FOUND,
    "tuned, refit on all rows": {**FOUND, "refit": "all"},
    "tuned, target encoding": {**FOUND, "categorical": "target"},
}
MARKETPLACE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "without the words of the text": {"text_words": 0},
    "selection": {"selection": {}},
    "linear term": {"linear": {}},
}
FOLDS = ValidationSettings(folds=5, method="stratified")
LEADS = 20_000


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Fits all variants; `rows` leads of the marketplace, 20,000 by default.

    Returns:
      By dataset and variant: auc, log_loss, calibration_error, and uncalibrated_error, that of the margins as they are.
    """
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="aiqleads-parts-") as folder:
        work = Path(folder)
        if TABLE.is_file():
            bank = yaml.safe_load((PROJECT / "configs" / "datasets" / "bank_marketing.yaml").read_text())
            bank |= {"name": "bank", "files": [str(TABLE)]}
            result["bank"] = _compare(work / "bank", bank, BANK, as_json)
        from modules.marketplace.settings import MarketplaceSettings
        from modules.marketplace.write import write_marketplace

        write_marketplace(work / "data", MarketplaceSettings(rows=rows or LEADS, seed=1))
        leads = yaml.safe_load((PROJECT / "configs" / "datasets" / "aiqleads.yaml").read_text())
        leads |= {"files": [str(work / "data" / "leads.csv")]}
        result["marketplace"] = _compare(work / "marketplace", leads, MARKETPLACE, as_json)
    return result


def _compare(
    work: Path, values: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]], as_json: bool
) -> dict[str, Any]:
    from modules.lead_scoring.fold_files import prepare_folds

    patterns, schema = _ingested(work, values)
    dataset = Dataset.model_validate(values)
    prepared: dict[str, list[Fold]] = {}
    result: dict[str, Any] = {}
    for name, changes in variants.items():
        settings = LeadScoringSettings.model_validate({**BASE, **changes})
        # Folds differ only where Transform does.
        key = f"{settings.categorical}-{settings.text_words}"
        if key not in prepared:
            config = TransformConfig(dataset=dataset, model=settings)
            prepared[key] = list(prepare_folds(patterns, schema, config, FOLDS, work / "folds" / key))
        found = [_measure(fold, settings) for fold in prepared[key]]
        result[name] = {metric: float(np.mean([f[metric] for f in found])) for metric in found[0]}
        if not as_json:
            print(f"{values['name']}, {name}:", {k: round(v, 4) for k, v in result[name].items()}, flush=True)
    return result


def _measure(fold: Fold, settings: LeadScoringSettings) -> dict[str, float]:
    learned = learn({k: s for k, s in fold.spools.items() if k != HELD_OUT}, fold.features, settings)
    held_out = fold.spools[HELD_OUT]
    margins = learned.margins_of(held_out)
    p = learned.calibration(margins)["probability"]
    return {
        "auc": area_under_roc(margins, held_out.labels),
        "log_loss": log_loss(p, held_out.labels),
        "calibration_error": expected_calibration_error(p, held_out.labels),
        "uncalibrated_error": expected_calibration_error(special.expit(margins), held_out.labels),
    }


def _ingested(work: Path, values: Mapping[str, Any]) -> tuple[list[str], Any]:
    """File patterns of everything but the test part, and the schema that the data suggest."""
    importlib.import_module("tfx.components")  # before tensorflow_data_validation, which misses a part of tfx-bsl else
    import tensorflow_data_validation as tfdv

    from modules.schema import curate_schema

    work.mkdir(parents=True)
    (work / "dataset.yaml").write_text(yaml.safe_dump(dict(values)))
    command = [sys.executable, "-m", "pipeline.cli", "schema", str(PROJECT / "configs" / "lead_scoring.yaml")]
    command += ["--dataset", str(work / "dataset.yaml"), "--root", str(work / "root")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    (examples,) = (work / "root" / "artifacts").glob("*/ColumnarExampleGen/examples/*")
    statistics = sorted((work / "root" / "artifacts").glob("*/StatisticsGen/statistics/*/Split-*/FeatureStats.pb"))
    schema = curate_schema([tfdv.load_stats_binary(str(file)) for file in statistics], Dataset.model_validate(values))
    return [f"{examples}/Split-{split}/*" for split in ("train", "validation", "calibration")], schema
