"""Batch prediction, from files to files, with the model that the pipeline pushed."""

import csv
import gzip
import json
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from modules.native.protos import predict_pb2, prediction_service_pb2_grpc
from tests.pipeline.command import CONFIG, Done, PushedRun, aiqleads
from tests.serving.running import serve

OUTPUTS = ("score", "probability", "probability_low", "probability_high", "confidence")
COLUMNS = ["lead_id", *OUTPUTS, "model", "version"]
ROWS = 500
USER_ERROR, NOT_BLESSED = 4, 2


def predict(root: Path, inputs: Sequence[Path | str], output: Path, *options: str) -> Done:
    given = [part for path in inputs for part in ("--input", str(path))]
    return aiqleads("predict", CONFIG, "--root", str(root), *given, "--output", str(output), *options)


def read(path: Path) -> dict[str, list[str]]:
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)) if rows else {c: [] for c in header}


def values(path: Path) -> np.ndarray:
    """The outputs of a Parquet file of predictions, float32 [rows, 5]."""
    return np.stack([pq.read_table(path)[name].to_numpy() for name in OUTPUTS], axis=1)


@pytest.fixture(scope="module")
def version(pushed: PushedRun) -> int:
    (folder,) = (p for p in (pushed.root / "serving" / "lead-scoring").iterdir() if p.name.isdecimal())
    return int(folder.name)


@pytest.fixture(scope="module")
def new_leads(pushed: PushedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 leads without label, without time and without the columns about persons."""
    with open(pushed.leads, newline="") as file:
        header, *rows = csv.reader(file)
    keep = [i for i, name in enumerate(header) if name not in ("converted", "created_at", "name", "email", "phone")]
    path = tmp_path_factory.mktemp("new") / "leads.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([row[i] for i in keep] for row in [header, *rows[:ROWS]])
    return path


@pytest.fixture(scope="module")
def predicted(pushed: PushedRun, new_leads: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """Predictions of the new leads, with what the command said."""
    output = tmp_path_factory.mktemp("predicted") / "out"
    done = predict(pushed.root, [new_leads], output)
    assert done.code == 0, done.output
    return output, done


def test_both_files_hold_every_lead_in_order_with_who_answered(predicted, new_leads, version):
    output, done = predicted
    table = pq.read_table(output / "leads.parquet")
    text = read(output / "leads.csv")
    ids = read(new_leads)["lead_id"]
    assert table.column_names == list(text) == COLUMNS
    assert table["lead_id"].to_pylist() == text["lead_id"] == ids
    assert set(table["model"].to_pylist()) == {"lead-scoring"}
    assert set(text["version"]) == {str(version)}
    for name in OUTPUTS:
        np.testing.assert_array_equal(table[name].to_numpy(), np.array(text[name], np.float32))
    assert sorted(p.name for p in output.iterdir()) == ["leads.csv", "leads.parquet", "predictions.json"]
    assert f"{ROWS} leads" in done.output
    assert str(version) in done.output


def test_the_report_counts_what_the_files_hold(predicted, new_leads, version):
    output, done = predicted
    report = json.loads((output / "predictions.json").read_text())
    found = values(output / "leads.parquet")
    assert (report["model"], report["version"]) == ("lead-scoring", version)
    assert report["counts"]["predicted"] == report["counts"]["records"] == ROWS
    assert report["counts"]["tenths"] == np.histogram(found[:, 0], np.arange(0, 101, 10))[0].tolist()
    assert report["mean_probability"] == pytest.approx(found[:, 1].mean(), rel=1e-6)
    assert report["files"][0]["input"] == str(new_leads)
    assert report["files"][0]["outputs"] == ["leads.parquet", "leads.csv"]
    assert 0 < report["model_s"] < report["seconds"]
    assert f"{report['mean_probability']:.1%}" in done.output


def examples(path: Path) -> list[bytes]:
    """The leads of a file as serialized tf.Examples, missing values left out."""
    from modules.ingest.read import read_columns
    from modules.ingest.wire import framed_examples
    from pipeline.config import load_dataset

    dataset = load_dataset("aiqleads", {"files": [str(path)]})
    records = []
    for block in read_columns(dataset):
        framed, offsets = framed_examples(block.batch().select(list(dataset.table.names)))
        ends = offsets.tolist()
        records += [bytes(framed[a + 12 : b - 4]) for a, b in pairwise(ends)]
    return records


def test_the_server_answers_the_same(pushed, predicted, new_leads):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "lead-scoring"
    request.inputs["examples"].dtype = 7
    request.inputs["examples"].tensor_shape.dim.add(size=ROWS)
    request.inputs["examples"].string_val.extend(examples(new_leads))
    base = pushed.root / "serving" / "lead-scoring"
    with (
        serve("--model_name=lead-scoring", f"--model_base_path={base}", "--rest_api_port=0") as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=30)
    served = np.stack([np.array(answer.outputs[name].float_val, np.float32) for name in OUTPUTS], axis=1)
    np.testing.assert_allclose(values(predicted[0] / "leads.parquet"), served, rtol=0, atol=1e-5)


def test_the_native_booster_answers_the_same(pushed, predicted, new_leads, version):
    import tensorflow as tf
    import tensorflow_transform as tft
    import xgboost as xgb

    from modules.lead_scoring.calibration import Calibration
    from modules.lead_scoring.manifest import Manifest
    from modules.transform_batches import parse_raw
    from pipeline.config import load_dataset

    (graph,) = (pushed.root / "artifacts" / "lead-scoring" / "Transform" / "transform_graph").iterdir()
    transform = tft.TFTransformOutput(str(graph))
    model = pushed.root / "serving" / "lead-scoring" / str(version)
    spec = {name: transform.raw_feature_spec()[name] for name in load_dataset("aiqleads").table.names}
    raw = parse_raw(tf.constant(examples(new_leads)), spec)
    matrix = transform.transform_features_layer()(raw)["features"].numpy()
    matrix = matrix[:, [column.position for column in Manifest.load(model).columns]]
    booster = xgb.Booster(model_file=str(model / "assets.extra" / "booster.ubj"))
    margins = booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
    native = Calibration.from_json((model / "assets.extra" / "calibration.json").read_text())(margins)
    found = values(predicted[0] / "leads.parquet")
    for i, name in enumerate(OUTPUTS):
        # The score is in percent.
        np.testing.assert_allclose(found[:, i], native[name], rtol=1e-5, atol=1e-5)


def test_csv_gzip_and_parquet_of_several_folders_give_the_same_predictions(pushed, predicted, new_leads, tmp_path):
    for folder in ("north", "south"):
        (tmp_path / folder).mkdir()
    with gzip.open(tmp_path / "north" / "leads.csv.gz", "wb") as file:
        file.write(new_leads.read_bytes())
    text = dict.fromkeys(["lead_id", "zip"], pa.string())
    table = pacsv.read_csv(new_leads, convert_options=pacsv.ConvertOptions(column_types=text))
    pq.write_table(table, tmp_path / "south" / "leads.parquet", row_group_size=200)
    shutil.copy(new_leads, tmp_path / "other.csv")
    done = predict(
        pushed.root, [tmp_path / "*th" / "leads.*", tmp_path / "other.csv"], tmp_path / "out", "--format", "parquet"
    )
    assert done.code == 0, done.output
    expected = pq.read_table(predicted[0] / "leads.parquet")
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.parquet"))
    assert written == ["north/leads.parquet", "other.parquet", "south/leads.parquet"]
    for name in written:
        table = pq.read_table(tmp_path / "out" / name)
        assert table["lead_id"].equals(expected["lead_id"])
        np.testing.assert_allclose(
            values(tmp_path / "out" / name), values(predicted[0] / "leads.parquet"), rtol=0, atol=1e-5
        )
    assert not list((tmp_path / "out").rglob("*.csv"))


@pytest.mark.slow
def test_two_worker_processes_write_the_same_bytes_in_the_order_of_the_rows(pushed, tmp_path):
    """Small blocks, so that the workers share the files."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from modules.prediction import inputs, transform, versions
    from pipeline.config import load_run

    run = load_run(CONFIG, root=pushed.root)
    model = versions.find_version("lead-scoring", run.serving_dir)
    files = inputs.find_inputs(run.dataset, [str(pushed.leads)])
    written = {}
    for workers, mode in ((1, "in_memory"), (2, "multi_processing")):
        staging = tmp_path / mode
        staging.mkdir()
        job = transform.Job(
            files, model, versions.read_signature(model), ("parquet", "csv"), staging, threads=3, block_bytes=40_000
        )
        options = {**run.runner.beam, "direct_num_workers": workers, "direct_running_mode": mode}
        arguments = run.runner.model_copy(update={"beam": options}).beam_args()
        with beam.Pipeline(options=PipelineOptions(arguments)) as pipeline:
            transform.build(pipeline, job)
        (result,) = transform.results(job)
        assert result.error is None
        units = {p.name.split("-")[1] for p in staging.glob("*.arrow")}
        assert len(units) > 3, "expected several units of work"
        written[mode] = [job.joined(0, suffix).read_bytes() for suffix in ("parquet", "csv")]
    assert written["in_memory"] == written["multi_processing"]
    (tmp_path / "joined.csv").write_bytes(written["in_memory"][1])
    assert read(tmp_path / "joined.csv")["lead_id"] == read(pushed.leads)["lead_id"]


# --- odd inputs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_no_leads_give_empty_files(pushed, new_leads, tmp_path, kind):
    header = new_leads.read_text().splitlines()[0]
    table = tmp_path / f"leads.{kind}"
    if kind == "csv":
        table.write_text(header + "\n")
    else:
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in header.split(",")}), table)
    done = predict(pushed.root, [table], tmp_path / "out")
    assert done.code == 0, done.output
    assert (tmp_path / "out" / "leads.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert pq.read_table(tmp_path / "out" / "leads.parquet").column_names == COLUMNS
    assert "0 leads" in done.output


def test_a_row_that_cannot_be_used_is_left_out_and_named(pushed, predicted, new_leads, tmp_path):
    header, *rows = list(csv.reader(new_leads.read_text().splitlines()))
    rows[3][header.index("visits")] = "many"
    rows[7] = rows[7][:-2]
    table = tmp_path / "leads.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    done = predict(pushed.root, [table], tmp_path / "out")
    assert done.code == USER_ERROR, done.output
    assert "max_bad_rows" in done.output
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["quarantine.jsonl"]

    done = predict(pushed.root, [table], tmp_path / "out", "--set", "dataset.max_bad_rows=0.01")
    assert done.code == 0, done.output
    assert "2 rows have no prediction" in done.output
    ids = [row[0] for i, row in enumerate(rows) if i not in (3, 7)]
    assert read(tmp_path / "out" / "leads.csv")["lead_id"] == ids
    bad = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [(b["line"], b["reason"]) for b in bad] == [(5, "not a number"), (9, "wrong number of fields")]
    assert bad[0]["fields"]["visits"] == "many"
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert report["quarantine"] == "quarantine.jsonl"
    assert report["counts"]["quarantined"] == {"not a number": 1, "wrong number of fields": 1}
    kept = np.delete(np.arange(ROWS), [3, 7])
    np.testing.assert_allclose(
        values(tmp_path / "out" / "leads.parquet"), values(predicted[0] / "leads.parquet")[kept], rtol=0, atol=1e-5
    )


def test_a_missing_feature_column_is_named(pushed, new_leads, tmp_path):
    table = tmp_path / "leads.csv"
    table.write_text(new_leads.read_text().replace("mortgage_rate", "mortgage_rates", 1))
    done = predict(pushed.root, [table], tmp_path / "out")
    assert done.code == USER_ERROR
    assert "'mortgage_rate'" in done.output
    assert "'mortgage_rates'" in done.output
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_is_named_and_nothing_is_written(pushed, new_leads, tmp_path):
    (tmp_path / "leads.csv.gz").write_bytes(gzip.compress(new_leads.read_bytes())[:-20])
    done = predict(pushed.root, [new_leads, tmp_path / "leads.csv.gz"], tmp_path / "out")
    assert done.code == USER_ERROR, done.output
    assert "leads.csv.gz" in done.output
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_is_not_there_is_named(pushed, tmp_path):
    done = predict(pushed.root, [tmp_path / "leads.csv"], tmp_path / "out")
    assert done.code == USER_ERROR
    assert "leads.csv" in done.output


# --- models and output folders -----------------------------------------------------------------------------------


def test_an_unknown_version_lists_those_there_are(pushed, new_leads, version, tmp_path):
    done = predict(pushed.root, [new_leads], tmp_path / "out", "--version", "7")
    assert done.code == USER_ERROR
    assert str(version) in done.output


def test_without_a_published_model_it_says_what_to_do(new_leads, tmp_path):
    done = predict(tmp_path / "root", [new_leads], tmp_path / "out")
    assert done.code == NOT_BLESSED
    assert "aiqleads run" in done.output


def test_a_model_of_other_features_is_refused(pushed, new_leads, tmp_path):
    dataset = tmp_path / "aiqleads.yaml"
    dataset.write_text(
        f"name: aiqleads\nfiles: ['{new_leads}']\nid: lead_id\nlabel: {{column: converted}}\n"
        "features:\n  - {name: age, kind: categorical}\n"
    )
    done = predict(pushed.root, [new_leads], tmp_path / "out", "--dataset", str(dataset))
    assert done.code == USER_ERROR
    assert "age: the model takes DT_FLOAT, the dataset says categorical" in done.output
    assert "visits: the model takes it, the dataset has no such feature" in done.output


def test_a_model_that_cannot_be_loaded_is_reported_without_a_traceback(pushed, new_leads, version, tmp_path):
    model = shutil.copytree(pushed.root / "serving" / "lead-scoring" / str(version), tmp_path / "1")
    shutil.rmtree(model / "assets")
    done = predict(pushed.root, [new_leads], tmp_path / "out", "--model-dir", str(model))
    assert done.code == USER_ERROR, done.output
    assert "cannot be loaded" in done.output
    assert "Traceback" not in done.output
    assert not list((tmp_path / "out").iterdir())


def test_an_earlier_result_is_replaced_only_when_asked_and_other_files_stay(pushed, new_leads, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    done = predict(pushed.root, [new_leads], output)
    assert done.code == USER_ERROR
    assert "notes.txt" in done.output
    assert predict(pushed.root, [new_leads], output, "--overwrite").code == 0
    second = shutil.copy(new_leads, tmp_path / "second.csv")
    assert predict(pushed.root, [second], output, "--overwrite", "--format", "csv").code == 0
    assert sorted(p.name for p in output.iterdir()) == ["notes.txt", "predictions.json", "second.csv"]


def test_predictions_never_replace_their_input(pushed, new_leads, tmp_path):
    table = Path(shutil.copy(new_leads, tmp_path / "leads.csv"))
    done = predict(pushed.root, [table], tmp_path, "--overwrite")
    assert done.code == USER_ERROR
    assert table.read_bytes() == new_leads.read_bytes()
