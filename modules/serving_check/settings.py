"""What the serving check demands. No TensorFlow in here: components and configuration read it, too."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServingCheckSettings(BaseModel):
    """Demands on a candidate; outputs are meant by name and apply wherever a signature has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    requests: int = Field(default=200, ge=10, description="timed single-row requests to the default signature")
    p99_ms: float = Field(default=50.0, gt=0, description="latency budget of a single-row request")
    through_server: bool = Field(
        default=True, description="also start the model server and ask the warm-up requests over gRPC and REST"
    )
    batch_sizes: tuple[int, ...] = Field(default=(0, 1, 7, 64), description="sizes of the requests that are compared")
    tolerance: float = Field(
        default=1e-5, gt=0, description="largest difference |a - b| / max(1, |b|) between loaders, signatures, batches"
    )
    ranges: dict[str, tuple[float, float]] = Field(
        default={
            "score": (0, 100),
            "priorities": (0, 100),
            "probability": (0, 1),
            "probability_low": (0, 1),
            "probability_high": (0, 1),
            "confidence": (0, 1),
            "probabilities": (0, 1),
            "conversion": (0, 1),
            "scores": (0, 1),
        },
        description="legal range of an output",
    )
    ascending: tuple[tuple[str, ...], ...] = Field(
        default=(("probability_low", "probability", "probability_high"),),
        description="outputs of one signature that never decrease in this order",
    )
    same_outputs: tuple[tuple[str, str], ...] = Field(
        default=(("serving_default", "predict_columns"),),
        description="signatures that give the same outputs for the same rows",
    )
    equal_outputs: tuple[tuple[str, str], ...] = Field(
        default=(
            ("regress:outputs", "serving_default:probability"),
            ("classify:scores[1]", "serving_default:probability"),
            ("explain:probability", "serving_default:probability"),
            ("explain:score", "serving_default:score"),
        ),
        description="`signature:output` or `signature:output[column]` pairs of equal values; none where a "
        "model lacks a signature, or what the second of them names",
    )
    sums_to_one: tuple[tuple[str, str], ...] = Field(
        default=(("distribution", "probabilities"),),
        description="signature and output `[n, k]` whose rows sum to one",
    )
    adds_up: tuple[tuple[str, str, str], ...] = Field(
        default=(
            ("contribution", "bias", "margin"),
            ("contribution", "bias", "log_probability"),
            ("conversion_contribution", "conversion_bias", "conversion_log_odds"),
        ),
        description="outputs `[n, k]`, `[n]` and `[n]` of one signature: a row of the first and the second sum to the "
        "third",
    )
    adds_up_tolerance: float = Field(default=1e-4, gt=0, description="of these sums, absolute")
    evaluation_signatures: tuple[str, ...] = Field(
        default=("distribution", "evaluation_features", "matrix"),
        description="signatures for batch jobs alone: no warm-up requests, not timed, may read ignored_features",
    )
    may_be_missing: tuple[str, ...] = Field(
        default=("matrix",), description="outputs that hold inputs, so that NaN is a value that was missing"
    )
    ignored_features: tuple[str, ...] = Field(
        default=(),
        description="features the model must not read (label, id, time); they are taken out of warm-up requests",
    )
