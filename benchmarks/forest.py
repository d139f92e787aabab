"""Compiled trees against XGBoost's own predictor: 1000 trees of depth 6 on 40 features, margins of 1 to 8192 rows.

Both sides get a float32 NumPy array and return a NumPy array. The compiled trees are saved as a SavedModel and called
through the session loader, the path of TensorFlow Serving, with `Session.make_callable`. XGBoost is called through
`Booster.inplace_predict`, its fastest entry. Both use their default number of threads.

The two take turns of a few calls each; the first call of a turn is not counted, since threads of the other side may
still be spinning. Figures are medians.

python -m benchmarks.forest --rows 64
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost

BATCHES = (1, 64, 1024, 8192)
TREES = 1000
DEPTH = 6
FEATURES = 40
TRAINING_ROWS = 30_000
TURNS = 25
TURN_SECONDS = 0.05
MIN_CALLS, MAX_CALLS = 2, 30

Margin = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def make_rows(rows: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features like a lead table's (normal, log-normal, counts, flags, rounded; a third with missing) and a label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, FEATURES)).astype(np.float32)
    x[:, 10:20] = np.exp(x[:, 10:20])
    x[:, 20:26] = rng.poisson(3, size=(rows, 6))
    x[:, 26:30] = x[:, 26:30] > 0.5
    x[:, 30:34] = np.round(x[:, 30:34], 1)
    weights = np.random.default_rng(7).normal(size=FEATURES) * 0.4
    signal = np.tanh(x) @ weights + np.sin(2 * x[:, 0]) * x[:, 1] + (x[:, 11] > 1.2) * x[:, 3] - 0.7
    label = (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(np.float32)
    missing = rng.random(x.shape) < 0.15
    missing[:, np.arange(FEATURES) % 3 != 0] = False
    x[missing] = np.nan
    return x, label


def train(rows: int = TRAINING_ROWS) -> xgboost.Booster:
    import xgboost

    settings = {"objective": "binary:logistic", "max_depth": DEPTH, "eta": 0.05, "tree_method": "hist", "seed": 1}
    return xgboost.train(settings, xgboost.DMatrix(*make_rows(rows, 0)), TREES)


def load_compiled(booster: xgboost.Booster, folder: str, threads: int = 0) -> Margin:
    """Saves the compiled trees under `folder` and loads them into a fresh session; `threads` 0 is the default."""
    import tensorflow as tf

    from modules.lead_scoring.forest.compile import compile_forest

    module = tf.Module()
    module.forest = compile_forest(booster)
    module.margin = tf.function(
        lambda x: {"margin": module.forest.margin(x)},
        input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="x")],
    )
    tf.saved_model.save(module, folder, signatures={"serving_default": module.margin})
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
    signature = loaded.signature_def["serving_default"]
    return session.make_callable(signature.outputs["margin"].name, feed_list=[signature.inputs["x"].name])


def take_turns(sides: dict[str, Margin], x: NDArray[np.float32], turns: int = TURNS) -> dict[str, float]:
    """Median milliseconds of a call, for each side."""
    calls: dict[str, int] = {}
    for name, side in sides.items():
        side(x)
        start = time.perf_counter()
        side(x)
        calls[name] = int(np.clip(TURN_SECONDS / (time.perf_counter() - start), MIN_CALLS, MAX_CALLS))
    milliseconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            side(x)
            for _ in range(calls[name]):
                start = time.perf_counter()
                side(x)
                milliseconds[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in milliseconds.items()}


def run(rows: int | None = None, as_json: bool = False, threads: int = 0) -> dict[str, Any]:
    """Measures.

    Args:
        rows: measure this batch size only; by default 1, 64, 1024 and 8192.
        as_json: print JSON instead of a table.
        threads: threads of either side; 0 means the default of each.

    Returns:
        `{"batches": {"1": {"tf_ms", "native_ms", "ratio", "largest_difference"}, ...}}`, ratio = tf_ms / native_ms.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    booster = train()
    if threads:
        booster.set_param({"nthread": threads})
    batches = {}
    with tempfile.TemporaryDirectory() as folder:
        compiled = load_compiled(booster, folder, threads)
        sides: dict[str, Margin] = {
            "tf": compiled,
            "native": lambda x: booster.inplace_predict(x, predict_type="margin"),
        }
        for batch in BATCHES if rows is None else (rows,):
            x, _ = make_rows(batch, 1)
            difference = float(np.abs(sides["tf"](x) - sides["native"](x)).max(initial=0))
            medians = take_turns(sides, x)
            batches[str(batch)] = {
                "tf_ms": round(medians["tf"], 4),
                "native_ms": round(medians["native"], 4),
                "ratio": round(medians["tf"] / medians["native"], 4),
                "largest_difference": difference,
            }
    result = {"batches": batches}
    if as_json:
        print(json.dumps(result))
    else:
        print(f"{'rows':>6} {'TensorFlow ms':>14} {'XGBoost ms':>11} {'ratio':>6}")
        for batch_name, row in batches.items():
            print(f"{batch_name:>6} {row['tf_ms']:>14.3f} {row['native_ms']:>11.3f} {row['ratio']:>6.2f}")
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    run(arguments.rows, arguments.json, arguments.threads)
