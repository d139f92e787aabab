"""Warm-up requests of TensorFlow Serving: TFRecords of PredictionLog, one per signature and batch size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import prediction_log_pb2

from modules.serving_check.requests import build_feeds
from modules.serving_check.signatures import Signature


def write_warmup(
    path: str | Path,
    model_name: str,
    signatures: Iterable[Signature],
    records: Sequence[bytes],
    batch_sizes: Iterable[int],
    names: Iterable[str],
) -> int:
    """Writes the file that TensorFlow Serving replays before a version takes traffic.

    Args:
      path: usually `<version>/assets.extra/tf_serving_warmup_requests`.
      model_name: servable the requests name.
      signatures: Predict, Classify and Regress signatures.
      records: serialized tf.Examples to ask about.
      batch_sizes: rows per request; 0 is left out.
      names: feature names of the records.

    Returns:
      Number of requests written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature in signatures:
            for size in sorted({min(s, len(records)) for s in batch_sizes if s > 0}):
                log = prediction_log(model_name, signature, records[:size], names)
                writer.write(log.SerializeToString(deterministic=True))
                written += 1
    return written


def prediction_log(
    model_name: str, signature: Signature, records: Sequence[bytes], names: Iterable[str]
) -> prediction_log_pb2.PredictionLog:
    """One request as TensorFlow Serving logs it; the method name decides which kind."""
    log = prediction_log_pb2.PredictionLog()
    if signature.method == tf.saved_model.CLASSIFY_METHOD_NAME:
        request = log.classify_log.request
    elif signature.method == tf.saved_model.REGRESS_METHOD_NAME:
        request = log.regress_log.request
    else:
        request = log.predict_log.request
        _fill(request.inputs, build_feeds(signature, records, names), signature)
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature.name
    if signature.method in (tf.saved_model.CLASSIFY_METHOD_NAME, tf.saved_model.REGRESS_METHOD_NAME):
        request.input.example_list.examples.extend(Example.FromString(record) for record in records)
    return log


def _fill(inputs, feeds: Mapping[str, np.ndarray], signature: Signature) -> None:
    for tensor in signature.inputs:
        inputs[tensor.key].CopyFrom(tf.make_tensor_proto(feeds[tensor.key], dtype=tensor.dtype))
