"""Predict: named tensors in, named tensors out.

Reference: tensorflow_serving/servables/tensorflow/predict_util.cc, tensorflow/cc/saved_model/util.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from modules.native.protos import TensorProto, predict_pb2
from serving import tensors
from serving.errors import Code, ServingError, invalid
from serving.inference.signatures import (
    CLASSIFY,
    DEFAULT_SIGNATURE,
    PREDICT,
    REGRESS,
    check_types,
    name_version,
    prepared,
)
from serving.servable import Call, Feed, Servable

METHODS = (PREDICT, CLASSIFY, REGRESS)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PredictPlan:
    """A run that answers a Predict request.

    Args:
      call: what to run; its fetches go with `aliases`.
      aliases: names of the outputs, sorted.
      signature_name: the signature used.
    """

    call: Call
    aliases: tuple[str, ...]
    signature_name: str


@dataclass(frozen=True, slots=True)
class _Signature:
    """A signature as requests need it: inputs by tensor name, outputs by alias."""

    inputs: tuple[tuple[str, str], ...]
    dtypes: tuple[int, ...]
    defaults: Mapping[str, TensorProto]
    outputs: Mapping[str, str]
    aliases: tuple[str, ...]
    fetches: tuple[str, ...]


def plan(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, tuple[int, np.ndarray]],
    output_filter: Sequence[str] = (),
) -> PredictPlan:
    """Checks a request and says what to run.

    Args:
      servable: the version that answers.
      signature_name: empty for `serving_default`.
      inputs: (TF_DataType, array) by alias; shapes are the ops' concern.
      output_filter: aliases of the outputs to compute; all when empty.

    Raises:
      ServingError: FAILED_PRECONDITION, no such signature; INTERNAL, a signature that is not for inference;
        INVALID_ARGUMENT, inputs or outputs that are not the signature's, or of another type.
    """
    return _plan(servable, signature_name, inputs, output_filter, lambda alias, value: value)


def plan_request(servable: Servable, request: predict_pb2.PredictRequest) -> PredictPlan:
    """`plan` for a request as it came: tensors are decoded when the checks that go before have passed.

    Raises:
      ServingError: as `plan`, and INVALID_ARGUMENT `tensor parsing error: ALIAS`.
    """
    return _plan(
        servable,
        request.model_spec.signature_name,
        request.inputs,
        request.output_filter,
        lambda alias, proto: tensors.decode(proto, alias),
    )


def respond(servable: Servable, plan: PredictPlan, arrays: Sequence[np.ndarray]) -> predict_pb2.PredictResponse:
    """The answer, values in typed fields.

    Args:
      servable: the version that answered.
      plan: of the request.
      arrays: one per fetch of the plan.

    Raises:
      ServingError: UNKNOWN, the number of arrays is not that of the fetches.
    """
    if len(arrays) != len(plan.aliases):
        raise ServingError(Code.UNKNOWN, "Predict internal error")
    response = predict_pb2.PredictResponse()
    name_version(response.model_spec, servable, plan.signature_name)
    for alias, array in zip(plan.aliases, arrays, strict=True):
        tensors.fill(response.outputs[alias], array)
    return response


def _plan(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, T],
    output_filter: Sequence[str],
    decode: Callable[[str, T], tuple[int, np.ndarray]],
) -> PredictPlan:
    name = signature_name or DEFAULT_SIGNATURE
    signature = prepared(servable, name, _prepare)
    expected = signature.inputs
    if len(inputs) > len(expected) or (len(inputs) < len(expected) and not signature.defaults):
        raise _wrong_number(set(inputs), {alias for alias, _ in expected})
    feeds, used = [], 0
    for alias, tensor in expected:
        if alias in inputs:
            used += 1
            feeds.append(Feed(tensor, *decode(alias, inputs[alias])))
        elif alias in signature.defaults:
            feeds.append(Feed(tensor, *tensors.decode(signature.defaults[alias], alias)))
        else:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {tensor}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_joined(inputs)}}}, or default input alias set: "
                f"{_joined(signature.defaults)}"
            )
    if used != len(inputs):
        names = {alias for alias, _ in expected}
        raise invalid(
            f"Inputs contains invalid name. Used request inputs: {_joined(names & set(inputs))}, "
            f"request input: {_joined(inputs)}"
        )
    aliases, fetches = signature.aliases, signature.fetches
    if output_filter:
        aliases = _filtered(output_filter, signature.outputs)
        fetches = tuple(signature.outputs[alias] for alias in aliases)
    check_types(feeds, signature.dtypes)
    return PredictPlan(Call(tuple(feeds), fetches), aliases, name)


def _prepare(servable: Servable, name: str) -> _Signature:
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    if signature.method_name not in METHODS:
        raise ServingError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(METHODS)}}}. "
            f"Was: {signature.method_name}",
        )
    inputs = sorted(signature.inputs.items(), key=lambda item: item[1].name)
    outputs = dict(sorted((alias, info.name) for alias, info in signature.outputs.items()))
    return _Signature(
        tuple((alias, info.name) for alias, info in inputs),
        tuple(info.dtype for _, info in inputs),
        dict(signature.defaults),
        outputs,
        tuple(outputs),
        tuple(outputs.values()),
    )


def _wrong_number(sent: Set[str], expected: Set[str]) -> ServingError:
    return invalid(
        f"input size does not match signature: {len(sent)}!={len(expected)} len({{{_joined(sent)}}}) != "
        f"len({{{_joined(expected)}}}). Sent extra: {{{_joined(sent - expected)}}}. "
        f"Missing but required: {{{_joined(expected - sent)}}}."
    )


def _filtered(output_filter: Iterable[str], outputs: Mapping[str, str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{_joined(outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return tuple(sorted(seen))


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
