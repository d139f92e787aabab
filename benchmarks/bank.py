"""Bank Marketing without `duration`, under the two protocols that docs/results.md reports.

random: 80/20, stratified, scikit-learn's `train_test_split` with seeds 0, 1, 2. chronological: the first 80 % of the
rows against the last 20 %. Each is run twice, with the default settings and tuned, both as whole pipelines; the figures
are those of the pushed model on the test part. Tuned is what the Tuner finds on folds of the training rows, of random
rows or of what comes later, after the trees have been given what the protocol asks for: all rows in the end, and, in
time order, a linear term and weights that halve in half a year. Nothing of it is chosen by the test part.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.quality import answer_split, roc_auc
from modules.errors import DataError
from modules.probability import expected_calibration_error

PROJECT = Path(__file__).resolve().parent.parent
TABLE = PROJECT.parent / "shared" / "data" / "bank_marketing" / "bank-additional-full.csv.gz"
SEEDS = (0, 1, 2)
MACRO = ("emp_var_rate", "cons_price_idx", "cons_conf_idx", "euribor3m", "nr_employed")
ASKED_BY_TIME: dict[str, dict[str, Any]] = {
    **{name: {"terms": "linear"} for name in MACRO},
    "pdays": {"buckets": [999]},
}
"""What the economy does leaves the range that trees have seen; a line goes on. Of the days since the last campaign only
whether there was one: too few training rows know more."""

TUNING: dict[str, dict[str, Any]] = {
    "random": {
        "model.refit": "all",
        "model.learning_rate": 0.05,
        "model.early_stopping_rounds": 40,
        "validation": {"folds": 4, "method": "stratified"},
        "tuning": {
            "trials": 40,
            "workers": 2,
            "space": {
                "learning_rate": {"low": 0.03, "high": 0.1, "log": True},
                "max_depth": {"low": 3, "high": 12},
                "min_child_weight": {"low": 0.5, "high": 50, "log": True},
                "subsample": {"low": 0.5, "high": 1.0},
                "colsample_bytree": {"low": 0.3, "high": 1.0},
                "colsample_bylevel": {"low": 0.4, "high": 1.0},
                "gamma": {"low": 0.0, "high": 5.0},
                "reg_lambda": {"low": 0.1, "high": 30, "log": True},
                "max_bin": {"choices": [64, 128, 256]},
            },
        },
    },
    "chronological": {
        "model.refit": "all",
        "model.linear": {"l2": 10},
        "model.recency_half_life_days": 180,
        "model.learning_rate": 0.02,
        "model.max_depth": 2,
        "model.subsample": 0.7,
        "model.colsample_bytree": 0.5,
        "model.min_child_weight": 10,
        "validation": {"folds": 4, "method": "time"},
        "tuning": {
            "trials": 8,
            "workers": 2,
            "space": {
                "max_depth": {"low": 1, "high": 4},
                "min_child_weight": {"low": 5, "high": 100, "log": True},
                "colsample_bytree": {"low": 0.3, "high": 1.0},
                "num_rounds": {"choices": [50, 100, 200, 400]},
            },
        },
    },
}


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Runs both protocols; `rows` is not used, the table is what it is.

    Raises:
      DataError: the table is not beside the checkout.
    """
    if not TABLE.is_file():
        raise DataError(f"{TABLE} is not there; the Bank Marketing table is not part of the project")
    result: dict[str, Any] = {}
    for protocol in TUNING:
        for tuned in (False, True):
            seeds = [_protocol(protocol, seed, tuned) for seed in SEEDS]
            name = f"{protocol} {'tuned' if tuned else 'defaults'}"
            result[name] = {"seeds": seeds, **_mean(seeds)}
            if not as_json:
                print(name, {k: round(v, 4) for k, v in result[name].items() if isinstance(v, float)}, flush=True)
    return result


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _protocol(name: str, seed: int, tuned: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="aiqleads-bank-") as folder:
        work = Path(folder)
        dataset = yaml.safe_load((PROJECT / "configs" / "datasets" / "bank_marketing.yaml").read_text())
        dataset["name"] = "bank"
        if name == "random":
            dataset["files"] = [str(_with_part(work / "bank.csv", seed))]
            dataset["split"] = {
                "method": "column",
                "column": "part",
                "values": {"train": "train", "test": "test"},
                "calibration": 0.1,
            }
        else:
            dataset["files"] = [str(TABLE)]
            dataset["split"] = {"method": "order", "test": 0.2, "calibration": 0.1}
            if tuned:
                dataset["features"] = [{**f, **ASKED_BY_TIME.get(f["name"], {})} for f in dataset["features"]]
        (work / "bank.yaml").write_text(yaml.safe_dump(dataset))
        settings: dict[str, Any] = dict(TUNING[name]) if tuned else {}
        settings |= {"model.seed": seed, "dataset.split.seed": seed}
        # The protocols are fixed in advance, so neither drift nor a threshold has a say in them.
        settings |= {"gate.anomalies": "warn", "gate.drift": "off", "evaluation.slices": []}
        settings |= {"evaluation.min": {}, "evaluation.max": {}, "evaluation.per_slice": {}}
        command = [sys.executable, "-m", "pipeline.cli", "run", str(PROJECT / "configs" / "lead_scoring.yaml")]
        command += ["--dataset", str(work / "bank.yaml"), "--root", str(work / "root")]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{name} {seed}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        (model,) = (work / "root" / "serving").glob("*/[0-9]*")
        (split,) = (work / "root" / "artifacts").glob("*/ColumnarExampleGen/examples/*/Split-test")
        answers = answer_split(model, split, id_feature="row_id", label_feature="y")
    y, p = answers["converted"].astype(np.float64), answers["probability"].astype(np.float64)
    return {"auc": roc_auc(y, p), **_others(y, p)}


def _others(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, log_loss

    return {
        "average_precision": float(average_precision_score(y, p)),
        "log_loss": float(log_loss(y, p)),
        "ece": expected_calibration_error(p, y),
    }


def _with_part(target: Path, seed: int) -> Path:
    """The table with a column that says which rows scikit-learn's stratified split holds out."""
    from sklearn.model_selection import train_test_split

    with gzip.open(TABLE, "rt") as source:
        header, *lines = source.read().splitlines()
    labels = [line.rsplit(";", 1)[1] for line in lines]
    _, test = train_test_split(np.arange(len(lines)), test_size=0.2, random_state=seed, stratify=labels)
    part = np.full(len(lines), "train", dtype=object)
    part[test] = "test"
    with open(target, "w") as file:
        file.write(f'{header};"part"\n')
        file.writelines(f"{line};{where}\n" for line, where in zip(lines, part, strict=True))
    return target
