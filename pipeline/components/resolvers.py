"""What a run is compared with: resolver strategies that look only at what is older than the run's own artifacts.

TFX's LatestBlessedModelStrategy returns the newest blessed model, which after a successful run is the candidate
itself: a second identical run would find another baseline, miss the cache and evaluate the model against itself.
These strategies take the run's own artifact as an anchor. Its id is smaller than those of everything later and is the
same in a cached run, so an identical run resolves identical inputs and does nothing.

Artifacts are numbered by MLMD in order of creation, across types.
"""

from __future__ import annotations

from collections.abc import Iterable

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.components.common import resolver
from tfx.types import standard_artifacts

from pipeline.components.gate.executor import BLESSED_PROPERTY, STATISTICS_ID_PROPERTY

_MODEL_ID_PROPERTY = "current_model_id"

Artifacts = dict[str, list[types.Artifact]]


class LatestBlessedBefore(resolver.ResolverStrategy):
    """The latest model older than an anchor that the Evaluator blessed and, if asked for, the infrastructure check.

    As baseline of the Evaluator::

        Resolver(
            strategy_class=LatestBlessedBefore,
            anchor=trainer.outputs["model"],
            model=Channel(type=Model),
            model_blessing=Channel(type=ModelBlessing),
            infra_blessing=Channel(type=InfraBlessing),
        ).with_id("baseline").outputs["model"]

    As the Trainer's base model (warm start), with what the Trainer learns from as the anchor, e.g.
    `anchor=transform.outputs["transform_graph"]` or `example_gen.outputs["examples"]`.

    Inputs: `anchor` of any type; `model`; `model_blessing`; optional `infra_blessing`. Every key is an output, too:
    with one artifact each, or with none if there is no such model (then the Evaluator runs without baseline).
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        result: Artifacts = {key: [] for key in input_dict}
        anchors = input_dict.get("anchor", [])
        if not anchors:
            return result
        limit = min(a.id for a in anchors)
        result["anchor"] = list(anchors)
        by_model = {
            b.get_int_custom_property(_MODEL_ID_PROPERTY): b
            for b in sorted(input_dict["model_blessing"], key=lambda a: a.id)
            if b.get_int_custom_property(BLESSED_PROPERTY) == 1
        }
        infra = _infra_blessings(store, input_dict["infra_blessing"]) if "infra_blessing" in input_dict else None
        for model in sorted(input_dict["model"], key=lambda a: a.id, reverse=True):
            if model.id >= limit or model.id not in by_model or (infra is not None and model.id not in infra):
                continue
            result["model"], result["model_blessing"] = [model], [by_model[model.id]]
            if infra is not None:
                result["infra_blessing"] = [infra[model.id]]
            return result
        return result


class LatestAcceptedStatistics(resolver.ResolverStrategy):
    """Statistics for which the gate opened last, older than the run's own: the baseline of drift.

    Use::

        Resolver(
            strategy_class=LatestAcceptedStatistics,
            statistics=statistics_gen.outputs["statistics"],
            baseline_statistics=Channel(type=ExampleStatistics),
            gate_report=Channel(type=ExampleAnomalies),
        ).with_id("accepted_statistics").outputs["baseline_statistics"]

    Every key is an output, too; `baseline_statistics` and `gate_report` are empty before the first accepted run.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        result: Artifacts = {key: [] for key in input_dict}
        if not input_dict.get("statistics"):
            return result
        limit = min(a.id for a in input_dict["statistics"])
        result["statistics"] = list(input_dict["statistics"])
        known = {a.id: a for a in input_dict["baseline_statistics"] if a.id < limit}
        # ExampleValidator's anomalies are of the same type, but name no statistics.
        accepted: dict[int, types.Artifact] = {}
        for report in sorted(input_dict["gate_report"], key=lambda a: a.id):
            if report.has_custom_property(STATISTICS_ID_PROPERTY) and _is_blessed(report):
                accepted[report.get_int_custom_property(STATISTICS_ID_PROPERTY)] = report
        latest = max(accepted.keys() & known.keys(), default=None)
        if latest is not None:
            result["baseline_statistics"], result["gate_report"] = [known[latest]], [accepted[latest]]
        return result


def blessing_channels() -> dict[str, types.Channel]:
    """All models of the pipeline with their blessings: the inputs of `LatestBlessedBefore` beside the anchor."""
    return {
        "model": types.Channel(type=standard_artifacts.Model),
        "model_blessing": types.Channel(type=standard_artifacts.ModelBlessing),
        "infra_blessing": types.Channel(type=standard_artifacts.InfraBlessing),
    }


def _is_blessed(artifact: types.Artifact) -> bool:
    return artifact.get_int_custom_property(BLESSED_PROPERTY) == 1


def _infra_blessings(store: mlmd.MetadataStore, blessings: Iterable[types.Artifact]) -> dict[int, types.Artifact]:
    """Positive infrastructure blessings by model id.

    TFX's InfraValidator does not write down which model it looked at; the events of its execution say so.
    """
    positive = {b.id: b for b in sorted(blessings, key=lambda a: a.id) if _is_blessed(b)}
    if not positive:
        return {}
    event = metadata_store_pb2.Event
    made_by = {
        e.execution_id: positive[e.artifact_id]
        for e in store.get_events_by_artifact_ids(list(positive))
        if e.type == event.OUTPUT and e.artifact_id in positive
    }
    return {
        e.artifact_id: made_by[e.execution_id]
        for e in store.get_events_by_execution_ids(list(made_by))
        if e.type == event.INPUT and any(step.key == "model" for step in e.path.steps)
    }
