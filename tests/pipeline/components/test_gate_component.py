"""DataGate behind real StatisticsGen and ExampleValidator, with its baseline resolver, run by LocalDagRunner."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.components import ExampleValidator, StatisticsGen
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.standard_artifacts import ExampleAnomalies, Examples, ExampleStatistics, Schema
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from modules.dataset import SPLITS, Dataset, Label
from modules.errors import GateClosed
from modules.features import Feature, Kind
from modules.schema import curate_schema
from pipeline.components.gate import DataGate
from pipeline.components.resolvers import LatestAcceptedStatistics

DATASET = Dataset(
    name="leads",
    files=("leads.csv",),
    id="lead_id",
    label=Label(column="converted"),
    features=(
        Feature(name="age", kind=Kind.NUMERIC, min=18, max=110, max_missing=0.1),
        Feature(name="state", kind=Kind.CATEGORICAL, open_vocabulary=True),
    ),
)


@component
def Ingest(examples: OutputArtifact[Examples], mean_age: Parameter[float], seed: Parameter[int]) -> None:
    examples.split_names = artifact_utils.encode_split_names(list(SPLITS))
    examples.span = seed
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    r = np.random.default_rng(seed)
    for split in SPLITS:
        rows = 400
        columns = {
            "age": pa.array([[a] for a in r.normal(mean_age, 8, rows).clip(18, 110)], pa.large_list(pa.float32())),
            "state": pa.array([[s] for s in r.choice([b"CA", b"NY"], rows)], pa.large_list(pa.large_binary())),
            "converted": pa.array([[c] for c in r.integers(0, 2, rows)], pa.large_list(pa.int64())),
            "lead_id": pa.array([[b"%d-%d" % (seed, i)] for i in range(rows)], pa.large_list(pa.large_binary())),
        }
        batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
        folder = Path(examples.uri) / f"Split-{split}"
        folder.mkdir()
        with tf.io.TFRecordWriter(str(folder / "data-0.gz"), "GZIP") as writer:
            for record in RecordBatchToExamplesEncoder().encode(batch):
                writer.write(record)


@component
def ImportSchema(schema: OutputArtifact[Schema], text: Parameter[str]) -> None:
    Path(schema.uri, "schema.pbtxt").write_text(text)


@component
def Train(examples: InputArtifact[Examples], model: OutputArtifact[standard_artifacts.Model]) -> None:
    Path(model.uri, "model").write_text("x")


def run(folder: Path, mean_age: float, seed: int) -> None:
    ingest = Ingest(mean_age=mean_age, seed=seed)
    schema = ImportSchema(text=text_format.MessageToString(curate_schema(schema_pb2.Schema(), DATASET)))
    statistics = StatisticsGen(examples=ingest.outputs["examples"])
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    accepted = Resolver(
        strategy_class=LatestAcceptedStatistics,
        statistics=statistics.outputs["statistics"],
        baseline_statistics=types.Channel(type=ExampleStatistics),
        gate_report=types.Channel(type=ExampleAnomalies),
    ).with_id("accepted_statistics")
    gate = DataGate(
        anomalies=validator.outputs["anomalies"],
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        dataset=DATASET,
        baseline_statistics=accepted.outputs["baseline_statistics"],
    )
    train = Train(examples=ingest.outputs["examples"])
    train.add_upstream_node(gate)
    LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="gated",
            pipeline_root=str(folder / "root"),
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite")),
            components=[ingest, schema, statistics, validator, accepted, gate, train],
            enable_cache=True,
            beam_pipeline_args=["--direct_running_mode=in_memory", "--direct_num_workers=1"],
        )
    )


def reports(folder: Path) -> list[dict]:
    found = sorted((folder / "root").glob("DataGate/gate_report/*/report.json"), key=lambda p: int(p.parent.name))
    return [json.loads(p.read_text()) for p in found]


@pytest.mark.slow
def test_the_gate_opens_then_measures_drift_and_closes_before_training(tmp_path: Path) -> None:
    run(tmp_path, 45.0, 1)
    run(tmp_path, 45.0, 1)
    (first,) = reports(tmp_path)
    assert first["opened"] and first["against"] is None and first["drift"] == []
    assert first["rows"] == dict.fromkeys(SPLITS, 400)
    assert {d["column"] for d in first["skew"]} == {"age", "state"}

    with pytest.raises(GateClosed) as closed:
        run(tmp_path, 75.0, 2)
    (line,) = closed.value.details
    assert line == "age: drift 0.89 (Jensen-Shannon) above 0.10 against span 1: mean 44.34 before, 74.79 now"
    assert len(list((tmp_path / "root" / "Train" / "model").iterdir())) == 1, "nothing was trained on drifted data"

    run(tmp_path, 46.0, 3)
    last = reports(tmp_path)[-1]
    assert last["opened"] and {d["column"]: d["value"] for d in last["drift"]}["age"] < 0.05
    assert len(list((tmp_path / "root" / "Train" / "model").iterdir())) == 2
