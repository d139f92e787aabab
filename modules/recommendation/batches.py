"""Batches of journeys of similar length, epoch after epoch, as a tf.data.Dataset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from modules.recommendation.layout import PADDING
from modules.recommendation.sequences import Sequences
from modules.recommendation.settings import RecommendationSettings

Array = NDArray[Any]


def buckets(length: int) -> list[int]:
    """Numbers of slots that histories are padded to: few shapes, little padding. Ascending, ends with `length`."""
    steps = [0, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024]
    return [step for step in steps if step < length] + [length]


@dataclass(frozen=True)
class Entries:
    """What is drawn in batches: whole journeys, or (causal: false) single decisions.

    Attributes:
      row: int32 [M], index of a journey.
      slot: int32 [M], events that are seen: the journey's length, or those before the decision.
      bucket: int32 [M], events they are padded to.
    """

    row: Array
    slot: Array
    bucket: Array


def entries_of(sequences: Sequences, answers: Array, causal: bool) -> Entries:
    if causal:
        row = np.flatnonzero((answers >= 0).any(axis=1))
        slot = np.asarray(sequences.length)[row]
    else:
        row, slot = np.nonzero(answers >= 0)
    sizes = np.array(buckets(sequences.event_codes.shape[1]))
    return Entries(row.astype(np.int32), slot.astype(np.int32), sizes[np.searchsorted(sizes, slot)].astype(np.int32))


def _shuffled(entries: int, buffer: int, seed: int) -> Array:
    """A permutation int64 [entries], drawn from a buffer of this size like tf.data.Dataset.shuffle."""
    if buffer >= entries:
        return np.random.default_rng(seed).permutation(entries)
    order = tf.data.Dataset.range(entries).shuffle(buffer, seed=seed, reshuffle_each_iteration=False)
    return next(iter(order.batch(entries))).numpy()


def plan_batches(entries: Entries, batch: int, buffer: int, seed: int | None) -> tuple[Array, Array, Array, Array]:
    """Batches of an epoch: order int32 [M] of the entries; first, last + 1 and padded length of each batch, int32 [B].

    The number of batches depends on the lengths only. Without a seed entries and batches come in order of length.
    """
    count = len(entries.row)
    order = np.arange(count) if seed is None else _shuffled(count, buffer, seed)
    order = order[np.argsort(entries.bucket[order], kind="stable")]
    sizes, first = np.unique(entries.bucket[order], return_index=True)
    starts, ends, padded = [], [], []
    for size, begin, end in zip(sizes, first, [*first[1:], count], strict=True):
        cuts = np.arange(begin, end, batch)
        starts.append(cuts)
        ends.append(np.minimum(cuts + batch, end))
        padded.append(np.full(len(cuts), size))
    batches = np.stack([np.concatenate(part) for part in (starts, ends, padded)]).astype(np.int32)
    if seed is not None:
        batches = batches[:, np.random.default_rng(seed + 1).permutation(batches.shape[1])]
    return order.astype(np.int32), batches[0], batches[1], batches[2]


@dataclass(frozen=True)
class Feed:
    """Batches of Sequences as a tf.data.Dataset of (inputs, answers), epoch after epoch."""

    dataset: tf.data.Dataset
    steps: int


def feed(
    sequences: Sequences,
    settings: RecommendationSettings,
    *,
    weight: Array,
    batch: int,
    epochs: range,
    shuffle: bool,
    causal: bool,
) -> Feed:
    """Batches of all these epochs one after another; `steps` of them are one epoch.

    Args:
      weight: float32 [N], of each journey in the loss.
      epochs: an epoch's number decides its order.
    """
    answers = sequences.answers()
    entries = entries_of(sequences, answers, causal)
    if len(entries.row) == 0:
        raise ValueError("none of the journeys has an action to learn from")
    steps = len(plan_batches(entries, batch, 1, None)[1])

    # On the host: a strategy would copy whole data sets to its devices.
    with tf.device("CPU:0"):
        columns = {name: tf.constant(getattr(sequences, name)) for name in ("event_codes", "event_numbers")}
        rows = {name: tf.constant(getattr(sequences, name)) for name in ("lead_codes", "lead_numbers")}
        answer, outcome = tf.constant(answers), tf.constant(np.asarray(sequences.outcome, np.float32))
        weights = tf.constant(np.asarray(weight, np.float32))
        entry_row, entry_slot = tf.constant(entries.row), tf.constant(entries.slot)

    def plan(epoch: Array) -> tuple[Array, Array, Array, Array]:
        seed = seed_of(settings.seed, "order", int(epoch)) if shuffle else None
        return plan_batches(entries, batch, settings.shuffle_buffer, seed)

    # Nothing here needs AutoGraph, which reads source files to rewrite functions.
    plain = tf.autograph.experimental.do_not_convert

    @plain
    def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
        order, start, end, padded = tf.numpy_function(plan, [epoch], [tf.int32] * 4)
        for part in (order, start, end, padded):
            part.set_shape([None])
        batches = tf.data.Dataset.from_tensor_slices((start, end, padded))
        return batches.map(plain(lambda begin, stop, length: (order[begin:stop], length)))

    @plain
    def read(entry: tf.Tensor, padded: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        row, length = tf.gather(entry_row, entry), tf.gather(entry_slot, entry)
        inputs = {name: tf.gather(value, row)[:, :padded] for name, value in columns.items()}
        inputs["event_codes"] = tf.cast(inputs["event_codes"], tf.int32)
        inputs |= {name: tf.gather(value, row) for name, value in rows.items()} | {"length": length}
        action = tf.gather(answer, row)[:, : padded + 1]
        if not causal:
            slot = tf.range(padded + 1)[None, :]
            action = tf.where(slot == length[:, None], action, -1)
            seen = slot[:, :-1, None] < length[:, None, None]
            inputs["event_codes"] = tf.where(seen, inputs["event_codes"], PADDING)
            inputs["event_numbers"] = tf.where(seen, inputs["event_numbers"], 0.0)
        return inputs, {"action": action, "outcome": tf.gather(outcome, row), "weight": tf.gather(weights, row)}

    dataset = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(batches_of)
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return Feed(dataset.prefetch(settings.prefetch_buffer or tf.data.AUTOTUNE), steps)


def seed_of(*parts: Any) -> int:
    """A number of 31 bits that depends on all parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little") >> 1
