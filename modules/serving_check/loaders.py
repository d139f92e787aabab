"""The two ways a SavedModel is loaded in practice, behind one call."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from modules.serving_check.signatures import Signature

Outputs = dict[str, np.ndarray]


class LoadedModel(Protocol):
    """Answers a signature: arrays by input key in, arrays by output key out; strings are objects."""

    def run(self, signature: Signature, feeds: Mapping[str, np.ndarray]) -> Outputs: ...


class SessionModel:
    """Loaded into a fresh session, as TensorFlow Serving and BulkInferrer do."""

    def __init__(self, model_dir: str | Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            tf.compat.v1.saved_model.loader.load(self._session, [tf.saved_model.SERVING], str(model_dir))

    def run(self, signature: Signature, feeds: Mapping[str, np.ndarray]) -> Outputs:
        values = self._session.run(
            {t.key: t.name for t in signature.outputs}, {t.name: feeds[t.key] for t in signature.inputs}
        )
        return {key: np.asarray(value) for key, value in values.items()}

    def time(self, signature: Signature, feeds: list[Mapping[str, np.ndarray]], warm_up: int = 10) -> np.ndarray:
        """Milliseconds of each request, float64 `[len(feeds)]`, after `warm_up` untimed ones."""
        call = self._session.make_callable(
            [t.name for t in signature.outputs], feed_list=[t.name for t in signature.inputs]
        )
        ordered = [[feed[t.key] for t in signature.inputs] for feed in feeds]
        for values in ordered[:warm_up]:
            call(*values)
        result = np.empty(len(ordered))
        for i, values in enumerate(ordered):
            start = time.perf_counter()
            call(*values)
            result[i] = time.perf_counter() - start
        return 1000 * result


class EagerModel:
    """Loaded with `tf.saved_model.load`, as TensorFlow Model Analysis does."""

    def __init__(self, model_dir: str | Path) -> None:
        self._model = tf.saved_model.load(str(model_dir), tags=[tf.saved_model.SERVING])

    def run(self, signature: Signature, feeds: Mapping[str, np.ndarray]) -> Outputs:
        tensors = {t.key: tf.constant(feeds[t.key], t.dtype) for t in signature.inputs}
        values = self._model.signatures[signature.name](**tensors)
        return {key: value.numpy() for key, value in values.items()}
