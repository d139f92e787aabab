"""The Evaluator's records, read without importing TensorFlow Model Analysis.

Its generated protos need nothing but protobuf, while importing the package brings TensorFlow and Beam along, which
takes longer than everything else a report does.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import struct
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

# What the protos refer to.
from google.protobuf import any_pb2, json_format, struct_pb2, wrappers_pb2  # noqa: F401

from modules.errors import DataError

_PACKAGE = "tensorflow_model_analysis"
_HEADER = struct.Struct("<QI")
_FOOTER = 4


@dataclass(frozen=True)
class Records:
    """What an Evaluator wrote, as TFMA's messages.

    Attributes:
      config: EvalConfig, with the baseline's ModelSpec if there was one.
      metrics: MetricsForSlice, one per slice.
      plots: PlotsForSlice, one per slice and plot key.
      result: ValidationResult; None when nothing was validated.
    """

    config: Any
    metrics: tuple[Any, ...]
    plots: tuple[Any, ...]
    result: Any | None


def read_records(evaluation: Path | str) -> Records:
    """Reads the directory of a ModelEvaluation artifact.

    Raises:
      DataError: it holds no evaluation, or a damaged one.
    """
    folder = Path(evaluation)
    config_file = folder / "eval_config.json"
    if not config_file.is_file() or not any(folder.glob("metrics*")):
        raise DataError(
            f"Expected the output of an Evaluator in {folder}, but it has no metrics. Point to the directory of a "
            "ModelEvaluation artifact, such as artifacts/<model>/Evaluator/evaluation/<n>."
        )
    config_pb2, metrics_pb2, validation_pb2 = _protos()
    run = json.loads(config_file.read_text())
    config = json_format.ParseDict(run["evalConfig"], config_pb2.EvalConfig(), ignore_unknown_fields=True)
    results = list(_messages(folder, "validations*", validation_pb2.ValidationResult))
    return Records(
        config=config,
        metrics=tuple(_messages(folder, "metrics*", metrics_pb2.MetricsForSlice)),
        plots=tuple(_messages(folder, "plots*", metrics_pb2.PlotsForSlice)),
        result=results[0] if results else None,
    )


def _messages(folder: Path, pattern: str, message: Any) -> Iterator[Any]:
    for path in sorted(folder.glob(pattern)):
        for record in _records(path):
            yield message.FromString(record)


def _records(path: Path) -> Iterator[bytes]:
    """The records of an uncompressed TFRecord file."""
    with open(path, "rb") as file:
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise DataError(f"{path} ends within a record; evaluate the model again (--fresh)")
            length, _ = _HEADER.unpack(header)
            record = file.read(length)
            if len(record) < length or len(file.read(_FOOTER)) < _FOOTER:
                raise DataError(f"{path} ends within a record; evaluate the model again (--fresh)")
            yield record


@cache
def _protos() -> tuple[Any, Any, Any]:
    """TFMA's generated modules: config, metrics_for_slice, validation_result."""
    names = [f"{_PACKAGE}.proto.{name}_pb2" for name in ("config", "metrics_for_slice", "validation_result")]
    if _PACKAGE not in sys.modules:
        spec = importlib.util.find_spec(_PACKAGE)
        assert spec is not None and spec.submodule_search_locations is not None
        # Stands for the package while its protos are imported, so that its own __init__ does not run.
        stand_in = types.ModuleType(_PACKAGE)
        stand_in.__path__ = list(spec.submodule_search_locations)
        sys.modules[_PACKAGE] = stand_in
        try:
            found = tuple(importlib.import_module(name) for name in names)
        finally:
            # Whoever imports the package later gets the real one.
            for name in [n for n in sys.modules if n.split(".")[0] == _PACKAGE]:
                del sys.modules[name]
    else:
        found = tuple(importlib.import_module(name) for name in names)
    return found[0], found[1], found[2]
