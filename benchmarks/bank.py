"""Bank Marketing without `duration`, under the two protocols that docs/results.md reports.

random: 80/20, stratified, scikit-learn's `train_test_split` with seeds 0, 1, 2. chronological: the first 80 % of the
rows against the last 20 %. Each is a run of the whole pipeline; the figures are those of the pushed model, or of the
candidate if it is not blessed, on the test part.
"""

from __future__ import annotations

import gzip
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
MODEL = {
    "learning_rate": 0.02,
    "max_depth": 5,
    "subsample": 0.7,
    "colsample_bytree": 0.5,
    "min_child_weight": 10,
    "refit": True,
}
# Before the fact, not after it: when interest rates and employment fall, deposits become more attractive, and trees
# may only say so. Monthly survey indices number the months; they cannot tell about months to come.
FALLING = ("emp_var_rate", "euribor3m", "nr_employed")
MONTHLY = ("cons_price_idx", "cons_conf_idx")


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Runs both protocols; `rows` is not used, the table is what it is.

    Raises:
      DataError: the table is not beside the checkout.
    """
    if not TABLE.is_file():
        raise DataError(f"{TABLE} is not there; the Bank Marketing table is not part of the project")
    random = [_protocol("random", seed) for seed in SEEDS]
    chronological = [_protocol("chronological", seed) for seed in SEEDS]
    result = {
        "random": {"seeds": random, **_mean(random)},
        "chronological": {"seeds": chronological, **_mean(chronological)},
    }
    if not as_json:
        for name, figures in result.items():
            print(name, {k: round(v, 4) for k, v in figures.items() if isinstance(v, float)})
    return result


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _protocol(name: str, seed: int) -> dict[str, float]:
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
            dataset["features"] = [
                {**f, "monotone": -1} if f["name"] in FALLING else f
                for f in dataset["features"]
                if f["name"] not in MONTHLY
            ]
        (work / "bank.yaml").write_text(yaml.safe_dump(dataset))
        settings: dict[str, Any] = {f"model.{k}": v for k, v in MODEL.items()}
        settings |= {"model.seed": seed, "dataset.split.seed": seed}
        # The protocols are fixed in advance, so neither drift nor a threshold has a say in them.
        settings |= {"gate.anomalies": "warn", "gate.drift": "off", "evaluation.slices": "[]"}
        settings |= {"evaluation.min": "{}", "evaluation.max": "{}", "evaluation.per_slice": "{}"}
        command = [sys.executable, "-m", "pipeline.cli", "run", str(PROJECT / "configs" / "lead_scoring.yaml")]
        command += ["--dataset", str(work / "bank.yaml"), "--root", str(work / "root")]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
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
