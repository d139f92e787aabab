"""Where the model comes from: every artifact and execution behind it, from ML Metadata."""

from __future__ import annotations

from dataclasses import dataclass

from modules.reporting.document import Paragraph, Plot, Section, Table
from modules.reporting.figures.graph import Node, graph
from modules.reporting.formats import moment, seconds
from pipeline.report.source import RunSource
from pipeline.report.store import Artifact, Execution, Store


@dataclass(frozen=True)
class Lineage:
    """What stands behind an artifact: artifacts by id with the executions that made them, and who read what."""

    artifacts: dict[int, Artifact]
    producers: dict[int, Execution]

    @property
    def executions(self) -> list[Execution]:
        """Oldest first."""
        found = {e.id: e for e in self.producers.values()}
        return [found[key] for key in sorted(found)]


def trace(store: Store, artifact: Artifact) -> Lineage:
    """Everything an artifact was made from, itself included, however many runs ago."""
    artifacts, producers = {artifact.id: artifact}, {}
    waiting = [artifact.id]
    while waiting:
        made = store.producers(waiting)
        producers.update(made)
        waiting = []
        for execution in made.values():
            for inputs in execution.inputs.values():
                for one in inputs:
                    if one.id not in artifacts:
                        artifacts[one.id] = one
                        waiting.append(one.id)
    return Lineage(artifacts, producers)


def lineage(source: RunSource) -> Section:
    """A graph of the executions behind the pushed model (of the trained one, when nothing was pushed), and tables."""
    title = "Lineage"
    pushed = source.run.output("Pusher", "pushed_model") if source.run.version else None
    target = pushed or source.run.output("Trainer", "model")
    if target is None:
        return Section("lineage", title, [Paragraph("The run has no model.")])
    found = trace(source.found.store, target)
    what = (
        f"the model published as version {source.run.version}"
        if pushed
        else "the trained model, which was not published"
    )
    nodes = _nodes(found)
    return Section(
        "lineage",
        title,
        [
            Paragraph(
                f"Behind {what} stand {len(found.executions)} executions and {len(found.artifacts)} artifacts in ML "
                f"Metadata ({source.found.store.path.name}).{_beside(source, found)}"
            ),
            Plot(
                "lineage",
                graph(nodes),
                "Executions from left to right; a line means that one read what the other made. Hover for ids and "
                "times.",
                wide=True,
            ),
            Table(
                ("execution", "node", "made", "read", "started", "time"),
                tuple(
                    (
                        str(e.id),
                        e.node,
                        ", ".join(f"{a.type} {a.id}" for group in e.outputs.values() for a in group),
                        ", ".join(str(a.id) for group in e.inputs.values() for a in group),
                        moment(e.started),
                        seconds(e.seconds),
                    )
                    for e in found.executions
                ),
                "Executions, oldest first.",
                (0, 5),
                folded=True,
            ),
            Table(
                ("artifact", "type", "made by", "created", "folder"),
                tuple(
                    (
                        str(a.id),
                        a.type,
                        found.producers[a.id].node if a.id in found.producers else "–",
                        moment(a.created),
                        _below_root(source, a),
                    )
                    for a in sorted(found.artifacts.values(), key=lambda a: a.id)
                ),
                "Artifacts, oldest first; folders are below the root of the run.",
                (0,),
                folded=True,
            ),
        ],
    )


def _beside(source: RunSource, found: Lineage) -> str:
    """The run's other executions: what watched over it or describes it, without being an input of the model."""
    ids = {execution.id for execution in found.executions}
    cached = {a.id for e in found.executions for group in e.outputs.values() for a in group}
    others = [
        f"{e.node} ({e.id})"
        for e in source.run.executions.values()
        if e.id not in ids and not any(a.id in cached for group in e.outputs.values() for a in group)
    ]
    return f" Beside them ran, without being an input of the model: {', '.join(others)}." if others else ""


def _nodes(found: Lineage) -> list[Node]:
    made_by = {artifact: execution.id for artifact, execution in found.producers.items()}
    return [
        Node(
            id=e.id,
            label=e.node,
            note=f"execution {e.id}, {moment(e.started)}, {seconds(e.seconds)}",
            parents=tuple(
                sorted({made_by[a.id] for group in e.inputs.values() for a in group if a.id in made_by} - {e.id})
            ),
        )
        for e in found.executions
    ]


def _below_root(source: RunSource, artifact: Artifact) -> str:
    # metadata/<servable>.sqlite lies below the root. A whole path would tell who ran it, and where.
    root = source.found.store.path.parent.parent
    return str(artifact.path.relative_to(root)) if artifact.path.is_relative_to(root) else artifact.path.name
