"""`NextAction`: every metric of a next-action model as one canonical TFMA metric.

It reads of the model's signatures: `distribution` with `probabilities` and `conversion`, float32 [n, A], and as
preprocessing function `evaluation_features` with `label`, `majority`, `last_action` and `prefix`, int64 [n]. And of the
raw examples: `outcome` and `history_length`, either may be absent. Examples have no weights.

How it is named in an EvalConfig, and what margins are: `modules.evaluation.slice_metric`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import calibration_plot as tfma_calibration_plot
from tensorflow_model_analysis.metrics import multi_class_confusion_matrix_plot as tfma_confusion

from modules.errors import DataError
from modules.evaluation import next_action_scores, next_action_statistics, plots
from modules.evaluation.aggregation import PlotName, Source
from modules.evaluation.extracts import (
    model_labels,
    model_matrix,
    raw_numbers,
    transformed_values,
)
from modules.evaluation.families import NEXT_ACTION
from modules.evaluation.names import ACTIONS, CONVERSION, CONVERSION_QUANTILES
from modules.evaluation.next_action_statistics import ActionBuilder, ActionStatistics
from modules.evaluation.slice_metric import SliceMetric
from modules.journeys.names import HISTORY_LENGTH, OUTCOME

PROBABILITIES = "probabilities"
DEFAULT_NAME = "next_action"
DEFAULT_PLOT_POINTS = 20


class NextAction(SliceMetric):
    """Metrics of `modules.evaluation.next_action_scores.METRICS`, calibration plots and the confusion of actions.

    The calibration plot without output name is of the top probability, the one of output `conversion` of the
    conversion probability of the action that was taken, `conversion_quantiles` the same in intervals of equal weight;
    the confusion has the output `actions`.
    """

    def __init__(self, plot_points: int = DEFAULT_PLOT_POINTS, name: str = DEFAULT_NAME, **bounds: Any) -> None:
        """Initializes the metric.

        Args:
          plot_points: intervals of the plot of conversion over [0, 1]; 0 for no plots. The top probability has 20.
          name: name of the metric as a whole; the metrics it yields keep their own names.
          **bounds: see `SliceMetric`.
        """
        super().__init__(NEXT_ACTION, NextActionAggregation(plot_points), plot_points=plot_points, name=name, **bounds)


@dataclasses.dataclass(frozen=True)
class NextActionAggregation:
    """Sums over decisions; a row is `next_action_statistics.COLUMNS`."""

    plot_points: int = DEFAULT_PLOT_POINTS

    def read(self, extracts: Mapping[str, Any], source: Source) -> np.ndarray:
        """float64 [n, len(COLUMNS)]."""
        if source.weighted:
            raise DataError("Decisions have no weights: leave the example weight key of the evaluation empty.")
        probabilities = model_matrix(extracts, source, PROBABILITIES)
        conversion = model_matrix(extracts, source, CONVERSION)
        n, num_actions = probabilities.shape
        if conversion.shape != probabilities.shape:
            raise DataError(
                f"The model's outputs {PROBABILITIES!r} and {CONVERSION!r} must have one value per action each, but "
                f"their shapes are {list(probabilities.shape)} and {list(conversion.shape)}."
            )
        _check_probabilities(probabilities)
        baselines = [transformed_values(extracts, source, name, n) for name in next_action_statistics.BASELINES]
        indices = np.stack([model_labels(extracts, source, n), *baselines], axis=1)
        wrong = (indices < next_action_statistics.UNKNOWN) | (indices >= num_actions)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            name = ("label", *next_action_statistics.BASELINES)[column]
            raise DataError(
                f"{name!r} must be the index of one of the {num_actions} actions of the model, or -1 for none, but "
                f"{int(wrong[:, column].sum())} of {n} are not; the first is {indices[row, column]}."
            )
        outcomes = raw_numbers(extracts, OUTCOME, n)
        wrong = ~(np.isnan(outcomes) | (outcomes == 0) | (outcomes == 1))
        if wrong.any():
            raise DataError(
                f"{OUTCOME!r} must be 0, 1 or absent, but {int(wrong.sum())} of {n} examples have another value; the "
                f"first is {outcomes[wrong.argmax()]:g}."
            )
        return next_action_statistics.rows_of(
            indices[:, 0], probabilities, conversion, outcomes, raw_numbers(extracts, HISTORY_LENGTH, n), indices[:, 1:]
        )

    def build_groups(
        self, groups: np.ndarray, num_groups: int, table: np.ndarray, rows: np.ndarray | None = None
    ) -> list[ActionStatistics]:
        """See `modules.evaluation.next_action_statistics.build_groups`."""
        return next_action_statistics.build_groups(groups, num_groups, table, rows)

    def builder(self) -> ActionBuilder:
        """An empty builder."""
        return ActionBuilder()

    def metrics(self, statistics: ActionStatistics) -> dict[str, float]:
        """See `modules.evaluation.next_action_scores`."""
        return next_action_scores.all_metrics(statistics)

    def plots(self, statistics: ActionStatistics) -> dict[PlotName, Any]:
        """Calibration of the top probability and of conversion."""
        if not self.plot_points:
            return {}
        count, probability, correct = statistics.reliability.T
        name = tfma_calibration_plot.CALIBRATION_PLOT_NAME
        return {
            (name, ""): plots.calibration_buckets(correct, probability, count),
            (name, CONVERSION): plots.calibration_plot(statistics.conversion, self.plot_points),
            (name, CONVERSION_QUANTILES): plots.quantile_plot(statistics.conversion),
            (tfma_confusion.MULTI_CLASS_CONFUSION_MATRIX_PLOT_NAME, ACTIONS): plots.action_confusion_plot(
                statistics.confusion
            ),
        }


def _check_probabilities(probabilities: np.ndarray) -> None:
    # Comparisons with NaN are false.
    wrong = ~((probabilities >= 0) & (probabilities <= 1 + 1e-5)).all(axis=1)
    wrong |= ~(np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1) < 1e-3)
    if wrong.any():
        row = probabilities[wrong.argmax()]
        raise DataError(
            f"The model's output {PROBABILITIES!r} must be a distribution over its actions, but {int(wrong.sum())} of "
            f"{len(probabilities)} rows are not: the first has values from {row.min():g} to {row.max():g} and sum "
            f"{row.sum():g}."
        )


def aggregation(config: Mapping[str, Any]) -> NextActionAggregation:
    """The aggregation of a metric with this configuration."""
    return NextActionAggregation(config.get("plot_points", DEFAULT_PLOT_POINTS))
