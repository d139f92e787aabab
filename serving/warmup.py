"""Warm-up: the requests that travel with a version are run before it serves.

Reference: tensorflow_serving/servables/tensorflow/saved_model_warmup.cc and saved_model_warmup_util.cc; the records'
format: tensorflow/core/lib/io/record_reader.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c
from google.protobuf.message import DecodeError

from modules.native.protos import prediction_log_pb2
from serving.errors import Code, ServingError, invalid
from serving.inference import classify, multi_inference, predict, regress
from serving.servable import Servable

REQUESTS = Path("assets.extra") / "tf_serving_warmup_requests"
LIMIT = 1000

_HEADER_BYTES = 12
_ADVICE = ". Please verify your warmup data is in TFRecord format."


def replay(servable: Servable, limit: int = LIMIT) -> int:
    """Runs the version's warm-up requests, in order.

    Args:
      servable: a loaded version; the requests are TFRecords of tensorflow.serving.PredictionLog in REQUESTS under its
        directory. Without that file nothing happens. Logs of Predict, Classify, Regress and MultiInference run; others
        are passed over.
      limit: most records a file may hold.

    Returns:
      Number of records read.

    Raises:
      ServingError: DATA_LOSS, not a file of TFRecords, or a damaged one; INVALID_ARGUMENT, a record that is no
        PredictionLog, or more than `limit`; UNIMPLEMENTED, a SessionRun log; or what a request itself fails with.
    """
    count = 0
    for log in read_logs(servable.path, limit):
        _run(servable, log)
        count += 1
    return count


def read_logs(version: Path, limit: int = LIMIT) -> Iterator[prediction_log_pb2.PredictionLog]:
    """The warm-up requests that a version carries, in order; none without the file.

    Args:
      version: the version's directory.
      limit: most records the file may hold.

    Raises:
      ServingError: as `replay`, but for what a request fails with.
    """
    path = version / REQUESTS
    if not path.is_file():
        return
    with path.open("rb") as file:
        for count, record in enumerate(_records(file, path.stat().st_size), 1):
            if count > limit:
                raise invalid(f"Number of warmup records exceeds the maximum ({limit}) at {path}")
            try:
                log = prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError as error:
                shown = record.decode(errors="replace")
                raise invalid(f"Failed to parse warmup record: {shown} from {path}") from error
            yield log


def _run(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        plan = predict.plan_request(servable, log.predict_log.request)
        predict.respond(servable, plan, servable.run(plan.call))
    elif kind == "classify_log":
        classification = log.classify_log.request
        examples = classify.plan(servable, classification.model_spec.signature_name, classification.input)
        classify.result(examples, servable.run(examples.call))
    elif kind == "regress_log":
        regression = log.regress_log.request
        examples = regress.plan(servable, regression.model_spec.signature_name, regression.input)
        regress.result(examples, servable.run(examples.call))
    elif kind == "multi_inference_log":
        several = multi_inference.plan(servable, log.multi_inference_log.request)
        multi_inference.respond(servable, several, servable.run(several.call))
    elif kind == "session_run_log":
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def _records(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The records of a TFRecord file; less than a whole header at the end counts as its end, as in TensorFlow."""
    offset = 0
    while len(header := file.read(_HEADER_BYTES)) == _HEADER_BYTES:
        if not _sound(header[:8], header[8:]):
            hint = "" if offset else " (Is this even a TFRecord file?)"
            raise ServingError(Code.DATA_LOSS, f"corrupted record at {offset}{hint}{_ADVICE}")
        (length,) = struct.unpack("<Q", header[:8])
        if length + 4 > size - offset - _HEADER_BYTES:
            message = f"truncated record at {offset}' failed with Read less bytes than requested{_ADVICE}"
            raise ServingError(Code.DATA_LOSS, message)
        record = file.read(length)
        if not _sound(record, file.read(4)):
            raise ServingError(Code.DATA_LOSS, f"corrupted record at {offset + _HEADER_BYTES}{_ADVICE}")
        yield record
        offset += _HEADER_BYTES + length + 4


def _sound(data: bytes, masked: bytes) -> bool:
    """Whether a checksum, rotated and shifted as TFRecords have it, is that of the data."""
    crc = google_crc32c.value(data)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little") == masked
