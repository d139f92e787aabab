"""How good the answers are, against the true probabilities that only the generator knows.

For each of several generated data sets the whole pipeline runs as a user would run it; then the pushed model scores
its own test part through the session loader and is compared with the truth.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modules.probability import expected_calibration_error

PROJECT = Path(__file__).resolve().parent.parent
SEEDS = (1, 2, 3, 4, 5)
COVERAGE_BINS = 50
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Quality:
    """One data set's figures, all on the test part.

    Attributes:
      seed: of the generator.
      rows: test leads.
      auc: of the model, against observed conversions.
      true_auc: of the true probabilities, against the same conversions.
      auc_ratio: auc / true_auc.
      ece: expected calibration error, 15 equal-mass bins.
      covered: share of 50 equal-mass score bins whose true conversion rate lies in the bin's mean interval.
    """

    seed: int
    rows: int
    auc: float
    true_auc: float
    auc_ratio: float
    ece: float
    covered: float


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Runs the pipeline on five generated data sets (`rows` leads each, 200,000 by default).

    Returns:
      rows, per_seed, and auc_ratio (smallest), ece (largest), covered (mean over all bins of all data sets).
    """
    rows = rows or 200_000
    results = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(prefix="aiqleads-quality-") as folder:
            quality = measure(Path(folder), rows, seed)
        results.append(quality)
        if not as_json:
            print(
                f"seed {seed}: auc {quality.auc:.4f} of {quality.true_auc:.4f} ({quality.auc_ratio:.4f}), "
                f"ece {quality.ece:.4f}, covered {quality.covered:.2f}",
                flush=True,
            )
    return {
        "rows": rows,
        "per_seed": [asdict(q) for q in results],
        "auc_ratio": min(q.auc_ratio for q in results),
        "ece": max(q.ece for q in results),
        "covered": float(np.mean([q.covered for q in results])),
    }


def measure(work: Path, rows: int, seed: int) -> Quality:
    """Generates, runs and compares.

    Raises:
      RuntimeError: the pipeline did not push a model.
    """
    from modules.marketplace.settings import MarketplaceSettings
    from modules.marketplace.write import write_marketplace

    write_marketplace(work / "data", MarketplaceSettings(rows=rows, seed=seed))
    command = [sys.executable, "-m", "pipeline.cli", "run", str(PROJECT / "configs" / "lead_scoring.yaml")]
    command += ["--root", str(work / "root"), "--set", f"dataset.files=['{work / 'data' / 'leads.csv'}']"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"seed {seed}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    (model,) = (work / "root" / "serving" / "lead-scoring").glob("[0-9]*")
    (split,) = (work / "root" / "artifacts").glob("*/ColumnarExampleGen/examples/*/Split-test")
    return compare(model, split, work / "data" / "truth.csv", seed)


def compare(model: Path, split: Path, truth: Path, seed: int) -> Quality:
    """The figures of one pushed model on one split of raw examples."""
    answers = answer_split(model, split)
    true_of = _truth(truth)
    p_true = np.array([true_of[i] for i in answers["lead_id"]])
    y, p = answers["converted"].astype(np.float64), answers["probability"].astype(np.float64)
    auc, true_auc = roc_auc(y, p), roc_auc(y, p_true)
    order = np.argsort(p, kind="stable")
    covered = [
        answers["probability_low"][part].mean() <= p_true[part].mean() <= answers["probability_high"][part].mean()
        for part in np.array_split(order, COVERAGE_BINS)
    ]
    ece = expected_calibration_error(p, y, CALIBRATION_BINS)
    return Quality(seed, len(y), auc, true_auc, auc / true_auc, ece, float(np.mean(covered)))


def answer_split(
    model: Path, split: Path, id_feature: str = "lead_id", label_feature: str = "converted", batch: int = 8192
) -> dict[str, np.ndarray]:
    """Id, label and all outputs of `serving_default` for every raw example of a split, through the session loader."""
    import tensorflow as tf

    spec = {
        id_feature: tf.io.FixedLenFeature([], tf.string),
        label_feature: tf.io.FixedLenFeature([], tf.int64),
    }
    files = sorted(str(f) for f in split.iterdir())
    compression = "GZIP" if files[0].endswith(".gz") else ""
    batches = [b.numpy() for b in tf.data.TFRecordDataset(files, compression_type=compression).batch(batch)]
    found: dict[str, list[np.ndarray]] = {}
    for records in batches:
        parsed = tf.io.parse_example(records, spec)
        found.setdefault("lead_id", []).append(np.array([i.decode() for i in parsed[id_feature].numpy()]))
        found.setdefault("converted", []).append(parsed[label_feature].numpy())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(model))
        signature = graph.signature_def["serving_default"]
        outputs = {key: info.name for key, info in signature.outputs.items()}
        for records in batches:
            for key, values in session.run(outputs, {signature.inputs["examples"].name: records}).items():
                found.setdefault(key, []).append(values)
    return {key: np.concatenate(parts) for key, parts in found.items()}


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, exact."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def _truth(path: Path) -> dict[str, float]:
    import pyarrow.csv as pacsv

    table = pacsv.read_csv(path)
    return dict(zip(table["lead_id"].to_pylist(), table["probability"].to_pylist(), strict=True))
