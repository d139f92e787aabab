"""Next activity on BPI 2012 and Helpdesk, chronological 80/20 by case, all prefixes, through the whole pipeline.

Each protocol is run with three seeds as a user would run it; the figures are those the Evaluator measured on the test
part, for the model and, on the same decisions, for the naive baselines that travel in it. Two more predictors are
counted from the same examples: the longest seen suffix, and the last action with recency weights.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modules.errors import DataError

PROJECT = Path(__file__).resolve().parent.parent
DATA = PROJECT.parent / "shared" / "data"
SEEDS = (0, 1, 2)
HALF_LIVES_DAYS = (15, 30, 60, 120)


@dataclass(frozen=True)
class Protocol:
    """One line of the table: a model file, and what is laid over it."""

    name: str
    config: str
    needs: str
    settings: dict[str, str] = field(default_factory=dict)


# By start time the process changes, and only what is short and recent carries over.
_FEW_COLUMNS = {
    "model.clock": "[gap]",
    "dataset.features": "[]",
    "dataset.events.features": "[{name: resource, column: Resource, kind: categorical, min_count: 2}]",
}
_STEADY = {
    "embedding_dim": 64,
    "num_heads": 4,
    "hidden_layers": [64],
    "dropout_rate": 0.3,
    "learning_rate": 0.002,
    "epochs": 12,
}

PROTOCOLS = (
    Protocol("bpi2012", "recommendation_bpi2012", "bpi2012/bpi_challenge_2012.csv.gz"),
    Protocol("helpdesk_start_time", "recommendation_helpdesk", "helpdesk/helpdesk.csv.gz", _FEW_COLUMNS),
    Protocol(
        "helpdesk_file_order",
        "recommendation_helpdesk",
        "helpdesk/helpdesk.csv.gz",
        {
            "dataset.split.method": "order",
            "model.recency_half_life_days": "null",
            **{f"model.{key}": str(value) for key, value in _STEADY.items()},
        },
    ),
)
# The protocols are fixed in advance, so neither drift nor a threshold has a say in them; nothing is served.
FIXED = {
    "gate.anomalies": "warn",
    "gate.drift": "off",
    "infra.kind": "off",
    "evaluation.slices": "[]",
    "dataset.split.calibration": "0",
}


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Runs all protocols; `rows` is not used, the logs are what they are.

    Raises:
      DataError: the logs are not beside the checkout.
    """
    for protocol in PROTOCOLS:
        if not (DATA / protocol.needs).is_file():
            raise DataError(f"{DATA / protocol.needs} is not there; the event logs are not part of the project")
    result: dict[str, Any] = {}
    for protocol in PROTOCOLS:
        with tempfile.TemporaryDirectory(prefix="aiqleads-next-action-") as folder:
            seeds = [_measure(protocol, seed, Path(folder)) for seed in SEEDS]
            counted = count(protocol, Path(folder))
        mean = {key: float(np.mean([one[key] for one in seeds])) for key in seeds[0]}
        result[protocol.name] = {"mean": mean, "counted": counted, "seeds": seeds}
        if not as_json:
            print(protocol.name, {key: round(value, 4) for key, value in (mean | counted).items()}, flush=True)
    return result


def _measure(protocol: Protocol, seed: int, root: Path) -> dict[str, float]:
    settings = {**FIXED, **protocol.settings, "model.seed": str(seed)}
    command = [sys.executable, "-m", "pipeline.cli", "run", str(PROJECT / "configs" / f"{protocol.config}.yaml")]
    command += ["--root", str(root)]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        raise RuntimeError(f"{protocol.name} {seed}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    from modules.evaluation.verdict import read_verdict

    evaluations = root.glob("artifacts/*/Evaluator/evaluation/*")
    verdict = read_verdict(max(evaluations, key=lambda path: int(path.name)))
    figures = {name: value for name, value in verdict.candidate.items() if not name.startswith("conversion")}
    return {**figures, "run_s": time.perf_counter() - begin}


def count(protocol: Protocol, root: Path) -> dict[str, float]:
    """Share correct of the counting predictors, from the examples and the Transform graph of a finished run."""
    import tensorflow_transform as tft

    from modules.configuration import parse_override
    from modules.recommendation.read import decisions, read_sequences
    from modules.recommendation.reference_predictors import recent_followers, suffix_counts
    from modules.recommendation.transform_layout import JourneyTransformConfig, layout
    from pipeline.config import load_run

    settings = dict(parse_override(f"{key}={value}") for key, value in {**FIXED, **protocol.settings}.items())
    run = load_run(PROJECT / "configs" / f"{protocol.config}.yaml", overrides=settings)
    config = JourneyTransformConfig.from_custom_config(
        {"dataset": run.dataset.model_dump_json(), "model": run.config.model.model_dump_json()}
    )
    (examples,) = root.glob("artifacts/*/JourneyExampleGen/examples/*")
    graphs = root.glob("artifacts/*/Transform/transform_graph/*")
    output = tft.TFTransformOutput(str(max(graphs, key=lambda path: int(path.name))))
    columns = layout(config, output)
    train = read_sequences([f"{examples}/Split-train/*"], output, columns, causal=True)
    test = decisions([f"{examples}/Split-test/*"], output, columns)
    actions = len(columns.actions)
    known = test.next_action >= 0
    total = len(known)
    right = {"longest_suffix": suffix_counts(train, test, actions) == test.next_action[known]}
    for days in HALF_LIVES_DAYS:
        right[f"recent_{days}_days"] = recent_followers(train, test, actions, days) == test.next_action[known]
    return {name: float(hits.sum() / total) for name, hits in right.items()}
