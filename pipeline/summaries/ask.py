"""A few examples of the test part, answered by the pushed model as TensorFlow Serving loads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.pipeline import EVALUATED_SPLIT

SHOWN = 5


@dataclass(frozen=True)
class Asked:
    """n examples and the outputs of `serving_default` for them.

    Attributes:
      features: tf.train.Feature by name, one mapping per example.
      outputs: arrays [n, ...] by name.
    """

    features: list[Any]
    outputs: dict[str, np.ndarray]


def ask(model: Path, examples: Path, count: int = SHOWN) -> Asked:
    """The answers to the first `count` examples of the test part of an Examples artifact."""
    import tensorflow as tf

    records: list[bytes] = []
    for file in sorted((examples / f"Split-{EVALUATED_SPLIT}").iterdir()):
        compression = "GZIP" if file.suffix == ".gz" else ""
        records += tf.data.TFRecordDataset(str(file), compression).take(count - len(records)).as_numpy_iterator()
        if len(records) == count:
            break
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(model))
        signature = graph.signature_def["serving_default"]
        outputs = {key: info.name for key, info in signature.outputs.items()}
        got = session.run(outputs, {signature.inputs["examples"].name: records})
    return Asked([tf.train.Example.FromString(record).features.feature for record in records], got)
