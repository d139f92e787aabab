"""The Input of Classify, Regress and MultiInference as the serialized examples that a graph parses.

Reference: InputToSerializedExampleTensor in tensorflow_serving/servables/tensorflow/util.cc.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from modules.native.protos import input_pb2
from modules.native.tensor import STRING
from serving.errors import invalid
from serving.inference.signatures import check_types
from serving.servable import Call, Feed


@dataclass(frozen=True, slots=True)
class Head:
    """What a signature of examples feeds and fetches.

    Args:
      tensor: takes the serialized examples.
      dtype: TF_DataType that the signature gives it.
      fetches: tensor names.
      outputs: what each fetch is to the signature: `classes`, `scores`, `outputs`.
    """

    tensor: str
    dtype: int
    fetches: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExamplesPlan:
    """A run over examples.

    Args:
      call: what to run; its fetches go with `outputs`.
      rows: number of examples, at least 1.
      signature_name: the signature used.
      outputs: what each fetch is to the signature.
    """

    call: Call
    rows: int
    signature_name: str
    outputs: tuple[str, ...]


def serialized(examples: input_pb2.Input) -> np.ndarray:
    """The examples' bytes.

    An example with a context is the context's bytes followed by its own: a parser merges them, the example's features
    over the context's.

    Returns:
      object [n], bytes; n is at least 1.

    Raises:
      ServingError: INVALID_ARGUMENT, `Input is empty.`
    """
    parsed = _SerializedInput.FromString(examples.SerializeToString())
    kind = parsed.WhichOneof("kind")
    values = list(getattr(parsed, kind).examples) if kind else []
    if not values:
        raise invalid("Input is empty.")
    if kind == "example_list_with_context" and (context := parsed.example_list_with_context.context):
        values = [context + value for value in values]
    return np.fromiter(values, object, len(values))


def call(head: Head, examples: input_pb2.Input) -> tuple[Call, int]:
    """One run for the examples, and their number.

    Raises:
      ServingError: INVALID_ARGUMENT, no examples, or a tensor that takes something else than strings.
    """
    values = serialized(examples)
    feeds = (Feed(head.tensor, STRING, values),)
    check_types(feeds, (head.dtype,))
    return Call(feeds, head.fetches), len(values)


def _serialized_input() -> Any:
    """The message of tensorflow_serving/apis/internal/serialized_input.proto, which the wheel leaves out.

    It is Input with each example left as bytes: none is parsed, and none is copied field by field.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="serialized_input.proto", package="serving", syntax="proto3")
    plain = file.message_type.add(name="Examples")
    plain.field.add(name="examples", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED)
    with_context = file.message_type.add(name="ExamplesWithContext")
    with_context.field.add(name="examples", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED)
    with_context.field.add(name="context", number=2, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    whole = file.message_type.add(name="SerializedInput")
    whole.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(
        (("example_list", "Examples"), ("example_list_with_context", "ExamplesWithContext")), 1
    ):
        whole.field.add(
            name=name,
            number=number,
            type=field.TYPE_MESSAGE,
            type_name=f".serving.{kind}",
            label=field.LABEL_OPTIONAL,
            oneof_index=0,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.SerializedInput"))


_SerializedInput = _serialized_input()
