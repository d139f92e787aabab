"""What the two models differ in, as far as the DAG, the command line and the summary need to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modules.journeys import names
from pipeline.config import RecommendationConfig, Run

if TYPE_CHECKING:
    from tensorflow_model_analysis.proto import config_pb2


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes:
      example_gen: id of the node that ingests.
      rows: what people call a row of the examples.
      preprocessing_fn, run_fn: dotted paths for Transform and Trainer.
      make_example_gen: the ingesting component of a run, given the fingerprint of its files.
      eval_config: the Evaluator's configuration.
      not_inputs: what raw examples carry that a model must not read.
      read_report: ingest report of an Examples artifact, given its root.
    """

    example_gen: str
    rows: str
    preprocessing_fn: str
    run_fn: str
    make_example_gen: Callable[[Run, str], Any]
    eval_config: Callable[[Run], config_pb2.EvalConfig]
    not_inputs: Callable[[Run], tuple[str, ...]]
    read_report: Callable[[str], Any]


def family(run: Run) -> Family:
    """The family of a run's model."""
    return RECOMMENDATION if isinstance(run.config, RecommendationConfig) else LEAD_SCORING


def _lead_examples(run: Run, fingerprint: str) -> Any:
    from pipeline.components.example_gen.component import ColumnarExampleGen

    return ColumnarExampleGen(
        dataset=run.dataset,  # type: ignore[arg-type]
        validation_split=run.config.model.validation_split,
        span=run.span,
        fingerprint=fingerprint,
    )


def _journey_examples(run: Run, fingerprint: str) -> Any:
    from pipeline.components.journey_example_gen.component import JourneyExampleGen

    return JourneyExampleGen(
        dataset=run.dataset,  # type: ignore[arg-type]
        validation_split=run.config.model.validation_split,
        span=run.span,
        fingerprint=fingerprint,
    )


def _binary_eval_config(run: Run) -> config_pb2.EvalConfig:
    from modules.evaluation.eval_config import build_eval_config

    return build_eval_config(run.config.evaluation, label_key=run.dataset.label_feature)  # type: ignore[arg-type]


def _next_action_eval_config(run: Run) -> config_pb2.EvalConfig:
    from modules.evaluation.next_action_config import build_next_action_eval_config

    return build_next_action_eval_config(run.config.evaluation)  # type: ignore[arg-type]


def _lead_report(uri: str) -> Any:
    from modules.ingest.report import read_report

    return read_report(uri)


def _journey_report(uri: str) -> Any:
    from modules.journeys.report import read_report

    return read_report(uri)


def _lead_not_inputs(run: Run) -> tuple[str, ...]:
    dataset = run.dataset
    features = {feature.name for feature in dataset.features}
    known = (dataset.id_feature, dataset.label_feature, dataset.time_feature)
    return tuple(name for name in known if name is not None and name not in features)


def _journey_not_inputs(run: Run) -> tuple[str, ...]:
    return (run.dataset.id_feature, *names.NOT_INPUTS)


LEAD_SCORING = Family(
    example_gen="ColumnarExampleGen",
    rows="leads",
    preprocessing_fn="modules.preprocessing.preprocessing_fn",
    run_fn="modules.lead_scoring.trainer.run_fn",
    make_example_gen=_lead_examples,
    eval_config=_binary_eval_config,
    not_inputs=_lead_not_inputs,
    read_report=_lead_report,
)
RECOMMENDATION = Family(
    example_gen="JourneyExampleGen",
    rows="decisions",
    preprocessing_fn="modules.recommendation.preprocessing.preprocessing_fn",
    run_fn="modules.recommendation.trainer.run_fn",
    make_example_gen=_journey_examples,
    eval_config=_next_action_eval_config,
    not_inputs=_journey_not_inputs,
    read_report=_journey_report,
)
