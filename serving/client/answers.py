"""What a client gets back: values of Python, one per lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modules.native.protos import TensorProto, get_model_status_pb2, predict_pb2
from serving.client import tensors
from serving.client.errors import ClientError


@dataclass(frozen=True, slots=True)
class LeadScore:
    """How good a lead is.

    score: 0-100, the share of the reference population that is less likely to convert.
    probability: that the lead converts, 0-1. low, high: interval of the conversion rate of leads like it.
    confidence: 1 - (high - low). model, version: what answered.
    """

    score: float
    probability: float
    low: float
    high: float
    confidence: float
    model: str
    version: int


@dataclass(frozen=True, slots=True)
class RankedAction:
    """An action, its probability of being the next, 0-1, and its priority: 100 x P(the lead converts if it is next)."""

    action: str
    probability: float
    priority: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do next with a lead: the allowed actions, best first as the model's policy ranks them.

    next_best_action: the first of them, "" if none is allowed.
    """

    next_best_action: str
    actions: tuple[RankedAction, ...]
    model: str
    version: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a signature. dtype: e.g. "float"; shape: None for an open dimension or an unknown rank."""

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and answers, by name."""

    method: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The signatures of the version that answers."""

    model: str
    version: int
    signatures: Mapping[str, Signature]


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """state: START, LOADING, AVAILABLE, UNLOADING or END. error_code: name of the status, "OK" unless it failed."""

    version: int
    state: str
    error_code: str
    error_message: str


_SCORE_OUTPUTS = ("score", "probability", "probability_low", "probability_high", "confidence")
_ACTION_OUTPUTS = ("actions", "probabilities", "priorities", "next_best_action")


def lead_scores(response: predict_pb2.PredictResponse, rows: int) -> list[LeadScore]:
    """
    Raises:
      ClientError: the model answered something else than a lead-scoring model does.
    """
    model, version = response.model_spec.name, response.model_spec.version.value
    columns = [values_of(response, key, rows, _SCORE_OUTPUTS, "lead-scoring")[0] for key in _SCORE_OUTPUTS]
    return [
        LeadScore(score, probability, low, high, confidence, model, version)
        for score, probability, low, high, confidence in zip(*columns, strict=True)
    ]


def recommendations(response: predict_pb2.PredictResponse, rows: int) -> list[Recommendation]:
    """
    Raises:
      ClientError: the model answered something else than a recommendation model does.
    """
    model, version = response.model_spec.name, response.model_spec.version.value
    found = [values_of(response, key, rows, _ACTION_OUTPUTS, "recommendation") for key in _ACTION_OUTPUTS]
    (names, width), (probabilities, _), (priorities, _), (best, _) = found
    if {len(names), len(probabilities), len(priorities)} != {rows * width}:
        raise ClientError(f"{model} version {version} answers actions and probabilities of different lengths")
    # There are few names and many answers.
    texts = {name: name.decode(errors="replace") for name in {*names, *best}}
    ranked = [
        RankedAction(texts[name], probability, priority)
        for name, probability, priority in zip(names, probabilities, priorities, strict=True)
    ]
    # Actions that are not allowed come last, without a name.
    return [
        Recommendation(
            texts[best[i]],
            tuple(action for action in ranked[i * width : (i + 1) * width] if action.action),
            model,
            version,
        )
        for i in range(rows)
    ]


def statuses(response: get_model_status_pb2.GetModelStatusResponse) -> list[VersionStatus]:
    """Newest version first, as the server lists them."""
    state = get_model_status_pb2.ModelVersionStatus.State
    codes = type(response.model_version_status.add().status).DESCRIPTOR.fields_by_name["error_code"].enum_type
    del response.model_version_status[-1]
    return [
        VersionStatus(
            s.version, state.Name(s.state), codes.values_by_number[s.status.error_code].name, s.status.error_message
        )
        for s in response.model_version_status
    ]


def metadata(model: str, version: int, signatures: Mapping[str, Any]) -> ModelMetadata:
    """From SignatureDefs by name; TensorFlow's own `__saved_model_init_op` is left out."""
    return ModelMetadata(
        model,
        version,
        {
            name: Signature(s.method_name, _infos(s.inputs), _infos(s.outputs))
            for name, s in sorted(signatures.items())
            if not name.startswith("__saved_model")
        },
    )


def _infos(infos: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {name: TensorInfo(tensors.dtype_name(i.dtype), _shape(i.tensor_shape)) for name, i in sorted(infos.items())}


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.unknown_rank else tuple(None if d.size < 0 else d.size for d in shape.dim)


def values_of(
    response: predict_pb2.PredictResponse, key: str, rows: int, expected: tuple[str, ...], kind: str
) -> tuple[list[Any], int]:
    """Values of an output, row-major, and how many there are per lead."""
    spec = response.model_spec
    if key not in response.outputs:
        raise ClientError(
            f"{spec.name} version {spec.version.value} is no {kind} model: expected the outputs "
            f"{', '.join(expected)}; received {', '.join(sorted(response.outputs)) or 'none'}"
        )
    proto: TensorProto = response.outputs[key]
    try:
        values, shape = tensors.flat(proto)
    except TypeError as error:
        raise ClientError(f"{spec.name} version {spec.version.value}, output {key}: {error}") from None
    if not shape or shape[0] != rows:
        raise ClientError(
            f"{spec.name} version {spec.version.value} answered {key} of shape {list(shape)} for {rows} leads"
        )
    return values, shape[1] if len(shape) > 1 else 1
