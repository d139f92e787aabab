"""Next best actions against the truth that only the generator knows: its own policy, and the effect of every action."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
SEEDS = (1, 2)
ROWS = 50_000
BATCH = 4096


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Runs the pipeline on two generated marketplaces (`rows` leads each, 50,000 by default).

    Returns:
      rows, per_seed, and means over the seeds of accuracy_ratio (top-1 accuracy on the test part over that of the
      generator's likeliest action) and of the true values, per decision of the test part, of the logging policy, of the
      model's next best action and of the best action.
    """
    rows = rows or ROWS
    results = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(prefix="aiqleads-recommend-quality-") as folder:
            results.append(measure(Path(folder), rows, seed))
            if not as_json:
                print({key: round(value, 4) for key, value in results[-1].items()}, flush=True)
    means = {key: float(np.mean([one[key] for one in results])) for key in results[0]}
    return {"rows": rows, **means, "per_seed": results}


def measure(folder: Path, rows: int, seed: int) -> dict[str, float]:
    """One marketplace: generate, run as a user would, compare."""
    data, root = folder / "data", folder / "root"
    command = [sys.executable, "-m", "pipeline.cli"]
    generate = [*command, "data", "generate", "--rows", str(rows), "--seed", str(seed), "--out", str(data)]
    subprocess.run(generate, cwd=PROJECT, check=True, capture_output=True)
    done = subprocess.run(
        [
            *command, "run", str(PROJECT / "configs" / "recommendation.yaml"), "--root", str(root),
            "--set", f"dataset.events.files=['{data / 'events.csv'}']",
            "--set", f"dataset.leads.files=['{data / 'leads.csv'}']",
        ],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{rows} leads, seed {seed}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    (model,) = (root / "serving").glob("*/[0-9]*")
    (split,) = (root / "artifacts").glob("*/JourneyExampleGen/examples/*/Split-test")
    return compare(model, split, data / "truth_events.csv")


def compare(model: Path, split: Path, truth: Path) -> dict[str, float]:
    """The answers of a SavedModel to the decisions of a split against `truth_events.csv`."""
    import pandas as pd
    import tensorflow as tf

    files = sorted(str(file) for file in split.iterdir())
    spec = {
        "lead_id": tf.io.FixedLenFeature([], tf.string),
        "history_length": tf.io.FixedLenFeature([], tf.int64),
        "next_action": tf.io.FixedLenFeature([], tf.string),
    }
    loaded = tf.saved_model.load(str(model))
    parts: dict[str, list[np.ndarray]] = {key: [] for key in (*spec, "likeliest", "best")}
    for records in tf.data.TFRecordDataset(files, "GZIP").batch(BATCH):
        for key, values in tf.io.parse_example(records, spec).items():
            parts[key].append(values.numpy())
        parts["likeliest"].append(
            loaded.signatures["distribution"](examples=records)["probabilities"].numpy().argmax(1)
        )
        parts["best"].append(loaded.signatures["serving_default"](examples=records)["next_best_action"].numpy())
    found = {key: np.concatenate(values) for key, values in parts.items()}
    from modules.recommendation.manifest import Manifest

    actions = np.array(Manifest.load(model).layout.actions)
    table = pd.read_csv(truth).set_index(["lead_id", "position"])
    ids = found["lead_id"].astype(str)
    known = table.loc[list(zip(ids, found["history_length"] + 1, strict=True))]
    taken = found["next_action"].astype(str)
    values = np.stack([known[f"conversion_{action}"].to_numpy() for action in actions], axis=1)
    best = found["best"].astype(str)
    column = {action: i for i, action in enumerate(actions)}
    chosen = np.array([column.get(action, -1) for action in best])
    before = known["before"].to_numpy()
    of_best = np.where(chosen >= 0, values[np.arange(len(values)), chosen], before)
    accuracy = float((actions[found["likeliest"]] == taken).mean())
    reachable = float((known["likeliest_action"].to_numpy() == taken).mean())
    return {
        "decisions": float(len(taken)),
        "accuracy": accuracy,
        "policy_accuracy": reachable,
        "accuracy_ratio": accuracy / reachable,
        "value_logging": float(before.mean()),
        "value_next_best_action": float(of_best.mean()),
        "value_best_action": float(values.max(axis=1).mean()),
    }
