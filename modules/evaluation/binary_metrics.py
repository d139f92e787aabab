"""`BinaryClassification`: every metric of a binary classifier as one canonical TFMA metric.

How it is named in an EvalConfig, and what margins are: `modules.evaluation.slice_metric`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow_model_analysis.metrics import calibration_plot as tfma_calibration_plot
from tensorflow_model_analysis.metrics import confusion_matrix_plot as tfma_confusion_matrix_plot

from modules.errors import DataError
from modules.evaluation import curves, histogram, names, plots
from modules.evaluation.aggregation import PlotName, Source
from modules.evaluation.extracts import model_values
from modules.evaluation.families import BINARY
from modules.evaluation.slice_metric import SliceMetric

DEFAULT_NAME = "binary_classification"
DEFAULT_THRESHOLD = 0.5
DEFAULT_PLOT_POINTS = 100


class BinaryClassification(SliceMetric):
    """Metrics of `modules.evaluation.curves.METRICS`, two calibration plots and confusion matrices at thresholds.

    The intervals of one calibration plot are equally wide, those of the other, of output `quantiles`, equally heavy.
    """

    def __init__(
        self,
        threshold: float = DEFAULT_THRESHOLD,
        plot_points: int = DEFAULT_PLOT_POINTS,
        name: str = DEFAULT_NAME,
        **bounds: Any,
    ) -> None:
        """Initializes the metric.

        Args:
          threshold: decision threshold, 0-1; a prediction above it counts as positive.
          plot_points: intervals of the plots over [0, 1]; 0 for no plots.
          name: name of the metric as a whole; the metrics it yields keep their own names.
          **bounds: see `SliceMetric`.
        """
        super().__init__(
            BINARY,
            BinaryAggregation(threshold, plot_points),
            threshold=threshold,
            plot_points=plot_points,
            name=name,
            **bounds,
        )


@dataclasses.dataclass(frozen=True)
class BinaryAggregation:
    """Histograms of predictions by label; a row is label, prediction and weight."""

    threshold: float = DEFAULT_THRESHOLD
    plot_points: int = DEFAULT_PLOT_POINTS

    def read(self, extracts: Mapping[str, Any], source: Source) -> np.ndarray:
        """float64 [n, 3]."""
        labels, predictions, weights = model_values(extracts, source)
        columns = [labels, predictions, np.ones(labels.size) if weights is None else weights]
        try:
            return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
        except ValueError as error:
            raise DataError(
                f"Labels, predictions and weights must be numbers: {error}. Check the label key of the evaluation and "
                "how ingest maps the label."
            ) from error

    def build_groups(
        self, groups: np.ndarray, num_groups: int, table: np.ndarray, rows: np.ndarray | None = None
    ) -> list[histogram.ScoreHistogram]:
        """See `modules.evaluation.histogram.build_groups`."""
        labels, predictions, weights = table.T
        return histogram.build_groups(groups, num_groups, labels, predictions, weights, self.threshold, rows=rows)

    def builder(self) -> histogram.HistogramBuilder:
        """An empty builder."""
        return histogram.HistogramBuilder()

    def metrics(self, statistics: histogram.ScoreHistogram) -> dict[str, float]:
        """See `modules.evaluation.curves`."""
        return curves.all_metrics(statistics)

    def plots(self, statistics: histogram.ScoreHistogram) -> dict[PlotName, Any]:
        """Calibration and confusion matrices."""
        if not self.plot_points:
            return {}
        return {
            (tfma_calibration_plot.CALIBRATION_PLOT_NAME, ""): plots.calibration_plot(statistics, self.plot_points),
            (tfma_confusion_matrix_plot.CONFUSION_MATRIX_PLOT_NAME, ""): plots.confusion_matrix_plot(
                statistics, self.plot_points
            ),
            (tfma_calibration_plot.CALIBRATION_PLOT_NAME, names.QUANTILES): plots.quantile_plot(statistics),
        }


def aggregation(config: Mapping[str, Any]) -> BinaryAggregation:
    """The aggregation of a metric with this configuration."""
    return BinaryAggregation(config.get("threshold", DEFAULT_THRESHOLD), config.get("plot_points", DEFAULT_PLOT_POINTS))
