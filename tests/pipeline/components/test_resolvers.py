"""Resolver strategies in real pipelines: LocalDagRunner, MLMD in SQLite, TFX's own caching."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.types.standard_artifacts import (
    ExampleAnomalies,
    Examples,
    ExampleStatistics,
    InfraBlessing,
    Model,
    ModelBlessing,
)

from pipeline.components.resolvers import LatestAcceptedStatistics, LatestBlessedBefore, blessing_channels


@component
def Ingest(examples: OutputArtifact[Examples], data: Parameter[str]) -> None:
    (Path(examples.uri) / "data").write_text(data)


@component
def Train(
    examples: InputArtifact[Examples],
    model: OutputArtifact[Model],
    data: Parameter[str],
    base_model: InputArtifact[Model] = None,
) -> None:
    Path(model.uri, "data").write_text(data)
    model.set_string_custom_property("base", str(base_model.id) if base_model else "none")


@component
def Evaluate(
    model: InputArtifact[Model],
    blessing: OutputArtifact[ModelBlessing],
    blessed: Parameter[int],
    baseline: InputArtifact[Model] = None,
) -> None:
    blessing.set_int_custom_property("blessed", blessed)
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_string_custom_property("baseline", str(baseline.id) if baseline else "none")


@component
def CheckInfra(model: InputArtifact[Model], blessing: OutputArtifact[InfraBlessing], infra: Parameter[int]) -> None:
    blessing.set_int_custom_property("blessed", infra)


@component
def Statistics(examples: InputArtifact[Examples], statistics: OutputArtifact[ExampleStatistics]) -> None:
    Path(statistics.uri, "data").write_text("x")


@component
def Gate(
    statistics: InputArtifact[ExampleStatistics],
    gate_report: OutputArtifact[ExampleAnomalies],
    opens: Parameter[int],
    baseline: InputArtifact[ExampleStatistics] = None,
) -> None:
    if not opens:
        raise RuntimeError("closed")
    gate_report.set_int_custom_property("blessed", 1)
    gate_report.set_int_custom_property("statistics_id", statistics.id)
    gate_report.set_string_custom_property("baseline", str(baseline.id) if baseline else "none")


class Metadata:
    """What a pipeline left in MLMD."""

    def __init__(self, folder: Path) -> None:
        self.config = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
        self.folder = folder

    def run(self, components: list) -> dict[str, str]:
        """Runs a pipeline; returns the state of every node's execution in this run."""
        with metadata.Metadata(self.config) as m:
            before = {e.id for e in m.store.get_executions()}
        LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="tiny",
                pipeline_root=str(self.folder / "root"),
                metadata_connection_config=self.config,
                components=components,
                enable_cache=True,
            )
        )
        with metadata.Metadata(self.config) as m:
            names = {t.id: t.name.rpartition(".")[2] for t in m.store.get_execution_types()}
            state = metadata_store_pb2.Execution.State
            return {
                names[e.type_id]: state.Name(e.last_known_state)
                for e in m.store.get_executions()
                if e.id not in before and "Resolver" not in names[e.type_id]
            }

    def of_type(self, name: str) -> list[metadata_store_pb2.Artifact]:
        with metadata.Metadata(self.config) as m:
            return sorted(m.store.get_artifacts_by_type(name), key=lambda a: a.id)

    def property(self, name: str, key: str) -> list[str]:
        return [a.custom_properties[key].string_value for a in self.of_type(name)]


def training(data: str, blessed: int = 1, infra: int = 1, warm_start: bool = False) -> list:
    ingest = Ingest(data=data)
    nodes: list = [ingest]
    base = None
    if warm_start:
        base = Resolver(
            strategy_class=LatestBlessedBefore, anchor=ingest.outputs["examples"], **blessing_channels()
        ).with_id("warm_start")
        nodes.append(base)
    train = Train(
        examples=ingest.outputs["examples"], data=data, **({"base_model": base.outputs["model"]} if base else {})
    )
    baseline = Resolver(
        strategy_class=LatestBlessedBefore, anchor=train.outputs["model"], **blessing_channels()
    ).with_id("baseline")
    evaluate = Evaluate(model=train.outputs["model"], baseline=baseline.outputs["model"], blessed=blessed)
    check = CheckInfra(model=train.outputs["model"], infra=infra)
    return [*nodes, train, baseline, evaluate, check]


def gated(data: str, opens: int = 1) -> list:
    ingest = Ingest(data=data)
    statistics = Statistics(examples=ingest.outputs["examples"])
    accepted = Resolver(
        strategy_class=LatestAcceptedStatistics,
        statistics=statistics.outputs["statistics"],
        baseline_statistics=types.Channel(type=ExampleStatistics),
        gate_report=types.Channel(type=ExampleAnomalies),
    ).with_id("accepted_statistics")
    gate = Gate(
        statistics=statistics.outputs["statistics"],
        baseline=accepted.outputs["baseline_statistics"],
        opens=opens,
    )
    return [ingest, statistics, accepted, gate]


@pytest.fixture
def store(tmp_path: Path) -> Metadata:
    return Metadata(tmp_path)


def test_the_first_run_has_no_baseline_and_an_identical_second_run_does_nothing(store: Metadata) -> None:
    assert set(store.run(training("monday")).values()) == {"COMPLETE"}
    assert set(store.run(training("monday")).values()) == {"CACHED"}
    assert store.property("ModelBlessing", "baseline") == ["none"]


def test_the_baseline_is_the_latest_blessed_model_before_the_candidate(store: Metadata) -> None:
    store.run(training("monday"))
    store.run(training("tuesday"))
    assert set(store.run(training("tuesday")).values()) == {"CACHED"}
    first, second = (a.id for a in store.of_type("Model"))
    assert store.property("ModelBlessing", "baseline") == ["none", str(first)]
    # Monday's data again: everything is cached, Tuesday's newer model is no baseline for it.
    assert set(store.run(training("monday")).values()) == {"CACHED"}
    store.run(training("wednesday"))
    assert store.property("ModelBlessing", "baseline")[-1] == str(second)


@pytest.mark.parametrize("refused", [{"blessed": 0}, {"infra": 0}])
def test_a_model_that_was_refused_is_no_baseline(store: Metadata, refused: dict[str, int]) -> None:
    store.run(training("monday"))
    store.run(training("tuesday", **refused))
    store.run(training("wednesday"))
    first = store.of_type("Model")[0].id
    assert store.property("ModelBlessing", "baseline") == ["none", str(first), str(first)]


def test_warm_start_takes_the_latest_blessed_model_before_the_data(store: Metadata) -> None:
    store.run(training("monday", warm_start=True))
    assert set(store.run(training("monday", warm_start=True)).values()) == {"CACHED"}
    store.run(training("tuesday", warm_start=True))
    assert set(store.run(training("tuesday", warm_start=True)).values()) == {"CACHED"}
    first = store.of_type("Model")[0].id
    assert store.property("Model", "base") == ["none", str(first)]


def test_drift_is_measured_against_the_last_statistics_the_gate_accepted(store: Metadata) -> None:
    store.run(gated("monday"))
    assert set(store.run(gated("monday")).values()) == {"CACHED"}
    with pytest.raises(RuntimeError, match="closed"):
        store.run(gated("tuesday", opens=0))
    store.run(gated("wednesday"))
    assert set(store.run(gated("wednesday")).values()) == {"CACHED"}
    first = store.of_type("ExampleStatistics")[0].id
    accepted = [a for a in store.of_type("ExampleAnomalies") if a.state == metadata_store_pb2.Artifact.LIVE]
    assert [a.custom_properties["baseline"].string_value for a in accepted] == ["none", str(first)]
