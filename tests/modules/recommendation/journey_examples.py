"""A small dataset of journeys, random decisions with everything missing somewhere, and Transform on them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.proto import transform_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.utils import json_utils, proto_utils

from modules.features import Feature, Kind
from modules.journeys import names
from modules.journeys.dataset import EventTable, History, JourneyDataset, LeadTable
from modules.recommendation.settings import RecommendationSettings
from modules.recommendation.transform_layout import JourneyTransformConfig

LENGTH = 5
DATASET = JourneyDataset(
    name="toy",
    events=EventTable(
        files=("events.csv",),
        lead="lead_id",
        time="time",
        action="action",
        features=(
            Feature(name="channel", kind=Kind.CATEGORICAL, vocabulary_size=3),
            Feature(name="minutes", kind=Kind.NUMERIC),
            Feature(name="agent", kind=Kind.CATEGORICAL, min_count=2),
            Feature(name="offer", kind=Kind.NUMERIC),
        ),
    ),
    leads=LeadTable(files=("leads.csv",), id="lead_id"),
    features=(
        Feature(name="income", kind=Kind.NUMERIC),
        Feature(name="source", kind=Kind.CATEGORICAL),
        Feature(name="message", kind=Kind.TEXT, vocabulary_size=4),
        Feature(name="year", kind=Kind.NUMERIC),
        Feature(name="city", kind=Kind.CATEGORICAL, vocabulary_size=2),
    ),
    history=History(length=LENGTH),
)
CONFIG = JourneyTransformConfig(dataset=DATASET, model=RecommendationSettings(text_words=3))

ACTIONS = [b"call", b"email", b"visit", b"text", b"\xc3\xa4rger"]
CHANNELS = [b"web", b"phone", b"shop", b"fax"]
WORDS = ["Price", "price?", "visit", "loan", "now", "today!"]

Row = dict[str, Any]


def example(row: Mapping[str, Any]) -> bytes:
    """A tf.Example of a row: bytes, int or float, or lists of one of them; None is an absent feature."""
    found = tf.train.Example()
    for name, value in row.items():
        if value is None:
            continue
        values = list(value) if isinstance(value, list | tuple) else [value]
        feature = found.features.feature[name]
        if not values:
            feature.SetInParent()
        elif isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    return found.SerializeToString()


def random_rows(n: int, seed: int = 0) -> list[Row]:
    """Decisions; any feature may be absent, lists may differ in length and be longer than L."""
    rng = np.random.default_rng(seed)

    def some(value: Any) -> Any:
        return None if rng.random() < 0.1 else value

    def numbers(count: int, scale: float) -> list[float]:
        values = np.where(rng.random(count) < 0.2, np.nan, rng.normal(scale, scale, count)).astype(np.float32)
        return [float(v) for v in values]

    rows = []
    for i in range(n):
        events = int(rng.integers(0, 2 * LENGTH))
        start = 1_700_000_000 + int(rng.integers(0, 10**8))
        times = start + np.sort(rng.integers(0, int(10 ** rng.integers(2, 8)), events))
        odd = max(0, events + int(rng.integers(-2, 3)))
        rows.append(
            {
                "lead_id": b"L%d" % i,
                names.HISTORY_ACTION: some([*rng.choice([*ACTIONS, b""], events).tolist()]),
                names.HISTORY_TIME: some([int(t) for t in times]),
                names.history("channel"): some(rng.choice([*CHANNELS, b""], odd).tolist()),
                names.history("agent"): some([b"a%d" % a for a in rng.integers(0, 30, events)]),
                names.history("minutes"): some(numbers(events, 10)),
                names.history("offer"): some(numbers(odd, 1e6)),
                names.HISTORY_LENGTH: some(events + 3),
                names.JOURNEY_START: some(start - int(rng.integers(0, 1000))),
                "income": some(numbers(1, 3e4)[0]),
                "year": some(float(2000 + rng.integers(0, 20))),
                "source": some(rng.choice([b"portal", b"friend"])),
                "city": some(b"c%d" % rng.integers(0, 5)),
                "message": some(" ".join(rng.choice(WORDS, rng.integers(0, 5))).encode()),
                names.NEXT_ACTION: some(rng.choice([*ACTIONS, b"rare%d" % i]).item()),
                names.OUTCOME: some(int(rng.integers(0, 2))),
                names.DECISION_TIME: start + 10**8,
                names.TRAINING_POSITIONS: int(max(0, rng.integers(-6, LENGTH + 1))),
            }
        )
    return rows


def schema() -> schema_pb2.Schema:
    """Nothing has a shape, so that Transform reads everything as sparse."""
    found = schema_pb2.Schema()
    types = {names.HISTORY_ACTION: "BYTES", names.NEXT_ACTION: "BYTES", "lead_id": "BYTES"}
    integers = (names.HISTORY_TIME, names.HISTORY_LENGTH, names.JOURNEY_START, names.OUTCOME)
    types |= dict.fromkeys((*integers, names.DECISION_TIME, names.TRAINING_POSITIONS), "INT")
    types |= {f.name: "FLOAT" if f.kind is Kind.NUMERIC else "BYTES" for f in DATASET.feature_columns}
    for name, kind in types.items():
        found.feature.add(name=name, type=schema_pb2.FeatureType.Value(kind))
    return found


def write_examples(root: Path, rows: Sequence[Mapping[str, Any]], split: str = "train") -> list[bytes]:
    """Writes a split in two gzip files, and the schema; returns the serialized examples in order."""
    folder = root / f"Split-{split}"
    folder.mkdir(parents=True)
    records = [example(row) for row in rows]
    for part in range(2):
        path = str(folder / f"data-{part:05d}-of-00002.gz")
        with tf.io.TFRecordWriter(path, "GZIP") as out:
            for record in records[part * len(records) // 2 : (part + 1) * len(records) // 2]:
                out.write(record)
    (root / "schema").mkdir(exist_ok=True)
    (root / "schema" / "schema.pbtxt").write_text(text_format.MessageToString(schema()))
    return records


def run_transform(executor: type, root: Path, out: Path, config: JourneyTransformConfig = CONFIG) -> str:
    """Runs a Transform executor on the train split; returns the path of the Transform graph."""
    graph, examples, found = (
        standard_artifacts.TransformGraph(),
        standard_artifacts.Examples(),
        standard_artifacts.Schema(),
    )
    graph.uri, examples.uri, found.uri = str(out), str(root), str(root / "schema")
    examples.split_names = artifact_utils.encode_split_names(["train"])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    # The empty flag keeps TFX from packaging its own sources for remote workers, which takes seconds.
    context = executor.Context(
        tmp_dir=str(out.parent / f"{out.name}-tmp"),
        unique_id="1",
        beam_pipeline_args=["--extra_package=", "--direct_num_workers=1"],
    )
    executor(context).Do(
        {keys.EXAMPLES_KEY: [examples], keys.SCHEMA_KEY: [found]},
        {keys.TRANSFORM_GRAPH_KEY: [graph]},
        {
            keys.PREPROCESSING_FN_KEY: "modules.recommendation.preprocessing.preprocessing_fn",
            keys.CUSTOM_CONFIG_KEY: json_utils.dumps(config.to_custom_config()),
            keys.SPLITS_CONFIG_KEY: proto_utils.proto_to_json(transform_pb2.SplitsConfig(analyze=["train"])),
            keys.DISABLE_STATISTICS_KEY: 1,
        },
    )
    return graph.uri


@functools.cache
def raw_feature_spec() -> dict[str, Any]:
    types = {schema_pb2.BYTES: tf.string, schema_pb2.INT: tf.int64, schema_pb2.FLOAT: tf.float32}
    return {f.name: tf.io.VarLenFeature(types[f.type]) for f in schema().feature}


_transformed: list[tuple[str, tft.TFTransformOutput, list[Row]]] = []


def transformed(tmp_path_factory: Any) -> tuple[str, tft.TFTransformOutput, list[Row]]:
    """The Transform graph of 400 random decisions, learned once per process, and the decisions.

    The examples lie under `data` beside the graph.
    """
    from pipeline.components.transform_executor import Executor

    if not _transformed:
        root, rows = tmp_path_factory.mktemp("toy"), random_rows(400)
        write_examples(root / "data", rows)
        graph = run_transform(Executor, root / "data", root / "graph")
        _transformed.append((graph, tft.TFTransformOutput(graph), rows))
    return _transformed[0]
