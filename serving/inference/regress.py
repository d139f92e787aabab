"""Regress: examples in, a number for each out.

Reference: tensorflow_serving/servables/tensorflow/regressor.cc.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modules.native.protos import SignatureDef, input_pb2, regression_pb2
from serving import tensors
from serving.errors import Code, ServingError, invalid
from serving.inference import examples
from serving.inference.examples import ExamplesPlan, Head
from serving.inference.signatures import REGRESS, enum_name, shape_text, wrong_method
from serving.servable import Servable

# tensorflow/cc/saved_model/signature_constants.h
INPUTS, OUTPUTS = "inputs", "outputs"


def plan(servable: Servable, signature_name: str, examples_in: input_pb2.Input) -> ExamplesPlan:
    """Checks a request and says what to run.

    Args:
      servable: the version that answers.
      signature_name: empty for `serving_default`.
      examples_in: of the request.

    Raises:
      ServingError: INVALID_ARGUMENT, no such signature, one with another method, or no examples; FAILED_PRECONDITION,
        a signature without the input and output of a regressor.
    """
    return examples.plan(servable, signature_name, examples_in, _prepare)


def result(plan: ExamplesPlan, arrays: Sequence[np.ndarray]) -> regression_pb2.RegressionResult:
    """The answer.

    Args:
      plan: of the request, n rows.
      arrays: one, float32 [n] or [n, 1].

    Raises:
      ServingError: INVALID_ARGUMENT, arrays of another number, type or shape.
    """
    if len(arrays) != len(plan.outputs):
        raise invalid("Expected output_tensors and output_tensor_names to have the same size.")
    return of(arrays[0], plan.rows)


def head(signature: SignatureDef) -> Head:
    """What to feed and fetch for a signature.

    Raises:
      ServingError: as `plan`.
    """
    if signature.method_name != REGRESS:
        raise wrong_method("regression", REGRESS, signature.method_name)
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if INPUTS not in signature.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No regression inputs found in SignatureDef: {signature}")
    if OUTPUTS not in signature.outputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {signature}")
    info = signature.inputs[INPUTS]
    return Head(info.name, info.dtype, (signature.outputs[OUTPUTS].name,), (OUTPUTS,))


def of(values: np.ndarray, rows: int) -> regression_pb2.RegressionResult:
    """A result from float32 [rows] or [rows, 1].

    Raises:
      ServingError: as `result`.
    """
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(values.shape)}"
        )
    if values.shape[0] != rows:
        raise invalid(f"Input batch size did not match output batch size: {rows} vs. {values.shape[0]}")
    if values.dtype != np.float32:
        found = enum_name(tensors.TYPES[values.dtype])
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {found}")
    # RegressionResult in the wire format: regressions = 1, seven bytes each with value = 1, a float.
    wire = np.empty((rows, 7), np.uint8)
    wire[:, :3] = 0x0A, 0x05, 0x0D
    wire[:, 3:] = np.ascontiguousarray(values).reshape(rows, 1).view(np.uint8)
    return regression_pb2.RegressionResult.FromString(wire.tobytes())


def _prepare(servable: Servable, name: str) -> Head:
    return examples.head_of(servable, name, head)
