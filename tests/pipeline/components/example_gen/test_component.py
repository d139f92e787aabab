import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx.components.util import tfxio_utils
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from modules.dataset import SPLITS, Dataset
from modules.errors import ConfigError, DataError
from modules.ingest import units
from modules.ingest.report import read_report
from pipeline.components.example_gen.component import ColumnarExampleGen
from pipeline.components.example_gen.executor import Executor
from pipeline.components.example_gen.settings import Settings
from tests.modules.ingest.tables import make_dataset, many_rows, write_rows


def execute(folder: Path, dataset, validation_split: float = 0.25) -> standard_artifacts.Examples:
    """Runs the executor as the launcher does."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder / "examples" / "7")
    context = Executor.Context(beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="7")
    settings = Settings(dataset, validation_split)
    properties = {"custom_config": proto_utils.proto_to_json(settings.pack())}
    Executor(context).Do({}, {"examples": [artifact]}, properties)
    return artifact


def examples_of(root: str, split: str) -> list[dict]:
    """The examples of a split as dicts, in the order of the files; missing features left out."""
    found = []
    files = sorted(str(p) for p in (Path(root) / f"Split-{split}").iterdir())
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        values = {k: list(getattr(v, v.WhichOneof("kind")).value) for k, v in features.items() if v.WhichOneof("kind")}
        found.append({k: v[0] for k, v in values.items() if v})
    return found


def test_every_row_of_csv_gzip_and_parquet_becomes_the_same_example(tmp_path):
    rows = many_rows(3000)
    rows[1][1], rows[2][2] = "", ""
    plain = write_rows(tmp_path / "t.csv", rows)
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "t.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=700)
    expected = {
        row[0].encode(): {
            "id": row[0].encode(),
            "label": int(row[3]),
            **({"age": float(row[1])} if row[1] else {}),
            **({"job": row[2].encode()} if row[2] else {}),
        }
        for row in rows[1:]
    }
    parts = []
    for name, kind in (("t.csv", "csv"), ("z/t.csv.gz", "csv"), ("t.parquet", "parquet")):
        artifact = execute(tmp_path / f"out-{kind}-{len(parts)}", make_dataset(tmp_path / name, format=kind))
        found = {split: examples_of(artifact.uri, split) for split in SPLITS}
        assert {e["id"]: e for examples in found.values() for e in examples} == expected
        parts.append({split: sorted(e["id"] for e in examples) for split, examples in found.items()})
    assert parts[0] == parts[1] == parts[2]


def test_the_artifact_is_what_stock_components_read(tmp_path):
    artifact = execute(tmp_path, make_dataset(write_rows(tmp_path / "t.csv", many_rows(1000))))
    assert artifact.split_names == '["train","validation","calibration","test"]'.replace(",", ", ")
    assert sorted(p.name for p in Path(artifact.uri).iterdir()) == sorted(
        ["Split-train", "Split-validation", "Split-calibration", "Split-test", "ingest_report.json", "quarantine.jsonl"]
    )
    assert [p.name for p in (Path(artifact.uri) / "Split-test").iterdir()] == ["data_tfrecord-00000-of-00001.gz"]
    artifact.id = 1
    for split in SPLITS:
        tfxio = tfxio_utils.get_split_tfxio([artifact], split, ["test"])
        assert tfxio is not None
    report = read_report(artifact.uri)
    assert report.rows == 1000 == report.kept
    assert artifact.get_int_custom_property("rows") == 1000
    assert artifact.get_string_custom_property("dataset_version") == report.dataset_version
    assert {name: (c.rows, c.positives) for name, c in report.splits.items()} == {
        name: (len(e), sum(x["label"] for x in e)) for name, e in ((s, examples_of(artifact.uri, s)) for s in SPLITS)
    }


def test_units_and_shards_change_nothing(tmp_path, monkeypatch):
    path = write_rows(tmp_path / "t.csv", many_rows(2000))
    split = {"method": "order", "inner": "same"}
    whole = execute(tmp_path / "a", make_dataset(path, split=split))
    monkeypatch.setattr(units, "BLOCKS_PER_UNIT", 2)
    monkeypatch.setattr("modules.ingest.work.BLOCKS_PER_UNIT", 2)
    original = units.plan_units
    monkeypatch.setattr(
        "modules.ingest.work.plan_units", lambda dataset, file, layout: original(dataset, file, layout, 3000)
    )
    pieces = execute(tmp_path / "b", make_dataset(path, split=split))
    assert len(list((Path(pieces.uri) / "Split-train").iterdir())) > 2
    for name in SPLITS:
        assert examples_of(pieces.uri, name) == examples_of(whole.uri, name)


def test_an_empty_split_still_has_a_readable_file(tmp_path):
    dataset = make_dataset(write_rows(tmp_path / "t.csv", many_rows(200)), split={"calibration": 0})
    artifact = execute(tmp_path, dataset)
    assert examples_of(artifact.uri, "calibration") == []


def test_few_bad_rows_are_quarantined_and_reported(tmp_path):
    rows = many_rows(500)
    rows[3][1] = "old"
    rows[9] = ["too", "short"]
    dataset = make_dataset(write_rows(tmp_path / "t.csv", rows), max_bad_rows=0.01)
    artifact = execute(tmp_path, dataset)
    report = read_report(artifact.uri)
    assert report.rows == 500 and report.kept == 498
    assert report.quarantined == {"not a number": 1, "wrong number of fields": 1}
    lines = (Path(artifact.uri) / "quarantine.jsonl").read_text().splitlines()
    assert [(json.loads(line)["line"], json.loads(line)["reason"]) for line in lines] == [
        (4, "not a number"), (10, "wrong number of fields"),
    ]  # fmt: skip


def test_too_many_bad_rows_stop_the_run_and_the_quarantine_file_stays(tmp_path):
    rows = many_rows(500)
    rows[3][1] = "old"
    with pytest.raises(DataError, match=r"1 of 500 rows cannot be used \(0.20%\)") as caught:
        execute(tmp_path, make_dataset(write_rows(tmp_path / "t.csv", rows)))
    assert caught.value.details[0] == "1 rows: not a number"
    assert caught.value.details[1].endswith("t.csv:4: age is 'old', expected a number")
    kept = tmp_path / "quarantine" / "7.jsonl"
    assert str(kept) in caught.value.details[2]
    assert json.loads(kept.read_text())["fields"]["age"] == "old"


def test_what_cannot_be_trained_on_is_refused(tmp_path):
    cases = [
        (many_rows(0), {}, "has no rows, only a header"),
        ([*many_rows(0), *([f"{i}", "1", "x", "1"] for i in range(50))], {}, "has one class only: all 50 rows are pos"),
        (many_rows(50), {"label": {"column": "label", "positive": ["no"], "negative": ["0", "1"]}}, "are negative"),
    ]
    for i, (rows, changes, message) in enumerate(cases):
        path = write_rows(tmp_path / f"{i}.csv", rows)
        with pytest.raises(DataError, match=message):
            execute(tmp_path / str(i), make_dataset(path, **changes))


def test_personal_data_never_reaches_the_artifact(tmp_path, monkeypatch):
    monkeypatch.setenv("AIQLEADS_HASH_KEY", "a key of sixteen bytes or more")
    rows = many_rows(300)
    mails = ["mail", *(f"person{i}@example.org" for i in range(300))]
    rows = [[*row, mail, mail] for row, mail in zip(rows, mails, strict=True)]
    rows[0][-1] = "second"
    rows[5][1] = "x"
    dataset = make_dataset(
        write_rows(tmp_path / "t.csv", rows),
        id="mail",
        max_bad_rows=0.1,
        personal_data=[{"column": "mail", "action": "hash"}, {"column": "second", "action": "drop"}],
    )
    artifact = execute(tmp_path, dataset)
    example = examples_of(artifact.uri, "train")[0]
    assert set(example) == {"mail", "age", "job", "label"} and len(example["mail"]) == 32
    for path in Path(artifact.uri).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"example.org" not in (gzip.decompress(data) if path.suffix == ".gz" else data)


def run_pipeline(root: Path, dataset) -> int:
    """Runs a pipeline of ColumnarExampleGen alone; returns how many executions were not cached so far."""
    config = metadata.sqlite_metadata_connection_config(str(root / "metadata.db"))
    component = ColumnarExampleGen(dataset, 0.2)
    LocalDagRunner().run(
        pipeline.Pipeline("leads", str(root / "root"), components=[component], enable_cache=True,
                          metadata_connection_config=config)
    )  # fmt: skip
    return len(list((root / "root" / "ColumnarExampleGen" / "examples").glob("*/ingest_report.json")))


def test_the_cache_knows_contents_and_settings(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_rows(tmp_path / "a" / "t.csv", many_rows(300))
    write_rows(tmp_path / "b" / "u.csv", many_rows(400)[:1] + many_rows(400)[301:])
    monkeypatch.chdir(tmp_path)
    dataset = make_dataset("a/*.csv", tmp_path / "b" / "u.csv")
    assert run_pipeline(tmp_path, dataset) == 1
    (tmp_path / "a" / "t.csv").touch()
    assert run_pipeline(tmp_path, dataset) == 1
    write_rows(tmp_path / "a" / "t.csv", many_rows(299))
    assert run_pipeline(tmp_path, dataset) == 2
    assert run_pipeline(tmp_path, dataset.model_copy(update={"max_bad_rows": 0.5})) == 3


def test_a_missing_file_stops_the_pipeline_with_its_name(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*absent\.csv"):
        run_pipeline(tmp_path, make_dataset(tmp_path / "absent.csv"))


def test_the_component_compiles_with_its_driver(tmp_path):
    component = ColumnarExampleGen(make_dataset(tmp_path / "t.csv"), 0.2, span=3, last_spans=2)
    made = pipeline.Pipeline("leads", str(tmp_path), components=[component])
    text = str(compiler.Compiler().compile(made))
    assert "pipeline.components.example_gen.driver.ColumnarDriver" in text
    settings = Settings.unpack(component.exec_properties, Dataset)
    assert (settings.span, settings.last_spans, settings.validation_split) == (3, 2, 0.2)


def test_the_validation_split_is_a_share(tmp_path):
    with pytest.raises(ConfigError, match=r"at least 0 and less than 1, received 1\.5"):
        ColumnarExampleGen(make_dataset(tmp_path / "t.csv"), 1.5)
