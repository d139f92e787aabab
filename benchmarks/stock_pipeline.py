"""The same pipeline of stock TFX components with their defaults. Usage: stock_pipeline.py TABLE ROOT."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tfx import components
from tfx import types as tfx_types
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2, transform_pb2
from tfx.types import standard_artifacts

from benchmarks.pipeline import MODEL, PROJECT, SLICES
from pipeline.config import load_run

STOCK_METRICS = (
    "ExampleCount",
    "AUC",
    "AUCPrecisionRecall",
    "BinaryAccuracy",
    "Precision",
    "Recall",
    "F1Score",
    "BinaryCrossEntropy",
    "Calibration",
    "CalibrationPlot",
    "ConfusionMatrixPlot",
)


def main(table: Path, root: Path) -> None:
    """Runs it with LocalDagRunner."""
    from tensorflow_model_analysis.proto import config_pb2

    run = load_run(
        PROJECT / "configs" / "lead_scoring.yaml",
        root=root,
        overrides={
            **{f"model.{k}": v for k, v in MODEL.items()},
            "dataset.files": [str(table)],
            "dataset.time": None,
            "dataset.label_maturity_days": 0,
            "dataset.personal_data": [],
        },
    )
    settings = {"dataset": run.dataset.model_dump_json(), "model": run.config.model.model_dump_json()}
    splits = {"train": 52, "validation": 13, "calibration": 15, "test": 20}
    example_gen = components.CsvExampleGen(
        input_base=str(table.parent),
        output_config=example_gen_pb2.Output(
            split_config=example_gen_pb2.SplitConfig(
                splits=[example_gen_pb2.SplitConfig.Split(name=n, hash_buckets=b) for n, b in splits.items()]
            )
        ),
    )
    examples = example_gen.outputs["examples"]
    statistics = components.StatisticsGen(examples=examples)
    schema = components.SchemaGen(statistics=statistics.outputs["statistics"])
    validator = components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = components.Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="modules.preprocessing.preprocessing_fn",
        custom_config=settings,
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=list(splits)),
    )
    trainer = components.Trainer(
        run_fn="modules.lead_scoring.trainer.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        custom_config={**settings, "configuration": json.dumps({}), "configuration_hash": "stock"},
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["validation", "calibration"]),
    )
    baseline = Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=tfx_types.Channel(type=standard_artifacts.Model),
        model_blessing=tfx_types.Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model")
    evaluator = components.Evaluator(
        examples=examples,
        example_splits=["test"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        schema=schema.outputs["schema"],
        eval_config=config_pb2.EvalConfig(
            model_specs=[
                config_pb2.ModelSpec(
                    signature_name="serving_default",
                    label_key=run.dataset.label_feature,
                    prediction_key="probability",
                    model_type="tf_generic",
                )
            ],
            slicing_specs=[
                config_pb2.SlicingSpec(),
                *(config_pb2.SlicingSpec(feature_keys=[name]) for name in SLICES),
            ],
            metrics_specs=[
                config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name=n) for n in STOCK_METRICS])
            ],
        ),
    )
    pusher = components.Pusher(
        model=trainer.outputs["model"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(root / "serving"))
        ),
    )
    root.mkdir(parents=True, exist_ok=True)
    LocalDagRunner().run(
        tfx_pipeline.Pipeline(
            pipeline_name="stock",
            pipeline_root=str(root / "artifacts"),
            components=[
                example_gen,
                statistics,
                schema,
                validator,
                transform,
                trainer,
                baseline,
                evaluator,
                pusher,
            ],
            metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
            beam_pipeline_args=run.runner.beam_args(),
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
