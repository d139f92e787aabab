"""Signatures of a SavedModel, read from its file without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    key: its name in requests. name: the tensor in the graph. shape: None for unknown sizes.
    """

    key: str
    name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    @property
    def numpy_dtype(self) -> np.dtype:
        """Dtype of arrays that hold it; strings are objects."""
        return np.dtype(object) if self.dtype == tf.string else np.dtype(self.dtype.as_numpy_dtype)


@dataclass(frozen=True)
class Signature:
    """A signature: method is the full method name, e.g. tensorflow/serving/predict."""

    name: str
    method: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def output(self, key: str) -> Tensor | None:
        return next((t for t in self.outputs if t.key == key), None)


def read_signatures(model_dir: str | Path) -> dict[str, Signature]:
    """Signatures of the `serve` graph by name, without the initialisation op.

    Raises:
      ValueError: there is no saved_model.pb, or no graph tagged `serve`.
    """
    path = Path(model_dir) / "saved_model.pb"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a SavedModel")
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graphs = [m for m in proto.meta_graphs if tf.saved_model.SERVING in m.meta_info_def.tags]
    if not graphs:
        raise ValueError(f"{path}: no graph with the tag 'serve'")
    result = {}
    for name, definition in sorted(graphs[0].signature_def.items()):
        if name.startswith("__saved_model_"):
            continue
        result[name] = Signature(
            name, definition.method_name, _tensors(definition.inputs), _tensors(definition.outputs)
        )
    return result


def _tensors(infos) -> tuple[Tensor, ...]:
    result = []
    for key, info in sorted(infos.items()):
        shape = None
        if not info.tensor_shape.unknown_rank:
            shape = tuple(None if d.size < 0 else int(d.size) for d in info.tensor_shape.dim)
        result.append(Tensor(key, info.name, tf.as_dtype(info.dtype), shape))
    return tuple(result)
