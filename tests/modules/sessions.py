"""A SavedModel loaded in the two ways TensorFlow Serving's C++ loader can be had in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modules.native.protos import MetaGraphDef
from modules.native.session import Session


class GraphSession:
    """Through tf.compat.v1.saved_model.loader."""

    def __init__(self, path: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            meta = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(path))
        self.signatures = meta.signature_def
        self.graph_def = meta.graph_def

    def __call__(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        found = self.signatures[signature]
        feeds = {found.inputs[name].name: value for name, value in inputs.items()}
        return self._session.run({k: v.name for k, v in found.outputs.items()}, feeds)


class NativeSession:
    """Through TensorFlow's C library."""

    def __init__(self, path: Path) -> None:
        self._session = Session(path)
        self.signatures = MetaGraphDef.FromString(self._session.meta_graph).signature_def

    def __call__(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        found = self.signatures[signature]
        feeds = [(found.inputs[name].name, found.inputs[name].dtype) for name in inputs]
        run = self._session.function(feeds, [value.name for value in found.outputs.values()])
        arrays = [v if isinstance(v, np.ndarray) else np.array(v, object) for v in inputs.values()]
        return dict(zip(found.outputs, run(arrays), strict=True))

    def close(self) -> None:
        self._session.close()
