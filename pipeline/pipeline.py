"""The DAG: which component runs, in what order, on what. The only place that knows it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tfx import components
from tfx import types as tfx_types
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import infra_validator_pb2, pusher_pb2, trainer_pb2, transform_pb2
from tfx.types import standard_artifacts

from modules.dataset import SPLITS
from modules.files import write_whole
from modules.journeys.dataset import JourneyDataset
from pipeline.components.cross_validation.component import CrossValidation
from pipeline.components.evaluator import Evaluator
from pipeline.components.gate.component import DataGate
from pipeline.components.importance.component import Importance
from pipeline.components.infra_check.component import InfraCheck
from pipeline.components.policy_value.component import PolicyValue
from pipeline.components.pusher import atomic_pusher
from pipeline.components.resolvers import (
    LatestAcceptedStatistics,
    LatestBlessedBefore,
    blessing_channels,
)
from pipeline.components.statistics_gen import StatisticsGen
from pipeline.components.transform import Transform
from pipeline.components.tuner import Tuner
from pipeline.config import LeadScoringConfig, RecommendationConfig, Run, code_hash
from pipeline.families import family

EVALUATED_SPLIT = "test"


def create_pipeline(run: Run, dataset_version: str, *, enable_cache: bool = True) -> tfx_pipeline.Pipeline:
    """Builds the pipeline of a model.

    Args:
      run: the effective configuration.
      dataset_version: fingerprint of the input files; another one, another ingest.
      enable_cache: False runs every component even if ML Metadata holds its result.

    Returns:
      ExampleGen -> StatisticsGen -> schema -> ExampleValidator -> DataGate -> Transform -> [Tuner ->] Trainer ->
      [CrossValidation ->] latest blessed model -> Evaluator -> infrastructure check -> Pusher; and PolicyValue behind
      the Trainer for a recommendation model whose dataset has outcomes.
    """
    config, dataset, model_family = run.config, run.dataset, family(run)
    code = code_hash()
    example_gen, statistics_gen = _ingest(run, dataset_version)
    nodes: list[Any] = [example_gen, statistics_gen]

    def add(node: Any) -> Any:
        nodes.append(node)
        return node

    examples, statistics = example_gen.outputs["examples"], statistics_gen.outputs["statistics"]
    if run.schema_file is not None:
        schema = add(ImportSchemaGen(schema_file=str(_frozen_copy(run))).with_id("CuratedSchemaSource")).outputs[
            "schema"
        ]
    else:
        schema = add(components.SchemaGen(statistics=statistics, infer_feature_shape=False)).outputs["schema"]
    validator = add(components.ExampleValidator(statistics=statistics, schema=schema))
    gate_inputs: dict[str, Any] = {}
    if config.gate.drift != "off":
        accepted = add(
            Resolver(
                strategy_class=LatestAcceptedStatistics,
                statistics=statistics,
                baseline_statistics=tfx_types.Channel(type=standard_artifacts.ExampleStatistics),
                gate_report=tfx_types.Channel(type=standard_artifacts.ExampleAnomalies),
            ).with_id("AcceptedStatisticsResolver")
        )
        gate_inputs["baseline_statistics"] = accepted.outputs["baseline_statistics"]
    gate = add(
        DataGate(
            statistics=statistics,
            schema=schema,
            anomalies=validator.outputs["anomalies"],
            dataset=dataset,
            anomalies_mode=config.gate.anomalies,
            drift_mode=config.gate.drift,
            **gate_inputs,
        )
    )
    settings = {"dataset": dataset.model_dump_json(), "model": config.model.model_dump_json(), "code": code}
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=model_family.preprocessing_fn,
        custom_config=settings,
        splits_config=transform_pb2.SplitsConfig(
            analyze=["train"],
            transform=["train", "validation", "calibration"] if config.transform.materialize else [],
        ),
        materialize=config.transform.materialize,
        disable_statistics=True,
    )
    transform.add_upstream_node(gate)
    transform_graph = add(transform).outputs["transform_graph"]
    best_hyperparameters = None
    if config.tuning is not None:
        tuner = add(_tuner(run, dataset_version, examples, schema, transform_graph, settings))
        best_hyperparameters = tuner.outputs["best_hyperparameters"]
    base_model = None
    if isinstance(config, LeadScoringConfig) and config.model.warm_start:
        warm = add(
            Resolver(strategy_class=LatestBlessedBefore, anchor=transform_graph, **_blessings(run)).with_id(
                "WarmStartResolver"
            )
        )
        base_model = warm.outputs["model"]
    trainer = add(
        components.Trainer(
            run_fn=model_family.run_fn,
            examples=transform.outputs["transformed_examples"] if config.transform.materialize else examples,
            transform_graph=transform_graph,
            schema=schema,
            base_model=base_model,
            hyperparameters=best_hyperparameters,
            custom_config={
                **settings,
                "configuration": json.dumps(
                    {"config": config.model_dump(mode="json"), "dataset": dataset.model_dump(mode="json")}
                ),
                "configuration_hash": run.hash,
                "dataset_version": dataset_version,
                "model_type": config.name,
                **_checkpoints(run),
            },
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(splits=["validation", "calibration"]),
        )
    )
    folds = _cross_validation(run, examples, schema, best_hyperparameters, settings)
    if folds is not None:
        folds.add_upstream_node(transform)
        add(folds)
    model = trainer.outputs["model"]
    baseline = add(
        Resolver(strategy_class=LatestBlessedBefore, anchor=model, **_blessings(run)).with_id(
            "LatestBlessedModelResolver"
        )
    )
    evaluator_inputs: dict[str, Any] = {
        "examples": examples,
        "example_splits": [EVALUATED_SPLIT],
        "model": model,
        "baseline_model": baseline.outputs["model"],
        "eval_config": model_family.eval_config(run),
        "schema": schema,
        "module_path": "modules.evaluation.extractors",
    }
    if folds is None:
        evaluator = add(components.Evaluator(**evaluator_inputs))
    else:
        evaluator = add(
            Evaluator(
                cross_validation=folds.outputs["cross_validation"],
                bounds={"min": config.validation.min, "max": config.validation.max},
                **evaluator_inputs,
            )
        )
    if isinstance(config, RecommendationConfig) and isinstance(dataset, JourneyDataset) and dataset.outcome:
        add(
            PolicyValue(
                examples=examples,
                model=model,
                dataset=dataset,
                settings=config.value,
                split=EVALUATED_SPLIT,
            )
        )
    if config.importance is not None:
        importance = Importance(
            examples=examples, model=model, dataset=dataset, settings=config.importance, split=EVALUATED_SPLIT
        )
        importance.add_upstream_node(evaluator)
        add(importance)
    infra_blessing = _infra_check(run, model, examples, evaluator, add)
    push_inputs = {} if infra_blessing is None else {"infra_blessing": infra_blessing}
    add(
        atomic_pusher(
            model=model,
            model_blessing=evaluator.outputs["blessing"],
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(run.serving_dir))
            ),
            **push_inputs,
        )
    )
    return _pipeline(run, nodes, enable_cache)


def create_statistics_pipeline(run: Run, dataset_version: str) -> tfx_pipeline.Pipeline:
    """Ingest and statistics only: what a schema is proposed from. A later run finds both in the cache."""
    return _pipeline(run, _ingest(run, dataset_version), True)


def _ingest(run: Run, dataset_version: str) -> list[Any]:
    # What stands behind the dash only tells the cache that other code has read the same files.
    example_gen = family(run).make_example_gen(run, f"{dataset_version}-{code_hash()}")
    return [example_gen, StatisticsGen(examples=example_gen.outputs["examples"])]


def _tuner(
    run: Run, dataset_version: str, examples: Any, schema: Any, transform_graph: Any, settings: dict[str, str]
) -> Tuner:
    """The search for settings, on raw examples of everything but the test part."""
    config = run.config
    assert config.tuning is not None
    validation = {}
    if isinstance(config, LeadScoringConfig):
        # What decides the folds, not what judges them.
        unused = {"min", "max", "confidence", "workers"}
        validation = {"validation": config.validation.model_dump_json(exclude=unused)}
    return Tuner(
        tuner_fn=family(run).tuner_fn,
        examples=examples,
        schema=schema,
        transform_graph=transform_graph,
        custom_config={
            **settings,
            **validation,
            "tuning": config.tuning.model_dump_json(),
            "dataset_version": dataset_version,
            "tuning_dir": str(run.tuning_dir),
        },
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["validation", "calibration"]),
    )


def _cross_validation(
    run: Run, examples: Any, schema: Any, best_hyperparameters: Any, settings: dict[str, str]
) -> CrossValidation | None:
    """The folds, on raw examples of everything but the test part."""
    config = run.config
    if config.validation.folds is None:
        return None
    return CrossValidation(
        examples=examples,
        schema=schema,
        kind=config.kind,
        custom_config=settings,
        settings=config.validation,
        splits=[split for split in SPLITS if split != EVALUATED_SPLIT],
        threshold=config.evaluation.threshold if isinstance(config, LeadScoringConfig) else 0.5,
        hyperparameters=best_hyperparameters,
    )


def _checkpoints(run: Run) -> dict[str, str]:
    """Where training that was killed finds its state again: not in an artifact, which a new execution does not see."""
    if not isinstance(run.config, RecommendationConfig):
        return {}
    return {"checkpoint_dir": str(run.root / "checkpoints" / run.servable)}


def _pipeline(run: Run, nodes: list[Any], enable_cache: bool) -> tfx_pipeline.Pipeline:
    run.metadata_path.parent.mkdir(parents=True, exist_ok=True)
    return tfx_pipeline.Pipeline(
        pipeline_name=run.servable,
        pipeline_root=str(run.pipeline_root),
        components=nodes,
        enable_cache=enable_cache,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(run.metadata_path)),
        beam_pipeline_args=run.runner.beam_args(),
    )


def _frozen_copy(run: Run) -> Path:
    """The curated schema under a path that names its content: TFX caches an import by path alone."""
    assert run.schema_file is not None
    content = run.schema_file.read_bytes()
    copy = run.root / "metadata" / "schemas" / f"{hashlib.sha256(content).hexdigest()[:16]}" / "schema.pbtxt"
    if not copy.is_file():
        write_whole(copy, content)
    return copy


def _infra_check(run: Run, model: Any, examples: Any, evaluator: Any, add: Any) -> Any:
    infra = run.config.infra
    if infra.kind == "off":
        return None
    if infra.kind == "docker":
        node = components.InfraValidator(
            model=model,
            examples=examples,
            serving_spec=infra_validator_pb2.ServingSpec(
                tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=[infra.image_tag]),
                local_docker=infra_validator_pb2.LocalDockerConfig(),
            ),
            request_spec=infra_validator_pb2.RequestSpec(
                tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(),
                split_name=EVALUATED_SPLIT,
                num_examples=10,
                make_warmup=True,
            ),
        )
    else:
        node = InfraCheck(
            model=model,
            examples=examples,
            settings=infra.session.model_copy(update={"ignored_features": family(run).not_inputs(run)}),
            model_name=run.servable,
            split=EVALUATED_SPLIT,
        )
    node.add_upstream_node(evaluator)
    return add(node).outputs["blessing"]


def _blessings(run: Run) -> dict[str, Any]:
    """Where blessed models are looked up; without an infrastructure check only the Evaluator has a say."""
    channels = blessing_channels()
    if run.config.infra.kind == "off":
        del channels["infra_blessing"]
    return channels


__all__ = ["EVALUATED_SPLIT", "create_pipeline", "create_statistics_pipeline"]
