"""Examples, two tiny models and runs of the real Evaluator executor on them, shared by the tests of this folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROWS = 3000
TINY = 20
WEIGHTS = np.array([0.8, -0.5, 0.3], np.float32)


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """One run of the Evaluator."""

    path: Path
    blessed: bool


def make_leads() -> pd.DataFrame:
    """Leads whose label follows the candidate's logit, except in two regions.

    In `west` the label is a coin, so no model can rank there; `tiny` has 20 leads with the label upside down.
    """
    random = np.random.default_rng(7)
    x = random.normal(size=(ROWS, 3)).astype(np.float32)
    region = random.choice(["north", "south", "west"], ROWS)
    region[:TINY] = "tiny"
    logit = x @ WEIGHTS * 2 - 0.5
    label = (random.random(ROWS) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    label = np.where(region == "west", random.integers(0, 2, ROWS), label)
    label = np.where(region == "tiny", (logit < 0).astype(np.int64), label)
    return pd.DataFrame(
        {
            "x0": x[:, 0],
            "x1": x[:, 1],
            "x2": x[:, 2],
            "region": region,
            "device": random.choice(["mobile", "desktop"], ROWS),
            "weight": random.choice([0.5, 1.0, 2.0], ROWS).astype(np.float32),
            "label": label,
        }
    )


def scores(leads: pd.DataFrame, slope: float) -> np.ndarray:
    """What the model of this slope answers, float32 [n]."""
    logit = leads[["x0", "x1", "x2"]].to_numpy(np.float32) @ (WEIGHTS * np.float32(slope))
    return (1 / (1 + np.exp(-(logit - np.float32(0.5))))).astype(np.float32)


def write_examples(leads: pd.DataFrame, folder: Path) -> None:
    """Writes the leads as tf.Examples; a lead in ten has no `device`."""
    import tensorflow as tf

    folder.mkdir(parents=True)
    with tf.io.TFRecordWriter(
        str(folder / "data-00000-of-00001.gz"), tf.io.TFRecordOptions(compression_type="GZIP")
    ) as writer:
        for row, lead in enumerate(leads.itertuples()):
            example = tf.train.Example()
            feature = example.features.feature
            for name in ("x0", "x1", "x2", "weight"):
                feature[name].float_list.value.append(getattr(lead, name))
            feature["region"].bytes_list.value.append(lead.region.encode())
            if row % 10:
                feature["device"].bytes_list.value.append(lead.device.encode())
            feature["label"].int64_list.value.append(lead.label)
            writer.write(example.SerializeToString())


def save_model(slope: float, folder: Path) -> None:
    """A logistic model of stock ops that parses serialized tf.Examples."""
    import tensorflow as tf

    class Logistic(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(WEIGHTS * np.float32(slope))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def serve(self, examples):  # type: ignore[no-untyped-def]
            names = ("x0", "x1", "x2")
            parsed = tf.io.parse_example(examples, {name: tf.io.FixedLenFeature([], tf.float32) for name in names})
            logit = tf.linalg.matvec(tf.stack([parsed[name] for name in names], 1), self.weights) - 0.5
            probability = tf.sigmoid(logit)
            return {"probability": probability, "score": 100 * probability}

    model = Logistic()
    tf.saved_model.save(model, str(folder / "Format-Serving"), signatures={"serving_default": model.serve})


@pytest.fixture(scope="session")
def leads() -> pd.DataFrame:
    return make_leads()


def run_evaluator(
    root: Path, name: str, config, models: dict[str, str], fast: bool = True, schema: str = ""
) -> Evaluated:
    """Runs TFX's Evaluator executor on the examples under `root`.

    Args:
      root: folder of all artifacts.
      name: folder of the results.
      config: the EvalConfig.
      models: folders by "model" and "baseline_model".
      fast: with the aggregating extractors instead of the stock ones.
      schema: folder of the schema, empty for none.
    """
    from tfx.components.evaluator import executor
    from tfx.types import standard_artifacts
    from tfx.utils import proto_utils

    def artifact(kind, folder, **attributes):
        made = kind()
        made.uri = str(root / folder)
        for key, value in attributes.items():
            setattr(made, key, value)
        return [made]

    # A setup file keeps TFX from packing its own source for remote workers, which takes seconds.
    setup = Path(__file__).resolve().parents[3] / "setup.py"
    context = executor.Executor.Context(
        beam_pipeline_args=["--runner=DirectRunner", f"--setup_file={setup}"],
        tmp_dir=str(root / name / "tmp"),
        unique_id="1",
    )
    inputs = {"examples": artifact(standard_artifacts.Examples, "examples", split_names='["eval"]')}
    for number, (key, folder) in enumerate(models.items()):
        inputs[key] = artifact(standard_artifacts.Model, folder, id=len(models) - number)
    if schema:
        inputs["schema"] = artifact(standard_artifacts.Schema, schema)
    outputs = {
        "evaluation": artifact(standard_artifacts.ModelEvaluation, f"{name}/evaluation"),
        "blessing": artifact(standard_artifacts.ModelBlessing, f"{name}/blessing"),
    }
    executor.Executor(context).Do(
        inputs,
        outputs,
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": '["eval"]',
            "module_path": "modules.evaluation.extractors" if fast else None,
        },
    )
    blessing = outputs["blessing"][0].get_int_custom_property("blessed")
    return Evaluated(root / name / "evaluation", blessing == 1)


@pytest.fixture(scope="session")
def evaluate(leads, tmp_path_factory):
    """Runs TFX's Evaluator executor on the leads; the candidate's slope is 2, the baseline's 0.2."""
    root = tmp_path_factory.mktemp("evaluator")
    write_examples(leads, root / "examples" / "Split-eval")
    save_model(2.0, root / "candidate")
    save_model(0.2, root / "baseline")

    def run(name, config, baseline=False, fast=True):
        models = {"model": "candidate", **({"baseline_model": "baseline"} if baseline else {})}
        return run_evaluator(root, name, config, models, fast)

    return run
