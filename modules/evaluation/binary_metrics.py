"""`BinaryClassification`: every metric of a binary classifier as one canonical TFMA metric with one combiner.

Named in an EvalConfig by class and module:

    metrics_specs {
      metrics {
        class_name: "BinaryClassification"
        module: "modules.evaluation.binary_metrics"
        config: '"threshold": 0.5, "min_slice_examples": 200'
      }
      thresholds { key: "auc" value { value_threshold { lower_bound { value: 0.7 } } } }
    }

Thresholds are set by metric name in `MetricsSpec.thresholds` and `MetricsSpec.per_slice_thresholds`. TFMA looks those
up under keys without an `example_weighted` flag, so the metrics carry none; when the ModelSpec has an example weight
key they are weighted.

It works with TFMA's stock extractors, one example at a time, and with `modules.evaluation.extractors`, which hand over
histograms of whole batches. Both give the same numbers.

Margins. TFMA fails a threshold in every slice where the metric is missing or NaN, and has no way to leave small
slices out of validation. So thresholds on slices are set on margins, 0 or above exactly where the slice passes:

    auc_margin        = auc - min            or max - metric
    auc_change_margin = (auc - baseline's auc) - least improvement, sign reversed where lower is better

A margin is 0, which passes, where the slice has fewer than `min_slice_examples` examples, where the metric is not
defined there (one label only), and, for changes, without a baseline.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import calibration_plot as tfma_calibration_plot
from tensorflow_model_analysis.metrics import confusion_matrix_plot as tfma_confusion_matrix_plot
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util

from modules.evaluation import curves, histogram, names, plots
from modules.evaluation.extracts import HISTOGRAMS_KEY, model_values

DEFAULT_NAME = "binary_classification"
DEFAULT_THRESHOLD = 0.5
DEFAULT_PLOT_POINTS = 100


class BinaryClassification(metric_types.Metric):
    """Metrics of `modules.evaluation.curves.METRICS`, a calibration plot and confusion matrices at thresholds."""

    def __init__(
        self,
        threshold: float = DEFAULT_THRESHOLD,
        plot_points: int = DEFAULT_PLOT_POINTS,
        min_slice_examples: int = 0,
        slice_min: Mapping[str, float] | None = None,
        slice_max: Mapping[str, float] | None = None,
        slice_change: Mapping[str, float] | None = None,
        name: str = DEFAULT_NAME,
    ) -> None:
        """Initializes the metric.

        Args:
          threshold: decision threshold, 0-1; a prediction above it counts as positive.
          plot_points: intervals of the plots over [0, 1]; 0 for no plots.
          min_slice_examples: slices with fewer examples are not judged by the margins.
          slice_min: per metric the lowest value that passes in a slice; gives `<metric>_margin`.
          slice_max: per metric the highest value that passes in a slice; gives `<metric>_margin`.
          slice_change: per metric the least improvement on the baseline, as a difference, positive is better whatever
            the metric; gives `<metric>_change_margin`.
          name: name of the metric as a whole; the metrics it yields keep their own names.
        """
        super().__init__(
            _computations,
            threshold=threshold,
            plot_points=plot_points,
            min_slice_examples=min_slice_examples,
            slice_min=dict(slice_min or {}),
            slice_max=dict(slice_max or {}),
            slice_change=dict(slice_change or {}),
            name=name,
        )


def _key(name: str, model_name: str) -> metric_types.MetricKey:
    return metric_types.MetricKey(name=name, model_name=model_name, example_weighted=None)


def _computations(
    threshold: float,
    plot_points: int,
    min_slice_examples: int,
    slice_min: dict[str, float],
    slice_max: dict[str, float],
    slice_change: dict[str, float],
    name: str = DEFAULT_NAME,
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: list[str] | None = None,
    output_names: list[str] | None = None,
    sub_keys: list | None = None,
    example_weighted: bool = False,
) -> list:
    del name
    if any(output_names or []) or any(sub_keys or []):
        raise ValueError(
            "BinaryClassification reads one probability per example; output_names, binarize and aggregate "
            f"are not supported, but received output_names={output_names}, sub_keys={sub_keys}."
        )
    specs = list(eval_config.model_specs) if eval_config else []
    models = model_names or [""]
    computations: list = []
    for model_name in models:
        spec = model_util.get_model_spec(eval_config, model_name) if eval_config else None
        computations.append(
            metric_types.MetricComputation(
                keys=[_key(metric, model_name) for metric in curves.METRICS],
                preprocessors=[
                    _HistogramPreprocessor(
                        model_name, spec.prediction_key if spec else "", len(specs) > 1, example_weighted, threshold
                    )
                ],
                combiner=_HistogramCombiner(model_name, plot_points),
            )
        )
    baseline = next((spec.name for spec in specs if spec.is_baseline), None)
    for model_name in models:
        if model_name != baseline:
            computations.append(
                metric_types.DerivedMetricComputation(
                    keys=[
                        *(_key(names.margin(metric), model_name) for metric in [*slice_min, *slice_max]),
                        *(_key(names.change_margin(metric), model_name) for metric in slice_change),
                    ],
                    result=functools.partial(
                        _margins, model_name, baseline, min_slice_examples, slice_min, slice_max, slice_change
                    ),
                )
            )
    return computations


def _margins(
    model_name: str,
    baseline: str | None,
    min_slice_examples: int,
    slice_min: dict[str, float],
    slice_max: dict[str, float],
    slice_change: dict[str, float],
    metrics: Mapping[metric_types.MetricKey, Any],
) -> dict[metric_types.MetricKey, float]:
    judged = metrics[_key("example_count", model_name)] >= min_slice_examples

    def margin(distance: float) -> float:
        return distance if judged and not math.isnan(distance) else 0.0

    result = {}
    for metric in {**slice_min, **slice_max}:
        value = metrics[_key(metric, model_name)]
        distance = min(value - slice_min.get(metric, -math.inf), slice_max.get(metric, math.inf) - value)
        result[_key(names.margin(metric), model_name)] = margin(distance)
    for metric, least in slice_change.items():
        distance = math.nan
        if baseline is not None:
            change = metrics[_key(metric, model_name)] - metrics[_key(metric, baseline)]
            distance = (-change if metric in curves.LOWER_IS_BETTER else change) - least
        result[_key(names.change_margin(metric), model_name)] = margin(distance)
    return result


class _HistogramPreprocessor(metric_types.Preprocessor):
    """Yields what the combiner of one model needs from an extract: a histogram.

    It runs before examples are fanned out to their slices, so an example is converted once.
    """

    def __init__(
        self, model_name: str, prediction_key: str, multi_model: bool, example_weighted: bool, threshold: float
    ) -> None:
        super().__init__(name=f"{type(self).__name__}_{model_name}_{example_weighted}_{threshold}")
        self._model_name = model_name
        self._prediction_key = prediction_key
        self._multi_model = multi_model
        self._example_weighted = example_weighted
        self._threshold = threshold

    def process(self, extracts: Mapping[str, Any]) -> Iterator[Any]:
        if HISTOGRAMS_KEY in extracts:
            yield extracts[HISTOGRAMS_KEY][self._model_name]
            return
        labels, predictions, weights = model_values(
            extracts, self._model_name, self._prediction_key, self._multi_model, self._example_weighted
        )
        yield labels.item(), predictions.item(), 1.0 if weights is None else weights.item(), self._threshold


class _Accumulator:
    """Single examples wait in a list until a few thousand can be turned into a histogram at once."""

    _LEAST_ROWS = 4096

    def __init__(self) -> None:
        self.builder = histogram.HistogramBuilder()
        self._rows: list[tuple[float, float, float, float]] = []

    def add_row(self, row: tuple[float, float, float, float]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._LEAST_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            labels, predictions, weights, thresholds = np.array(self._rows).T
            self.builder.add(histogram.build(labels, predictions, weights, threshold=thresholds[0]))
            self._rows = []

    def result(self) -> histogram.ScoreHistogram:
        self.flush()
        return self.builder.result()

    def __reduce__(self) -> tuple:
        return _accumulator_of, (self.result(),)


def _accumulator_of(of: histogram.ScoreHistogram) -> _Accumulator:
    accumulator = _Accumulator()
    accumulator.builder.add(of)
    return accumulator


class _HistogramCombiner(beam.CombineFn):
    """Merges the histograms of one model in one slice and derives its metrics and plots."""

    def __init__(self, model_name: str, plot_points: int) -> None:
        self._model_name = model_name
        self._plot_points = plot_points

    def create_accumulator(self) -> _Accumulator:
        return _Accumulator()

    def add_input(self, accumulator: _Accumulator, element: Any) -> _Accumulator:
        if isinstance(element, histogram.ScoreHistogram):
            accumulator.builder.add(element)
        else:
            accumulator.add_row(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        merged = _Accumulator()
        for accumulator in accumulators:
            merged.builder.add(accumulator.result())
        return merged

    def extract_output(self, accumulator: _Accumulator) -> dict:
        merged = accumulator.result()
        output: dict = {_key(name, self._model_name): value for name, value in curves.all_metrics(merged).items()}
        if self._plot_points:
            for name, plot in (
                (tfma_calibration_plot.CALIBRATION_PLOT_NAME, plots.calibration_plot),
                (tfma_confusion_matrix_plot.CONFUSION_MATRIX_PLOT_NAME, plots.confusion_matrix_plot),
            ):
                key = metric_types.PlotKey(name=name, model_name=self._model_name, example_weighted=None)
                output[key] = plot(merged, self._plot_points)
        return output
