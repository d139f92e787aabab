"""Extractors for the stock Evaluator that hand whole batches to the metric of a family.

`Evaluator(..., module_path="modules.evaluation.extractors")` makes TFX call `custom_extractors`. Features, labels,
weights and predictions come from TFMA's own extractors, so the model is evaluated exactly as without this module. Only
the last two steps are replaced: instead of taking batches apart, and counting each example once per slice and metric,
one step keeps statistics per slice and model (`modules.evaluation.aggregation`) and passes on those. Results equal
those of the stock extractors; where the EvalConfig asks for anything that needs single examples, the stock extractors
are what `custom_extractors` returns.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms import window
from apache_beam.utils import windowed_value
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.extractors import extractor, slice_key_extractor, unbatch_extractor
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from modules.evaluation import slices
from modules.evaluation.aggregation import Aggregation, Builder, Source
from modules.evaluation.extracts import STATISTICS_KEY
from modules.evaluation.families import family_metric

_REPLACED_STAGES = (
    unbatch_extractor.UNBATCH_EXTRACTOR_STAGE_NAME,
    slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
)

# What TensorFlow's own parsing signatures call their input, and this project's models too.
_SERIALIZED_INPUT = "examples"

# Examples gathered before they are added up: many batches at once cost little more than one.
_BUFFERED_EXAMPLES = 1 << 15

# Numbers of all slices together after which statistics are passed on rather than kept; 20 bytes each at most.
_KEPT_BINS = 1 << 22


def custom_extractors(
    eval_shared_model: Any, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any = None
) -> list[extractor.Extractor]:
    """Extractors for `eval_config`; TFX's Evaluator looks this function up by name.

    Args:
      eval_shared_model: the model, or a list of candidate and baseline.
      eval_config: what to evaluate.
      tensor_adapter_config: how to read tensors from Arrow, None without a schema.
    """
    stock = model_eval_lib.default_extractors(
        eval_shared_model=eval_shared_model, eval_config=eval_config, tensor_adapter_config=tensor_adapter_config
    )
    if not can_aggregate(eval_config):
        return stock
    kept = [stage for stage in stock if stage.stage_name not in _REPLACED_STAGES]
    # Features are extracted first.
    return [kept[0], _serialized_input_extractor(), *kept[1:], slice_statistics_extractor(eval_config)]


def can_aggregate(eval_config: config_pb2.EvalConfig) -> bool:
    """Whether statistics per slice are all that `eval_config` needs: the metric of one family, and plain slices.

    Confidence intervals resample examples, `min_slice_size` counts them, a query key and SQL slices look into them.
    """
    options = eval_config.options
    specs = eval_config.metrics_specs
    return (
        len(specs) == 1
        and len(specs[0].metrics) == 1
        and family_metric(eval_config) is not None
        and not specs[0].query_key
        and not (specs[0].example_weights.weighted and specs[0].example_weights.unweighted)
        and not eval_config.cross_slicing_specs
        and not any(spec.slice_keys_sql for spec in eval_config.slicing_specs)
        and not options.compute_confidence_intervals.value
        and options.min_slice_size.value <= 1
    )


def _aggregation(eval_config: config_pb2.EvalConfig) -> Aggregation:
    found = family_metric(eval_config)
    assert found is not None
    family, metric = found
    return importlib.import_module(family.module).aggregation(json.loads(metric.config or "{}"))


def slice_statistics_extractor(eval_config: config_pb2.EvalConfig) -> extractor.Extractor:
    """The extractor that turns batches into statistics per slice. It takes the place and name of slice keys."""
    return extractor.Extractor(
        stage_name=slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
        ptransform=_AggregateSlices(eval_config),
    )


def _serialized_input_extractor() -> extractor.Extractor:
    """Offers the serialized examples to the model by name as well.

    TFMA calls a signature by position when its input is not among the features. TensorFlow then first fails to match
    the argument by name, printing the whole batch into an error message that nobody sees, which takes longer than a
    small model. It can go once TFMA passes serialized examples by name.
    """
    return extractor.Extractor(
        stage_name="ExtractSerializedInput", ptransform=beam.Map(_with_serialized_input).with_output_types(Any)
    )


def _with_serialized_input(extracts: Mapping[str, Any]) -> Mapping[str, Any]:
    features = extracts.get(constants.FEATURES_KEY) or {}
    serialized = extracts.get(constants.INPUT_KEY)
    if serialized is None or _SERIALIZED_INPUT in features:
        return extracts
    return {**extracts, constants.FEATURES_KEY: {**features, _SERIALIZED_INPUT: serialized}}


class _AggregateSlices(beam.PTransform):
    def __init__(self, eval_config: config_pb2.EvalConfig) -> None:
        super().__init__()
        self._eval_config = eval_config

    def expand(self, extracts: beam.PCollection) -> beam.PCollection:
        return extracts | "SliceStatistics" >> beam.ParDo(_SliceStatisticsFn(self._eval_config))


class _SliceStatisticsFn(beam.DoFn):
    """Keeps statistics per slice and model over a bundle and emits one extract per slice at its end."""

    def __init__(self, eval_config: config_pb2.EvalConfig) -> None:
        models = list(eval_config.model_specs)
        metrics = eval_config.metrics_specs[0]
        self._aggregation = _aggregation(eval_config)
        weighted = (
            metrics.example_weights.weighted
            if metrics.HasField("example_weights")
            else any(spec.example_weight_key for spec in models)
        )
        nested = len(models) > 1
        self._models = [Source(spec.name if nested else "", spec.prediction_key, nested, weighted) for spec in models]
        self._specs = list(eval_config.slicing_specs) or [config_pb2.SlicingSpec()]
        self._examples = beam.metrics.Metrics.counter(constants.METRICS_NAMESPACE, "num_aggregated_examples")

    def start_bundle(self) -> None:
        self._start()

    def _start(self) -> None:
        self._index: dict[slices.SliceKey, int] = {}
        self._kept: list[dict[str, Builder]] = []
        self._clear_buffer()

    def _clear_buffer(self) -> None:
        self._size = 0
        self._tables: dict[str, list[np.ndarray]] = {source.model_name: [] for source in self._models}
        self._rows: list[np.ndarray] = []
        self._groups: list[np.ndarray] = []

    def process(self, extracts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        size = 0
        for source in self._models:
            table = self._aggregation.read(extracts, source)
            self._tables[source.model_name].append(table)
            size = len(table)
        self._examples.inc(size)
        seen = set()
        for members in slices.slice_members(self._feature_batches(extracts), size, self._specs):
            # Two specs may yield the same slice; it counts once.
            fresh = np.array([key not in seen for key in members.keys], dtype=bool)
            seen.update(members.keys)
            ids = np.array([self._slice_index(key) for key in members.keys], dtype=np.int64)
            member = fresh[members.groups]
            self._rows.append(members.rows[member] + self._size)
            self._groups.append(ids[members.groups[member]])
        self._size += size
        if self._size >= _BUFFERED_EXAMPLES:
            self._aggregate()
            if sum(builder.num_bins for kept in self._kept for builder in kept.values()) > _KEPT_BINS:
                yield from self._emit()

    def finish_bundle(self) -> Iterator[windowed_value.WindowedValue]:
        if self._size:
            self._aggregate()
        for extract in self._emit():
            yield window.GlobalWindows.windowed_value(extract)

    def _feature_batches(self, extracts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Transformed features first, as TFMA does; with two models they are nested by model."""
        transformed = extracts.get(constants.TRANSFORMED_FEATURES_KEY) or {}
        if len(self._models) > 1:
            named = (transformed.get(source.model_name) for source in self._models)
            batches = [batch for batch in named if batch]
        else:
            batches = [transformed] if transformed else []
        return [*batches, extracts.get(constants.FEATURES_KEY) or {}]

    def _slice_index(self, key: slices.SliceKey) -> int:
        if key not in self._index:
            self._index[key] = len(self._kept)
            self._kept.append({source.model_name: self._aggregation.builder() for source in self._models})
        return self._index[key]

    def _aggregate(self) -> None:
        rows, groups = np.concatenate(self._rows), np.concatenate(self._groups)
        # Only slices that occur in the buffer, however many there were before.
        present, groups = np.unique(groups, return_inverse=True)
        for source in self._models:
            table = np.concatenate(self._tables[source.model_name])
            built = self._aggregation.build_groups(groups, present.size, table, rows)
            for index, new in zip(present.tolist(), built, strict=True):
                self._kept[index][source.model_name].add(new)
        self._clear_buffer()

    def _emit(self) -> Iterator[Mapping[str, Any]]:
        for key, index in self._index.items():
            yield {
                constants.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([key]),
                STATISTICS_KEY: {name: builder.result() for name, builder in self._kept[index].items()},
            }
        self._start()
