"""Runs, executions and artifacts as ML Metadata has them, read without TFX."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modules.errors import DataError

RUN_CONTEXT, NODE_CONTEXT = "pipeline_run", "node"
LAST_NODE = "Pusher"
_STATES = {0: "unknown", 1: "new", 2: "running", 3: "complete", 4: "failed", 5: "cached", 6: "canceled"}
_DONE = ("complete", "cached")


@dataclass(frozen=True)
class Artifact:
    """An artifact.

    Attributes:
      uri: its folder.
      properties: plain values of its properties, custom ones included.
    """

    id: int
    type: str
    uri: str
    created: dt.datetime
    properties: dict[str, Any]

    @property
    def path(self) -> Path:
        return Path(self.uri)


@dataclass(frozen=True)
class Execution:
    """One execution of a node.

    Attributes:
      node: id of the node, e.g. "Trainer".
      state: complete, cached, failed, ...
      inputs, outputs: artifacts by key; those of a cached execution were made by an earlier one.
    """

    id: int
    node: str
    type: str
    state: str
    started: dt.datetime
    finished: dt.datetime
    properties: dict[str, Any]
    inputs: dict[str, tuple[Artifact, ...]]
    outputs: dict[str, tuple[Artifact, ...]]

    @property
    def seconds(self) -> float:
        """From the start to the end, seconds."""
        return (self.finished - self.started).total_seconds()


@dataclass(frozen=True)
class StoredRun:
    """One run of a pipeline.

    Attributes:
      id: when it started, ISO 8601, as TFX names it.
      executions: by node, in order; of several of one node the last.
      finished: whether the last node has run.
    """

    id: str
    executions: dict[str, Execution]

    @property
    def finished(self) -> bool:
        last = self.executions.get(LAST_NODE)
        return last is not None and last.state in _DONE

    @property
    def ended(self) -> dt.datetime:
        return max(e.finished for e in self.executions.values())

    def output(self, node: str, key: str) -> Artifact | None:
        """The first artifact under an output key; None where the node is not part of the run or made nothing."""
        execution = self.executions.get(node)
        found = execution.outputs.get(key, ()) if execution else ()
        return found[0] if found else None

    @property
    def version(self) -> str | None:
        """Integer version under which the model was published; None when it was not."""
        pushed = self.output(LAST_NODE, "pushed_model")
        if pushed is None or pushed.properties.get("pushed") != 1:
            return None
        return str(pushed.properties.get("pushed_version", "")) or None


class Store:
    """ML Metadata of one pipeline, opened for reading."""

    def __init__(self, path: Path) -> None:
        """Opens `path`, an SQLite file.

        Raises:
          DataError: there is none.
        """
        if not path.is_file():
            raise DataError(f"expected ML Metadata in {path}, found none; run the pipeline first, or give --root")
        from ml_metadata.metadata_store import metadata_store
        from ml_metadata.proto import metadata_store_pb2

        self.path = path
        self._pb = metadata_store_pb2
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(path)
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
        self._store = metadata_store.MetadataStore(config)

    def runs(self) -> list[tuple[str, int]]:
        """Ids of all runs with the id of their context, newest first."""
        contexts = self._store.get_contexts_by_type(RUN_CONTEXT) if self._knows(RUN_CONTEXT) else []
        return sorted(((c.name, c.id) for c in contexts), reverse=True)

    def run(self, run_id: str, context: int) -> StoredRun:
        """A run with everything its executions read and made."""
        executions = self._executions(self._store.get_executions_by_context(context))
        by_node = {e.node: e for e in sorted(executions, key=lambda e: e.id)}
        return StoredRun(run_id, dict(sorted(by_node.items(), key=lambda item: item[1].id)))

    def producers(self, artifact_ids: Iterable[int]) -> dict[int, Execution]:
        """Artifact -> the execution that made it (the first one: a cached execution only points at it)."""
        ids = list(artifact_ids)
        events = self._store.get_events_by_artifact_ids(ids) if ids else []
        made = (self._pb.Event.OUTPUT, self._pb.Event.INTERNAL_OUTPUT)
        first: dict[int, int] = {}
        for event in events:
            if event.type in made:
                first[event.artifact_id] = min(event.execution_id, first.get(event.artifact_id, event.execution_id))
        found = {e.id: e for e in self._executions(self._store.get_executions_by_id(sorted(set(first.values()))))}
        return {artifact: found[execution] for artifact, execution in first.items()}

    def artifact(self, artifact_id: int) -> Artifact | None:
        """An artifact by id."""
        found = self._store.get_artifacts_by_id([artifact_id])
        return self._artifact(found[0]) if found else None

    def _knows(self, context_type: str) -> bool:
        return any(t.name == context_type for t in self._store.get_context_types())

    def _executions(self, found: Iterable[Any]) -> list[Execution]:
        found = list(found)
        if not found:
            return []
        events = self._store.get_events_by_execution_ids([e.id for e in found])
        ids = sorted({event.artifact_id for event in events})
        artifacts = {a.id: self._artifact(a) for a in self._store.get_artifacts_by_id(ids)} if ids else {}
        made = (self._pb.Event.OUTPUT, self._pb.Event.INTERNAL_OUTPUT)
        read = (self._pb.Event.INPUT, self._pb.Event.INTERNAL_INPUT)
        inputs: dict[int, dict[str, list[Artifact]]] = {e.id: {} for e in found}
        outputs: dict[int, dict[str, list[Artifact]]] = {e.id: {} for e in found}
        for event in events:
            side = outputs if event.type in made else inputs if event.type in read else None
            if side is None or event.artifact_id not in artifacts:
                continue
            key = next((step.key for step in event.path.steps if step.HasField("key")), "")
            side[event.execution_id].setdefault(key, []).append(artifacts[event.artifact_id])
        return [
            Execution(
                id=e.id,
                node=self._node(e),
                type=e.type,
                state=_STATES.get(e.last_known_state, "unknown"),
                started=_time(e.create_time_since_epoch),
                finished=_time(e.last_update_time_since_epoch),
                properties=_plain(e),
                inputs={k: tuple(v) for k, v in inputs[e.id].items()},
                outputs={k: tuple(v) for k, v in outputs[e.id].items()},
            )
            for e in found
        ]

    def _node(self, execution: Any) -> str:
        for context in self._store.get_contexts_by_execution(execution.id):
            if context.type == NODE_CONTEXT:
                return context.name.split(".", 1)[-1]
        return execution.type.rsplit(".", 1)[-1]

    def _artifact(self, artifact: Any) -> Artifact:
        return Artifact(
            artifact.id, artifact.type, artifact.uri, _time(artifact.create_time_since_epoch), _plain(artifact)
        )


def _plain(item: Any) -> dict[str, Any]:
    found = {}
    for properties in (item.properties, item.custom_properties):
        for key, value in properties.items():
            kind = value.WhichOneof("value")
            if kind in ("int_value", "double_value", "string_value"):
                found[key] = getattr(value, kind)
    return found


def _time(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
