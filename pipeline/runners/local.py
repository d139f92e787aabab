"""Runs a TFX pipeline in this process, one component after the other, and tells a listener what happens.

The node loop follows `tfx.orchestration.local.local_dag_runner.LocalDagRunner` (TFX 1.21), which offers no place to
hear of progress or of cache hits; everything that matters (drivers, cache, executors, ML Metadata) stays TFX's own
launcher. It can go when LocalDagRunner takes a listener.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils

Outcome = Literal["ran", "cached", "skipped"]


@dataclass(frozen=True)
class NodeResult:
    """One finished node of a run.

    Attributes:
      id: the node's id, e.g. "StatisticsGen".
      outcome: ran, cached (ML Metadata already had the result) or skipped (nothing to do, such as a Resolver).
      seconds: wall time.
      outputs: artifacts by output key, as TFX artifacts with uri and properties.
    """

    id: str
    outcome: Outcome
    seconds: float
    outputs: dict[str, list[Any]]


class Listener(Protocol):
    """What a run tells while it goes."""

    def started(self, node_id: str, index: int, total: int) -> None: ...

    def finished(self, result: NodeResult) -> None: ...

    def failed(self, node_id: str, seconds: float, error: BaseException) -> None: ...


class _Launcher(launcher.Launcher):
    """TFX's launcher, remembering whether the executor had to run."""

    executed: bool | None = None

    def _prepare_execution(self):
        result = super()._prepare_execution()
        self.executed = result.is_execution_needed
        return result


def run_pipeline(pipeline: tfx_pipeline.Pipeline, listener: Listener) -> dict[str, NodeResult]:
    """Runs every node in topological order.

    Returns:
      Node id -> result.

    Raises:
      Whatever a component raises; later nodes do not run, finished ones stay cached.
    """
    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(
        ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: dt.datetime.now(dt.UTC).isoformat()}
    )
    deployment = runner_utils.extract_local_deployment_config(ir)
    connection_field = deployment.metadata_connection_config.WhichOneof("connection_config")
    connection = getattr(deployment.metadata_connection_config, connection_field)
    results: dict[str, NodeResult] = {}
    nodes = [node.pipeline_node for node in ir.nodes]
    for index, node in enumerate(nodes):
        node_id = node.node_info.id
        listener.started(node_id, index, len(nodes))
        begin = time.perf_counter()
        component_launcher = _Launcher(
            pipeline_node=node,
            mlmd_connection=metadata.Metadata(connection),
            pipeline_info=ir.pipeline_info,
            pipeline_runtime_spec=ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
        )
        try:
            info = component_launcher.launch()
        except BaseException as error:
            listener.failed(node_id, time.perf_counter() - begin, error)
            raise
        outcome: Outcome = {True: "ran", False: "cached", None: "skipped"}[component_launcher.executed]  # type: ignore[assignment]
        # Not info.output_dict: that one lacks what executors set on artifacts, and a cached result.
        outputs = _published_outputs(connection, info.execution_id) if info and info.execution_id else {}
        results[node_id] = NodeResult(node_id, outcome, time.perf_counter() - begin, outputs)
        listener.finished(results[node_id])
    return results


def _published_outputs(connection: Any, execution_id: int) -> dict[str, list[Any]]:
    """Output artifacts of an execution as ML Metadata knows them (a cached one points at an earlier run's)."""
    from ml_metadata.proto import metadata_store_pb2
    from tfx.types import artifact_utils

    outputs: dict[str, list[Any]] = {}
    with metadata.Metadata(connection) as handle:
        store = handle.store
        events = store.get_events_by_execution_ids([execution_id])
        kinds = {t.id: t for t in store.get_artifact_types()}
        for event in events:
            if event.type not in (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INTERNAL_OUTPUT):
                continue
            key = next((s.key for s in event.path.steps if s.HasField("key")), "")
            for artifact in store.get_artifacts_by_id([event.artifact_id]):
                outputs.setdefault(key, []).append(
                    artifact_utils.deserialize_artifact(kinds[artifact.type_id], artifact)
                )
    return outputs
