"""The DAG is a pure function of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import PROJECT, load_run

DEFAULT = [
    "ColumnarExampleGen",
    "StatisticsGen",
    "CuratedSchemaSource",
    "ExampleValidator",
    "AcceptedStatisticsResolver",
    "DataGate",
    "Transform",
    "Trainer",
    "LatestBlessedModelResolver",
    "Evaluator",
    "Importance",
    "InfraCheck",
    "Pusher",
]


def nodes(root: Path, **overrides: Any) -> list[str]:
    from pipeline.pipeline import create_pipeline

    settings = {key.replace("__", "."): value for key, value in overrides.items()}
    run = load_run(PROJECT / "configs" / "lead_scoring.yaml", root=root, overrides=settings)
    return [component.id for component in create_pipeline(run, "0123456789abcdef").components]


def test_the_default_pipeline_has_the_canonical_components_in_order(tmp_path: Path) -> None:
    found = nodes(tmp_path)
    assert sorted(found) == sorted(DEFAULT)
    # TFX sorts by dependence; what reads nothing (resolvers, the curated schema) may stand anywhere before its reader.
    free = ("CuratedSchemaSource", "AcceptedStatisticsResolver", "LatestBlessedModelResolver")
    assert [n for n in found if n not in free] == [n for n in DEFAULT if n not in free]


def test_without_a_curated_schema_it_is_inferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pipeline.config as config

    monkeypatch.setattr(config, "schema_files", lambda _: ())
    assert set(nodes(tmp_path)) == {"SchemaGen" if n == "CuratedSchemaSource" else n for n in DEFAULT}


@pytest.mark.parametrize(
    ("setting", "value", "gone", "added"),
    [
        ("infra__kind", "off", "InfraCheck", None),
        ("infra__kind", "docker", "InfraCheck", "InfraValidator"),
        ("gate__drift", "off", "AcceptedStatisticsResolver", None),
        ("model__warm_start", True, None, "WarmStartResolver"),
        ("importance", None, "Importance", None),
        ("tuning", {"trials": 3}, None, "Tuner"),
        ("validation__folds", 3, None, "CrossValidation"),
    ],
)
def test_a_setting_adds_or_removes_a_component(
    tmp_path: Path, setting: str, value: Any, gone: str | None, added: str | None
) -> None:
    found = set(nodes(tmp_path, **{setting: value}))
    expected = set(DEFAULT) - {gone} | ({added} if added else set())
    assert found == expected


def test_runners_are_beam_options(tmp_path: Path) -> None:
    for name, option in (("flink", "--runner=FlinkRunner"), ("dataflow", "--runner=DataflowRunner")):
        run = load_run(PROJECT / "configs" / "lead_scoring.yaml", root=tmp_path, overrides={"runner": name})
        assert option in run.runner.beam_args()


def test_every_beam_job_ships_the_project(tmp_path: Path) -> None:
    run = load_run(PROJECT / "configs" / "lead_scoring.yaml", root=tmp_path)
    (shipped,) = [a for a in run.runner.beam_args() if a.startswith("--setup_file=")]
    assert Path(shipped.split("=", 1)[1]) == PROJECT / "setup.py"
