"""Writes a Transform graph from what has already been learned, without a pipeline and without looking at the data."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import impl_helper
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

from modules.analysis import VOCABULARY_FILES


def write_graph(
    preprocessing_fn: Callable[..., Any], custom_config: Mapping[str, Any], schema: schema_pb2.Schema, path: Path
) -> tft.TFTransformOutput:
    """What the executor of Transform writes for the same function, configuration and schema.

    Args:
      preprocessing_fn: leaves nothing to analyse under this configuration.
      custom_config: of the function, with what `modules.analysis.learn` found.
      schema: of the raw examples.
      path: directory of the Transform graph; created.

    Raises:
      RuntimeError: the function still has analyzers.
    """
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(schema), str(path / tft.TFTransformOutput.RAW_METADATA_DIR)
    )
    specs = schema_utils.schema_as_feature_spec(schema).feature_spec
    impl_helper.analyze_in_place(
        functools.partial(preprocessing_fn, custom_config=dict(custom_config)),
        False,
        specs,
        impl_helper.get_type_specs_from_feature_specs(specs),
        str(path),
    )
    write_asset_map(custom_config, path)
    return tft.TFTransformOutput(str(path))


def write_asset_map(custom_config: Mapping[str, Any], path: Path) -> None:
    """Records which vocabulary lies in which asset; writing in place leaves that out, Beam's writer does it."""
    assets = {name: Path(file).name for name, file in custom_config[VOCABULARY_FILES].items()}
    asset_map = path / tft.TFTransformOutput.TRANSFORMED_METADATA_DIR / tft.TFTransformOutput.ASSET_MAP
    asset_map.write_text(json.dumps(assets))
