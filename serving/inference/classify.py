"""Classify: examples in, labels and scores out.

Reference: tensorflow_serving/servables/tensorflow/classifier.cc.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError

from modules.native.protos import SignatureDef, classification_pb2, input_pb2
from modules.native.tensor import DTYPES, STRING
from serving import tensors
from serving.errors import Code, ServingError, invalid
from serving.inference import examples
from serving.inference.examples import ExamplesPlan, Head
from serving.inference.signatures import CLASSIFY, enum_name, shape_text, wrong_method
from serving.servable import Servable

# tensorflow/cc/saved_model/signature_constants.h
INPUTS, CLASSES, SCORES = "inputs", "classes", "scores"
_FLOAT = 1


def plan(servable: Servable, signature_name: str, examples_in: input_pb2.Input) -> ExamplesPlan:
    """Checks a request and says what to run.

    Args:
      servable: the version that answers.
      signature_name: empty for `serving_default`.
      examples_in: of the request.

    Raises:
      ServingError: INVALID_ARGUMENT, no such signature, one with another method, or no examples; FAILED_PRECONDITION,
        a signature without the inputs and outputs of a classifier.
    """
    return examples.plan(servable, signature_name, examples_in, _prepare)


def result(plan: ExamplesPlan, arrays: Sequence[np.ndarray]) -> classification_pb2.ClassificationResult:
    """The answer.

    Args:
      plan: of the request, n rows.
      arrays: one per fetch of the plan: classes object (bytes) [n, k], scores float32 [n, k], or one of the two.

    Raises:
      ServingError: INVALID_ARGUMENT, arrays of another number, type or shape.
    """
    if len(arrays) != len(plan.outputs):
        raise invalid(f"Expected {len(plan.outputs)} output tensor(s).  Got: {len(arrays)}")
    found = dict(zip(plan.outputs, arrays, strict=True))
    return of(found.get(CLASSES), found.get(SCORES), plan.rows)


def head(signature: SignatureDef) -> Head:
    """What to feed and fetch for a signature.

    Raises:
      ServingError: as `plan`.
    """
    if signature.method_name != CLASSIFY:
        raise wrong_method("classification", CLASSIFY, signature.method_name)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if INPUTS not in signature.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No classification inputs found in SignatureDef: {signature}")
    outputs = tuple(name for name in (CLASSES, SCORES) if name in signature.outputs)
    if not outputs:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {signature}",
        )
    info = signature.inputs[INPUTS]
    return Head(info.name, info.dtype, tuple(signature.outputs[name].name for name in outputs), outputs)


def of(classes: np.ndarray | None, scores: np.ndarray | None, rows: int) -> classification_pb2.ClassificationResult:
    """A result from classes, scores or both.

    Raises:
      ServingError: as `result`.
    """
    _check(CLASSES, classes, STRING, rows)
    _check(SCORES, scores, _FLOAT, rows)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    try:
        return classification_pb2.ClassificationResult.FromString(_wire(classes, scores, rows))
    except DecodeError as error:
        raise ServingError(Code.INTERNAL, "The model's classes are not UTF-8, which a label has to be") from error


def _prepare(servable: Servable, name: str) -> Head:
    return examples.head_of(servable, name, head)


def _check(name: str, array: np.ndarray | None, dtype: int, rows: int) -> None:
    if array is None:
        return
    if array.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}")
    if array.dtype != DTYPES[dtype]:
        found = enum_name(tensors.TYPES[array.dtype])
        raise invalid(f"Expected {name} Tensor of {enum_name(dtype)}. Got: {found}")
    if array.shape[0] != rows:
        raise invalid(f"Expected {name} output batch size of {rows}. Got: {array.shape[0]}")


def _wire(classes: np.ndarray | None, scores: np.ndarray | None, rows: int) -> bytes:
    """A ClassificationResult in the wire format: several times faster than a message for each class."""
    first = classes if classes is not None else scores
    width = 0 if first is None else first.shape[1]
    count = rows * width
    labels = [b""] * count if classes is None else _labels(classes.reshape(-1).tolist())
    numbers = b"" if scores is None else np.ascontiguousarray(scores).tobytes()
    parts = []
    for i in range(count):
        # Class: label = 1, score = 2.
        body = labels[i] + b"\x15" + numbers[4 * i : 4 * i + 4] if numbers else labels[i]
        parts.append(b"\x0a" + tensors.varint(len(body)) + body)
    result = []
    for row in range(rows):
        # Classifications: classes = 1; ClassificationResult: classifications = 1.
        body = b"".join(parts[row * width : (row + 1) * width])
        result.append(b"\x0a" + tensors.varint(len(body)) + body)
    return b"".join(result)


def _labels(values: list[bytes]) -> list[bytes]:
    known = {value: b"\x0a" + tensors.varint(len(value)) + value if value else b"" for value in set(values)}
    return [known[value] for value in values]
