"""The messages of the Open Inference Protocol (V2) that MLServer needs to be asked for a prediction over gRPC.

Only the fields used here; field numbers as in the protocol's grpc_service.proto
(https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

METHOD = "/inference.GRPCInferenceService/ModelInfer"

_OPTIONAL, _REPEATED = (
    descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
)
_TYPES = descriptor_pb2.FieldDescriptorProto
_FIELDS: dict[str, list[tuple[str, int, int, int, str | None]]] = {
    "InferTensorContents": [
        ("fp32_contents", 6, _REPEATED, _TYPES.TYPE_FLOAT, None),
        ("fp64_contents", 7, _REPEATED, _TYPES.TYPE_DOUBLE, None),
    ],
    "Tensor": [
        ("name", 1, _OPTIONAL, _TYPES.TYPE_STRING, None),
        ("datatype", 2, _OPTIONAL, _TYPES.TYPE_STRING, None),
        ("shape", 3, _REPEATED, _TYPES.TYPE_INT64, None),
        ("contents", 5, _OPTIONAL, _TYPES.TYPE_MESSAGE, "InferTensorContents"),
    ],
    "ModelInferRequest": [
        ("model_name", 1, _OPTIONAL, _TYPES.TYPE_STRING, None),
        ("inputs", 5, _REPEATED, _TYPES.TYPE_MESSAGE, "Tensor"),
        ("raw_input_contents", 7, _REPEATED, _TYPES.TYPE_BYTES, None),
    ],
    "ModelInferResponse": [
        ("outputs", 5, _REPEATED, _TYPES.TYPE_MESSAGE, "Tensor"),
        ("raw_output_contents", 6, _REPEATED, _TYPES.TYPE_BYTES, None),
    ],
}


@functools.cache
def messages() -> dict[str, Any]:
    """Message classes by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmarks/open_inference.proto", package="benchmarks.open_inference", syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind, message_type in fields:
            type_name = f".{file.package}.{message_type}" if message_type else None
            message.field.add(name=field, number=number, label=label, type=kind, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}")) for name in _FIELDS
    }


def infer_request(model: str, row: NDArray[np.float32], raw: bool) -> bytes:
    """A serialized ModelInferRequest.

    Args:
      model: name.
      row: float32 [columns]; one row is asked for.
      raw: the values as bytes instead of as numbers.
    """
    request = messages()["ModelInferRequest"](model_name=model)
    tensor = request.inputs.add(name="features", datatype="FP32", shape=[1, len(row)])
    if raw:
        request.raw_input_contents.append(row.astype("<f4").tobytes())
    else:
        tensor.contents.fp32_contents.extend(row.tolist())
    return request.SerializeToString()


def read_prediction(body: bytes) -> float:
    """The first number of the first output of a serialized ModelInferResponse.

    Raises:
      ValueError: it is neither FP32 nor FP64.
    """
    response = messages()["ModelInferResponse"].FromString(body)
    output = response.outputs[0]
    if response.raw_output_contents:
        dtype = {"FP32": "<f4", "FP64": "<f8"}.get(output.datatype)
        if dtype is None:
            raise ValueError(f"expected FP32 or FP64; received {output.datatype}")
        return float(np.frombuffer(response.raw_output_contents[0], dtype)[0])
    numbers = output.contents.fp32_contents or output.contents.fp64_contents
    if not numbers:
        raise ValueError(f"expected FP32 or FP64; received {output.datatype}")
    return float(numbers[0])
