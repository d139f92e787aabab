"""`SliceMetric`: all metrics of a family as one canonical TFMA metric with one combiner.

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
key they are weighted, if the family knows weights.

It works with TFMA's stock extractors, one example at a time, and with `modules.evaluation.extractors`, which hand over
statistics of whole batches. Both give the same numbers.

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
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util

from modules.evaluation import names
from modules.evaluation.aggregation import Aggregation, Builder, Source
from modules.evaluation.extracts import STATISTICS_KEY
from modules.evaluation.families import LOWER_IS_BETTER, MetricFamily

COUNT = "example_count"


class SliceMetric(metric_types.Metric):
    """Base of the metrics of the families."""

    def __init__(
        self,
        family: MetricFamily,
        aggregation: Aggregation,
        *,
        min_slice_examples: int = 0,
        slice_min: Mapping[str, float] | None = None,
        slice_max: Mapping[str, float] | None = None,
        slice_change: Mapping[str, float] | None = None,
        **config: Any,
    ) -> None:
        """Initializes the metric.

        Args:
          family: names of the metrics.
          aggregation: their arithmetic.
          min_slice_examples: slices with fewer examples are not judged by the margins.
          slice_min: per metric the lowest value that passes in a slice; gives `<metric>_margin`.
          slice_max: per metric the highest value that passes in a slice; gives `<metric>_margin`.
          slice_change: per metric the least improvement on the baseline, as a difference, positive is better whatever
            the metric; gives `<metric>_change_margin`.
          **config: the other arguments of the subclass, `name` included.
        """
        self._family = family
        self._aggregation = aggregation
        self._bounds = {
            "slice_min": dict(slice_min or {}),
            "slice_max": dict(slice_max or {}),
            "slice_change": dict(slice_change or {}),
        }
        self._min_slice_examples = min_slice_examples
        super().__init__(self._create, min_slice_examples=min_slice_examples, **self._bounds, **config)

    def _create(
        self,
        eval_config: config_pb2.EvalConfig | None = None,
        model_names: list[str] | None = None,
        output_names: list[str] | None = None,
        sub_keys: list | None = None,
        example_weighted: bool = False,
        **_: Any,
    ) -> list:
        if any(output_names or []) or any(sub_keys or []):
            raise ValueError(
                f"{self._family.class_name} reads one model per example; output_names, binarize and aggregate are "
                f"not supported, but received output_names={output_names}, sub_keys={sub_keys}."
            )
        specs = list(eval_config.model_specs) if eval_config else []
        models = model_names or [""]
        computations: list = []
        for model_name in models:
            spec = model_util.get_model_spec(eval_config, model_name) if eval_config else None
            source = Source(model_name, spec.prediction_key if spec else "", len(specs) > 1, example_weighted)
            computations.append(
                metric_types.MetricComputation(
                    keys=[_key(metric, model_name) for metric in self._family.metrics],
                    preprocessors=[_Preprocessor(self._aggregation, source, self._family.class_name)],
                    combiner=_Combiner(self._aggregation, model_name),
                )
            )
        baseline = next((spec.name for spec in specs if spec.is_baseline), None)
        bounds = self._bounds
        for model_name in models:
            if model_name != baseline:
                computations.append(
                    metric_types.DerivedMetricComputation(
                        keys=[
                            *(
                                _key(names.margin(metric), model_name)
                                for metric in [*bounds["slice_min"], *bounds["slice_max"]]
                            ),
                            *(_key(names.change_margin(metric), model_name) for metric in bounds["slice_change"]),
                        ],
                        result=functools.partial(_margins, model_name, baseline, self._min_slice_examples, **bounds),
                    )
                )
        return computations


def _key(name: str, model_name: str) -> metric_types.MetricKey:
    return metric_types.MetricKey(name=name, model_name=model_name, example_weighted=None)


def _margins(
    model_name: str,
    baseline: str | None,
    min_slice_examples: int,
    metrics: Mapping[metric_types.MetricKey, Any],
    *,
    slice_min: dict[str, float],
    slice_max: dict[str, float],
    slice_change: dict[str, float],
) -> dict[metric_types.MetricKey, float]:
    judged = metrics[_key(COUNT, model_name)] >= min_slice_examples

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
            distance = (-change if metric in LOWER_IS_BETTER else change) - least
        result[_key(names.change_margin(metric), model_name)] = margin(distance)
    return result


class _Preprocessor(metric_types.Preprocessor):
    """Yields what the combiner of one model needs from an extract: statistics, or the row of one example.

    It runs before examples are fanned out to their slices, so an example is converted once.
    """

    def __init__(self, aggregation: Aggregation, source: Source, family: str) -> None:
        super().__init__(name=f"{family}_{source}")
        self._aggregation = aggregation
        self._source = source

    def process(self, extracts: Mapping[str, Any]) -> Iterator[Any]:
        if STATISTICS_KEY in extracts:
            yield extracts[STATISTICS_KEY][self._source.model_name]
        else:
            yield self._aggregation.read(extracts, self._source)


class _Accumulator:
    """Single examples wait in a list until a few thousand can be added up at once."""

    _LEAST_ROWS = 4096

    def __init__(self, aggregation: Aggregation) -> None:
        self._aggregation = aggregation
        self.builder: Builder = aggregation.builder()
        self._rows: list[np.ndarray] = []

    def add_row(self, row: np.ndarray) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._LEAST_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            table = np.concatenate(self._rows)
            (statistics,) = self._aggregation.build_groups(np.zeros(len(table), np.int64), 1, table)
            self.builder.add(statistics)
            self._rows = []

    def result(self) -> Any:
        self.flush()
        return self.builder.result()

    def __reduce__(self) -> tuple:
        return _accumulator_of, (self._aggregation, self.result())


def _accumulator_of(aggregation: Aggregation, statistics: Any) -> _Accumulator:
    accumulator = _Accumulator(aggregation)
    accumulator.builder.add(statistics)
    return accumulator


class _Combiner(beam.CombineFn):
    """Merges the statistics of one model in one slice and derives its metrics and plots."""

    def __init__(self, aggregation: Aggregation, model_name: str) -> None:
        self._aggregation = aggregation
        self._model_name = model_name

    def create_accumulator(self) -> _Accumulator:
        return _Accumulator(self._aggregation)

    def add_input(self, accumulator: _Accumulator, element: Any) -> _Accumulator:
        if isinstance(element, np.ndarray):
            accumulator.add_row(element)
        else:
            accumulator.builder.add(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.builder.add(accumulator.result())
        return merged

    def extract_output(self, accumulator: _Accumulator) -> dict:
        statistics = accumulator.result()
        metrics = self._aggregation.metrics(statistics)
        output: dict = {_key(name, self._model_name): value for name, value in metrics.items()}
        for (name, output_name), plot in self._aggregation.plots(statistics).items():
            key = metric_types.PlotKey(
                name=name, model_name=self._model_name, output_name=output_name, example_weighted=None
            )
            output[key] = plot
        return output
