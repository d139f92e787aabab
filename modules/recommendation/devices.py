"""On what, and in which arithmetic, a network is trained: settings and hardware -> a plan; nothing is required."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from modules.recommendation.settings import RecommendationSettings

_log = logging.getLogger(__name__)

BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which a GPU multiplies bfloat16; older ones take float16, whose loss is scaled."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Attributes:
      dtype_policy: of Keras; variables are float32 in any case.
      replicas: devices that share a batch.
      notes: what was asked for and is not to be had, a sentence each.
    """

    dtype_policy: str = "float32"
    replicas: int = 1
    notes: tuple[str, ...] = ()


def plan(settings: RecommendationSettings, capabilities: Sequence[tuple[int, int]]) -> Plan:
    """The plan for a machine whose GPUs have these compute capabilities."""
    dtype_policy, replicas, notes = "float32", 1, []
    if settings.mixed_precision:
        if not capabilities:
            notes.append("mixed_precision: there is no GPU on this machine; training in float32")
        elif min(capabilities) >= BFLOAT16_CAPABILITY:
            dtype_policy = "mixed_bfloat16"
        else:
            dtype_policy = "mixed_float16"
    if settings.multi_device:
        if len(capabilities) < 2:
            there = "no GPU" if not capabilities else "one GPU"
            notes.append(f"multi_device: there is {there} on this machine; training on one device")
        else:
            replicas = len(capabilities)
    return Plan(dtype_policy, replicas, tuple(notes))


def capabilities() -> list[tuple[int, int]]:
    """Compute capability of every GPU that TensorFlow sees; (0, 0) where it does not say."""
    details = (tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU"))
    return [tuple(found.get("compute_capability", (0, 0))) for found in details]


@contextlib.contextmanager
def training_on(chosen: Plan) -> Iterator[None]:
    """Within it networks are built and trained as planned; the dtype policy is put back afterwards."""
    for note in chosen.notes:
        _log.warning(note)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(chosen.dtype_policy)
    try:
        with tf.distribute.MirroredStrategy().scope() if chosen.replicas > 1 else contextlib.nullcontext():
            yield
    finally:
        keras.config.set_dtype_policy(before)
