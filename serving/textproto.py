"""Configuration files in protocol buffer text format, also those whose classes no installed package has.

tensorflow-serving-api ships no `BatchingParameters`, `SSLConfig` and `MonitoringConfig`. Their descriptors are built
here, in a pool of their own, so that a package that brings them one day does no harm.
Reference: tensorflow_serving/servables/tensorflow/session_bundle_config.proto,
tensorflow_serving/config/ssl_config.proto,
tensorflow_serving/config/monitoring_config.proto.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from google.protobuf.message import Message

from serving.errors import Code, ServingError, invalid

M = TypeVar("M", bound=Message)

_PACKAGE = "tensorflow.serving"
_WRAPPED = {
    "Int64Value": ".google.protobuf.Int64Value",
    "StringValue": ".google.protobuf.StringValue",
    "BoolValue": ".google.protobuf.BoolValue",
    "PrometheusConfig": f".{_PACKAGE}.PrometheusConfig",
}
# Message -> field -> type, numbered in order. Text format knows names only, so the numbers need not be upstream's.
_MESSAGES: dict[str, dict[str, str]] = {
    "BatchingParameters": {
        "max_batch_size": "Int64Value",
        "batch_timeout_micros": "Int64Value",
        "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value",
        "thread_pool_name": "StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "BoolValue",
        "max_execution_batch_size": "Int64Value",
    },
    "SSLConfig": {"server_key": "string", "server_cert": "string", "custom_ca": "string", "client_verify": "bool"},
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
}


def new(name: str) -> Any:
    """An empty message of `tensorflow.serving`.

    Args:
      name: BatchingParameters, SSLConfig, PrometheusConfig or MonitoringConfig.
    """
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))()


def read(path: str | Path, message: M) -> M:
    """Reads a file into `message` and returns it.

    Raises:
      ServingError: NOT_FOUND, there is no such file; INVALID_ARGUMENT, its text is not of the message's type, with line
        and column.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path}; {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid(f"Invalid protobuf file: '{path}' (not UTF-8: {error.reason} at byte {error.start})") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise invalid(f"Invalid protobuf file: '{path}' ({error})") from error


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    field = descriptor_pb2.FieldDescriptorProto
    scalars = {"int64": field.TYPE_INT64, "bool": field.TYPE_BOOL, "string": field.TYPE_STRING}
    file = descriptor_pb2.FileDescriptorProto(name="serving/textproto.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field_name, declared) in enumerate(fields.items(), 1):
            added = message.field.add(name=field_name, number=number, label=field.LABEL_OPTIONAL)
            kind = declared.removeprefix("repeated ")
            if kind != declared:
                added.label = field.LABEL_REPEATED
            if kind in scalars:
                added.type = scalars[kind]
            else:
                added.type, added.type_name = field.TYPE_MESSAGE, _WRAPPED[kind]
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool
