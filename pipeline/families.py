"""What the two models differ in, as far as the DAG, the command line and the summary need to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules.dataset import Dataset
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset
from pipeline.config import LeadScoringConfig, RecommendationConfig, Run

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2

    from pipeline.summary import Part


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes:
      example_gen: id of the node that ingests.
      rows: what people call a row of the examples.
      preprocessing_fn, tuner_fn, run_fn: dotted paths for Transform, Tuner and Trainer.
      make_example_gen: the ingesting component of a run, given the fingerprint of its files.
      eval_config: the Evaluator's configuration.
      not_inputs: what raw examples carry that a model must not read.
      read_report: ingest report of an Examples artifact, given its root.
      read_part: the family's part of the summary, given run, roots of examples and SavedModel, and where it was pushed.
    """

    example_gen: str
    rows: str
    preprocessing_fn: str
    tuner_fn: str
    run_fn: str
    make_example_gen: Callable[[Run, str], Any]
    eval_config: Callable[[Run], config_pb2.EvalConfig]
    not_inputs: Callable[[Run], tuple[str, ...]]
    read_report: Callable[[str], Any]
    read_part: Callable[[Run, Path, Path, Path | None], Part]


def family(run: Run) -> Family:
    """The family of a run's model."""
    return RECOMMENDATION if isinstance(run.config, RecommendationConfig) else LEAD_SCORING


def _lead_examples(run: Run, fingerprint: str) -> Any:
    from pipeline.components.example_gen.component import ColumnarExampleGen

    assert isinstance(run.dataset, Dataset)
    return ColumnarExampleGen(
        dataset=run.dataset,
        validation_split=run.config.model.validation_split,
        span=run.span,
        fingerprint=fingerprint,
    )


def _journey_examples(run: Run, fingerprint: str) -> Any:
    from pipeline.components.journey_example_gen.component import JourneyExampleGen

    assert isinstance(run.dataset, JourneyDataset)
    return JourneyExampleGen(
        dataset=run.dataset,
        validation_split=run.config.model.validation_split,
        span=run.span,
        fingerprint=fingerprint,
    )


def _binary_eval_config(run: Run) -> config_pb2.EvalConfig:
    from modules.evaluation.eval_config import build_eval_config

    assert isinstance(run.config, LeadScoringConfig)
    return build_eval_config(run.config.evaluation, label_key=run.dataset.label_feature)


def _next_action_eval_config(run: Run) -> config_pb2.EvalConfig:
    from modules.evaluation.eval_config import build_next_action_config

    assert isinstance(run.config, RecommendationConfig)
    return build_next_action_config(run.config.evaluation)


def _lead_report(uri: str) -> Any:
    from modules.ingest.report import read_report

    return read_report(uri)


def _journey_report(uri: str) -> Any:
    from modules.journeys.report import read_report

    return read_report(uri)


def _lead_part(run: Run, examples: Path, model: Path, pushed: Path | None) -> Part:
    from pipeline.summaries.lead_scoring import read_part

    return read_part(run, examples, model, pushed)


def _journey_part(run: Run, examples: Path, model: Path, pushed: Path | None) -> Part:
    from pipeline.summaries.recommendation import read_part

    return read_part(run, examples, model, pushed)


def _lead_not_inputs(run: Run) -> tuple[str, ...]:
    dataset = run.dataset
    assert isinstance(dataset, Dataset)
    features = {feature.name for feature in dataset.table}
    known = (dataset.id_feature, dataset.label_feature, dataset.time_feature)
    return tuple(name for name in known if name is not None and name not in features)


def _journey_not_inputs(run: Run) -> tuple[str, ...]:
    return (run.dataset.id_feature, *names.NOT_INPUTS)


LEAD_SCORING = Family(
    example_gen="ColumnarExampleGen",
    rows="leads",
    preprocessing_fn="modules.preprocessing.preprocessing_fn",
    tuner_fn="modules.lead_scoring.tuner.tuner_fn",
    run_fn="modules.lead_scoring.trainer.run_fn",
    make_example_gen=_lead_examples,
    eval_config=_binary_eval_config,
    not_inputs=_lead_not_inputs,
    read_report=_lead_report,
    read_part=_lead_part,
)
RECOMMENDATION = Family(
    example_gen="JourneyExampleGen",
    rows="decisions",
    preprocessing_fn="modules.recommendation.preprocessing.preprocessing_fn",
    tuner_fn="modules.recommendation.tuner.tuner_fn",
    run_fn="modules.recommendation.trainer.run_fn",
    make_example_gen=_journey_examples,
    eval_config=_next_action_eval_config,
    not_inputs=_journey_not_inputs,
    read_report=_journey_report,
    read_part=_journey_part,
)
