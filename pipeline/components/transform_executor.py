"""Executor for TFX's Transform that learns vocabularies and moments in one columnar pass.

The stock executor reads records one by one in Python and traces the preprocessing function for every Beam stage. This
one learns first (modules/analysis.py), hands what it learned to `preprocessing_fn`, and leaves the rest to the stock
executor, which finds nothing to analyse and writes the Transform graph without a Beam pipeline. What there is to learn
says the function `analysis` beside the preprocessing function; without one everything is as in the stock executor.
Inputs, outputs and execution properties are the stock ones; a preprocessing function with further tft analyzers
still gets its analysis pass.
"""

from __future__ import annotations

import functools
import inspect
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorflow_transform import analyzer_nodes, impl_helper
from tfx import types
from tfx.components.transform import executor, executor_utils
from tfx.types import artifact_utils, standard_component_specs

from modules.analysis import VOCABULARY_FILES, learn
from modules.transform_graph import write_asset_map


class _Processor(executor.TransformProcessor):
    """Writes the graph in place when it holds no analyzer, lookups or not.

    The stock check takes every lookup table in the graph for something to analyse (its reads are control outputs of
    the traced function) and reads all rows for nothing.
    """

    def _RunBeamImpl(self, *args: Any, **kwargs: Any) -> Any:
        call = inspect.signature(super()._RunBeamImpl).bind(*args, **kwargs).arguments
        specs = call["analyze_data_list"][0].tfxio.TensorAdapter().OriginalTypeSpecs()
        plain = call["disable_statistics"] and not call["materialization_format"] and not call["force_tf_compat_v1"]
        bound = getattr(call["preprocessing_fn"], "keywords", {}).get("custom_config", {})
        if not plain or VOCABULARY_FILES not in bound or _has_analyzers(call["preprocessing_fn"], specs):
            return super()._RunBeamImpl(*args, **kwargs)
        path = call["transform_output_path"]
        status = self._RunInPlaceImpl(call["preprocessing_fn"], False, call["input_dataset_metadata"], specs, path)
        write_asset_map(bound, Path(path))
        return status


def _has_analyzers(preprocessing_fn: Callable[..., Any], specs: Mapping[str, Any]) -> bool:
    graph, _, _ = impl_helper.trace_preprocessing_function(preprocessing_fn, specs, use_tf_compat_v1=False)
    return bool(graph.get_collection(analyzer_nodes.TENSOR_REPLACEMENTS))


class Executor(executor.Executor):
    """Transform with a fast analysis pass for preprocessing functions that have an `analysis` beside them."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the stock executor; the analysed splits must hold tf.Examples in TFRecord files."""
        examples = input_dict[standard_component_specs.EXAMPLES_KEY]
        splits = executor_utils.ResolveSplitsConfig(
            exec_properties.get(standard_component_specs.SPLITS_CONFIG_KEY), examples
        )
        self._patterns = [f"{u}/*" for split in splits.analyze for u in artifact_utils.get_split_uris(examples, split)]
        # The stock Do names its processor as a global and offers no other way to choose one.
        stock = executor.TransformProcessor
        executor.TransformProcessor = _Processor
        try:
            with tempfile.TemporaryDirectory(prefix="vocabularies-") as self._folder:
                super().Do(input_dict, output_dict, exec_properties)
        finally:
            executor.TransformProcessor = stock

    def _GetPreprocessingFn(self, inputs: Mapping[str, Any], unused_outputs: Mapping[str, Any]) -> Callable[..., Any]:
        # Hook of the stock executor: called once, before anything is traced.
        bound = super()._GetPreprocessingFn(inputs, unused_outputs)
        if not isinstance(bound, functools.partial):
            return bound
        analysis = getattr(inspect.getmodule(bound.func), "analysis", None)
        if analysis is None:
            return bound
        custom_config = bound.keywords["custom_config"]
        learned = learn(self._patterns, analysis(custom_config), self._folder, self._make_beam_pipeline)
        return functools.partial(bound.func, custom_config={**custom_config, **learned})
