"""JourneyExampleGen as a TFX component: the artifact, the driver's fingerprint, the run on Beam."""

import json
from pathlib import Path

import pytest
from tfx.components.util import tfxio_utils
from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from modules.dataset import SPLITS
from modules.errors import ConfigError, DataError
from modules.journeys.report import read_report
from pipeline.components.example_gen.settings import Settings
from pipeline.components.journey_example_gen.component import JourneyExampleGen
from pipeline.components.journey_example_gen.executor import Executor
from tests.modules.journeys.journey_runs import LEAD_FEATURES, ingest, journey_dataset, records, write_table


def make_tables(folder: Path, leads: int = 60):
    rows = [
        {"lead": f"lead {i}", "time": f"2024-03-{1 + i // 3:02d}T10:00:{k:02d}Z", "action": f"action {(i + k) % 3}",
         "reply": "yes", "minutes": k}
        for i in range(leads) for k in range(i % 5 + 1)
    ]  # fmt: skip
    table = [{"id": f"lead {i}", "created": "2024-02-01", "budget": i, "source": "web", "converted": i % 2}
             for i in range(leads)]  # fmt: skip
    return journey_dataset(
        write_table(folder / "events.csv", rows), features=LEAD_FEATURES, outcome={"column": "converted"},
        leads={"files": [str(write_table(folder / "leads.csv", table))], "id": "id", "created": "created"},
    )  # fmt: skip


def execute(folder: Path, dataset, validation_split: float = 0.25) -> standard_artifacts.Examples:
    """Runs the executor as the launcher does."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder / "examples" / "7")
    context = Executor.Context(beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="7")
    settings = Settings(dataset, validation_split)
    properties = {"custom_config": proto_utils.proto_to_json(settings.pack())}
    Executor(context).Do({}, {"examples": [artifact]}, properties)
    return artifact


def test_the_artifact_is_what_stock_components_read(tmp_path):
    artifact = execute(tmp_path, make_tables(tmp_path))
    assert artifact.split_names == json.dumps(list(SPLITS))
    assert sorted(p.name for p in Path(artifact.uri).iterdir()) == sorted(
        ["Split-train", "Split-validation", "Split-calibration", "Split-test", "ingest_report.json", "quarantine.jsonl"]
    )
    report = read_report(artifact.uri)
    assert report.kept == report.events == 180 == artifact.get_int_custom_property("rows")
    assert report.leads == report.journeys == 60
    assert sum(count.converted for count in report.splits.values()) == 30
    assert artifact.get_string_custom_property("dataset_version") == report.dataset_version
    assert artifact.get_int_custom_property("span") == 0
    artifact.id = 1
    seen = 0
    for split in SPLITS:
        tfxio = tfxio_utils.get_split_tfxio([artifact], split, ["test"])
        assert tfxio is not None
        seen += len(records(Path(artifact.uri), split))
        assert report.splits[split].rows == len(records(Path(artifact.uri), split))
    assert seen == 180


def test_beam_writes_what_the_functions_write(tmp_path, monkeypatch):
    dataset = make_tables(tmp_path)
    monkeypatch.setattr("modules.journeys.tables.PARTITION_BYTES", 2000)
    artifact = execute(tmp_path, dataset)
    assert len(list((Path(artifact.uri) / "Split-train").iterdir())) > 1
    ingest(dataset, tmp_path / "out")
    for split in SPLITS:
        assert sorted(records(Path(artifact.uri), split)) == sorted(records(tmp_path / "out", split))


def test_a_run_that_stops_leaves_no_examples_behind(tmp_path):
    dataset = make_tables(tmp_path)
    with open(dataset.events.files[0], "a", encoding="utf-8") as file:
        file.write("lead 1,some day,call,yes,1\n" * 30)
    with pytest.raises(DataError, match="30 of 210 rows cannot be used"):
        execute(tmp_path, dataset)
    assert list((tmp_path / "examples" / "7").iterdir()) == []
    assert len((tmp_path / "quarantine" / "7.jsonl").read_text().splitlines()) == 30


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_outside_its_range_is_refused(tmp_path, share):
    with pytest.raises(ConfigError, match="validation_split must be at least 0 and less than 1"):
        JourneyExampleGen(make_tables(tmp_path), share)


def test_the_component_compiles_with_its_own_driver(tmp_path):
    component = JourneyExampleGen(make_tables(tmp_path), 0.2, span=None, fingerprint="abc")
    made = pipeline.Pipeline("p", str(tmp_path / "root"), components=[component])
    text = str(compiler.Compiler().compile(made))
    assert "pipeline.components.journey_example_gen.driver.JourneyDriver" in text
    assert "pipeline.components.journey_example_gen.executor.Executor" in text


def test_a_change_of_either_table_is_another_version(tmp_path):
    def run() -> dict[str, int]:
        component = JourneyExampleGen(make_dataset, 0.2)
        made = pipeline.Pipeline(
            "p", str(tmp_path / "root"), components=[component], enable_cache=True,
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(tmp_path / "m.db")),
        )  # fmt: skip
        LocalDagRunner().run(made)
        folder = tmp_path / "root" / "JourneyExampleGen" / "examples"
        return {read_report(str(p)).dataset_version: read_report(str(p)).kept for p in folder.iterdir()}

    make_dataset = make_tables(tmp_path)
    assert len(run()) == 1
    assert len(run()) == 1
    leads = Path(make_dataset.leads.files[0])
    leads.write_text(leads.read_text().replace("web", "mail"))
    assert sorted(run().values()) == [180, 180]
