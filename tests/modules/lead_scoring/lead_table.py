"""A small table of leads with known conversion probabilities, and the real TFX executors run on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.trainer import executor as trainer_executor
from tfx.proto import trainer_pb2, transform_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.utils import json_utils, proto_utils

from modules.dataset import Dataset, Label, TimeColumn
from modules.features import Feature, Kind
from modules.lead_scoring.settings import LeadScoringSettings
from modules.transform_config import TransformConfig

keys = standard_component_specs
SPLITS = ("train", "validation", "calibration", "test")

DATASET = Dataset(
    name="toy",
    files=("toy.csv",),
    id="lead_id",
    label=Label(column="converted"),
    time=TimeColumn(column="created"),
    features=(
        Feature(name="income", kind=Kind.NUMERIC, monotone=1),
        Feature(name="job", kind=Kind.CATEGORICAL, vocabulary_size=4),
        Feature(name="visits", kind=Kind.NUMERIC),
        Feature(name="message", kind=Kind.TEXT, vocabulary_size=5),
        Feature(name="region", kind=Kind.CATEGORICAL, min_count=2),
        Feature(name="age", kind=Kind.NUMERIC),
    ),
)
JOBS = np.array([b"admin", b"nurse", b"pilot", b"clerk", b"smith", b"judge"])
WORDS = np.array([b"Price", b"price?", b"visit", b"loan", b"now", b"today!", b"garden", b"\xc3\x84rger"])


@dataclass(frozen=True)
class Leads:
    """Columns of n leads; missing is NaN or b''; `probability` is the truth."""

    columns: dict[str, np.ndarray]
    probability: np.ndarray

    def examples(self) -> list[bytes]:
        """Serialized tf.Examples; a missing value is an absent feature, or an empty one in every third row."""
        records = []
        for row in range(len(self.probability)):
            example = tf.train.Example()
            for name, column in self.columns.items():
                value = column[row]
                if isinstance(value, bytes):
                    missing, field = value == b"", "bytes_list"
                else:
                    missing, field = bool(np.isnan(value)), "int64_list" if column.dtype.kind == "i" else "float_list"
                if not missing:
                    getattr(example.features.feature[name], field).value.append(value)
                elif row % 3 == 0:
                    example.features.feature[name].SetInParent()
            records.append(example.SerializeToString())
        return records


def draw(rows: int, seed: int = 0) -> Leads:
    """Random leads, a tenth of the values missing."""
    rng = np.random.default_rng(seed)
    income, visits, age = rng.normal(size=(3, rows)).round(2).astype(np.float32)
    job = rng.choice(JOBS, rows, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    message = np.array([b" ".join(rng.choice(WORDS, rng.integers(0, 6))) for _ in range(rows)], object)
    log_odds = -1 + 1.2 * income + np.sin(2 * visits) + (job == b"nurse") - 0.5 * (job == b"pilot")
    log_odds = log_odds + 0.7 * np.array([b"loan" in m for m in message])
    probability = 1 / (1 + np.exp(-log_odds))
    columns: dict[str, np.ndarray] = {
        "income": income,
        "job": job.astype(object),
        "visits": visits,
        "message": message,
        "region": np.array([b"r%d" % v for v in rng.integers(0, 12, rows)], object),
        "age": age,
    }
    for column in columns.values():
        column[rng.random(rows) < 0.1] = b"" if column.dtype == object else np.nan
    columns["lead_id"] = np.array([b"L%d" % i for i in range(rows)], object)
    columns["created"] = 1_700_000_000 + 3600 * np.arange(rows)
    columns["converted"] = (rng.random(rows) < probability).astype(np.int64)
    return Leads(columns, probability)


def schema(fixed: tuple[str, ...] = ()) -> schema_pb2.Schema:
    """Schema of the table; features are of variable length except label, time and those named."""
    found = schema_pb2.Schema()
    for name in (*DATASET.table.names, "lead_id", "created", "converted"):
        numeric = name in DATASET.table.names and DATASET.table[name].kind is Kind.NUMERIC
        kind = schema_pb2.FLOAT if numeric else schema_pb2.INT if name in ("created", "converted") else schema_pb2.BYTES
        feature = found.feature.add(name=name, type=kind)
        if name in ("lead_id", "created", "converted", *fixed):
            feature.presence.min_fraction = 1
            feature.shape.SetInParent()
    return found


def write_examples(root: Path, rows: dict[str, int], fixed: tuple[str, ...] = (), seed: int = 0) -> dict[str, Leads]:
    """Writes an Examples artifact and `schema/schema.pbtxt` under root."""
    found = {}
    for k, (split, n) in enumerate(rows.items()):
        found[split] = draw(n, seed + k)
        folder = root / f"Split-{split}"
        folder.mkdir(parents=True)
        records = found[split].examples()
        for part in range(2):
            with tf.io.TFRecordWriter(str(folder / f"data-{part:05d}-of-00002")) as out:
                for record in records[part * n // 2 : (part + 1) * n // 2]:
                    out.write(record)
    (root / "schema").mkdir()
    (root / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(schema(fixed)))
    return found


def custom_config(settings: LeadScoringSettings) -> dict[str, str]:
    return {
        **TransformConfig(dataset=DATASET, model=settings).to_custom_config(),
        "configuration": json.dumps({"model": settings.model_dump(mode="json")}),
        "configuration_hash": "c0ffee",
        "dataset_version": "d1",
        "model_type": "lead-scoring",
    }


def run_transform(executor: type, root: Path, out: Path, settings: LeadScoringSettings) -> str:
    """Runs a Transform executor on the train split; returns the path of the Transform graph."""
    graph = standard_artifacts.TransformGraph()
    graph.uri = str(out)
    # The empty flag keeps TFX from packaging its own sources for remote workers, which takes seconds.
    context = executor.Context(
        tmp_dir=str(out.parent / "tmp"),
        unique_id="1",
        beam_pipeline_args=["--extra_package=", "--direct_num_workers=1"],
    )
    executor(context).Do(
        _inputs(root),
        {keys.TRANSFORM_GRAPH_KEY: [graph]},
        {
            keys.PREPROCESSING_FN_KEY: "modules.preprocessing.preprocessing_fn",
            keys.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config(settings)),
            keys.SPLITS_CONFIG_KEY: proto_utils.proto_to_json(transform_pb2.SplitsConfig(analyze=["train"])),
            keys.DISABLE_STATISTICS_KEY: 1,
        },
    )
    return graph.uri


def run_trainer(
    root: Path, transform_graph: str, out: Path, settings: LeadScoringSettings, base: str | None = None
) -> Path:
    """Runs TFX's Trainer executor; returns the SavedModel."""
    graph, model, model_run = (
        standard_artifacts.TransformGraph(),
        standard_artifacts.Model(),
        standard_artifacts.ModelRun(),
    )
    graph.uri, model.uri, model_run.uri = transform_graph, str(out / "model"), str(out / "run")
    inputs: dict[str, Any] = {**_inputs(root), keys.TRANSFORM_GRAPH_KEY: [graph]}
    if base:
        base_model = standard_artifacts.Model()
        base_model.uri = base
        inputs[keys.BASE_MODEL_KEY] = [base_model]
    trainer_executor.GenericExecutor().Do(
        inputs,
        {keys.MODEL_KEY: [model], keys.MODEL_RUN_KEY: [model_run]},
        {
            "run_fn": "modules.lead_scoring.trainer.run_fn",
            keys.TRAIN_ARGS_KEY: proto_utils.proto_to_json(trainer_pb2.TrainArgs(splits=["train"])),
            keys.EVAL_ARGS_KEY: proto_utils.proto_to_json(trainer_pb2.EvalArgs(splits=["validation", "calibration"])),
            keys.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config(settings)),
        },
    )
    return out / "model" / "Format-Serving"


def _inputs(root: Path) -> dict[str, list[Any]]:
    examples, found = standard_artifacts.Examples(), standard_artifacts.Schema()
    examples.uri, found.uri = str(root), str(root / "schema")
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    return {keys.EXAMPLES_KEY: [examples], keys.SCHEMA_KEY: [found]}
