"""The Input of Classify, Regress and MultiInference as the serialized examples that a graph parses.

Reference: InputToSerializedExampleTensor in tensorflow_serving/servables/tensorflow/util.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from modules.native.protos import SignatureDef, input_pb2
from modules.native.tensor import STRING
from serving.errors import invalid
from serving.inference.signatures import DEFAULT_SIGNATURE, check_types, prepared
from serving.servable import Call, Feed, Servable


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


def head_of(servable: Servable, name: str, read: Callable[[SignatureDef], Head]) -> Head:
    """The head of a signature.

    Raises:
      ServingError: INVALID_ARGUMENT, no such signature; what `read` raises.
    """
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name}")
    return read(signature)


def plan(
    servable: Servable, signature_name: str, examples: input_pb2.Input, prepare: Callable[[Servable, str], Head]
) -> ExamplesPlan:
    """What to run for Classify or Regress. prepare: finds the head of a signature; it is asked once per version."""
    name = signature_name or DEFAULT_SIGNATURE
    head = prepared(servable, name, prepare)
    found, rows = call(head, examples)
    return ExamplesPlan(found, rows, name, head.outputs)


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
