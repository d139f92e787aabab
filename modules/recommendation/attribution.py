"""What the lead and each past event contribute to an answer, in a decision's own graph.

The players are the lead's features, taken together, and the events: the latest `EVENTS` one by one, all earlier ones
together. An event that is left out has never been recorded: the events after it move up, the gap of the next one counts
from the one before, and nothing is repeated or counted that only it did; so the network sees a shorter history as it
has seen many, no placeholder that it never met. The beginning of the journey stays what it is. A lead that is left out
is one of whom nothing is known: every feature missing. Where nobody is left there is the baseline: a lead of whom
nothing is known and to whom nothing has happened yet.

Contributions are Shapley values (modules/explanation/shapley.py) of two things at once: the log of the probability of
the action, and the log-odds of conversion if that action is next. They say what the network made of an event, not what
the event did to the lead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from modules.explanation.shapley import shapley_values
from modules.recommendation.clock_graph import clock_codes
from modules.recommendation.layout import PADDING

EVENTS = 20
"""Latest events that are explained one by one."""

LEAD, EARLIER = "(lead)", "(earlier events)"
"""What `feature` says of the lead's features, and of the events before the latest ones."""

_CELLS = 1 << 21
"""Pairs of slots that the attention of one call of the network may look at."""

Network = Callable[[Mapping[str, tf.Tensor]], tuple[tf.Tensor, tf.Tensor]]


@dataclass(frozen=True)
class Explained:
    """n decisions explained; k = 2 + min(L, EVENTS).

    Attributes:
      contribution: float32 [n, k, 2], to log probability and to log-odds of conversion; the lead's, those of earlier
        events together (0 without any), then each of the latest events', oldest first; 0 behind the last one.
      bias: float32 [n, 2], the baseline.
      total: float32 [n, 2], what is explained: bias + the sum of the contributions.
    """

    contribution: tf.Tensor
    bias: tf.Tensor
    total: tf.Tensor


def columns(length: int) -> int:
    """k, for histories of at most `length` events."""
    return 2 + min(length, EVENTS)


def explain(
    found: Mapping[str, tf.Tensor],
    nothing: Mapping[str, tf.Tensor],
    times: tf.Tensor,
    start: tf.Tensor,
    clock_columns: tuple[int, ...],
    value: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    network: Network,
    action: tf.Tensor,
) -> Explained:
    """Explains an action of each decision.

    Args:
      found: the network's inputs, int or float [n, L, ...] and [n, ...], see Layout.
      nothing: `lead_codes` [F] and `lead_numbers` [G] of a lead of whom nothing is known.
      times: int64 [n, L], of the events in the slots. start: int64 [n]. Both as clock_graph.clock_codes takes them.
      clock_columns: which columns of the clock are the last columns of the event codes.
      value: action logits [m, A], conversion logits [m, A], class -> float32 [m, 2].
      network: inputs with any number of slots -> action and conversion logits, float32 [m, A] each.
      action: int32 [n], class to explain.
    """
    length = found["event_codes"].shape[1]
    width = columns(length)

    def one(parts: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        events = parts["length"]
        codes, numbers, when = (parts[name][:events] for name in ("event_codes", "event_numbers", "times"))
        together = tf.maximum(events - EVENTS, 0)
        grouped = tf.cast(together > 0, tf.int32)
        players = 1 + grouped + events - together
        # Slot 0 belongs to player 1; so do all of the earlier events.
        player_of = 1 + tf.maximum(tf.range(events) - together + grouped, 0)

        def ask(masks: tf.Tensor) -> tf.Tensor:
            asked = _without(masks, player_of, codes, numbers, when, parts, nothing, clock_columns)
            return value(*network(asked), parts["action"])

        def asked_in_parts(masks: tf.Tensor) -> tf.Tensor:
            most = tf.maximum(_CELLS // tf.square(events + 1), 8)
            m = tf.shape(masks)[0]
            count = (m + most - 1) // most
            rows = (m + count - 1) // count
            padded = tf.pad(masks, [[0, count * rows - m], [0, 0]])
            cut = tf.reshape(padded, tf.stack([count, rows, players]))
            answers = tf.map_fn(
                ask, cut, parallel_iterations=1, fn_output_signature=tf.TensorSpec([None, 2], tf.float32)
            )
            return tf.reshape(answers, [-1, 2])[:m]

        phi, bias, total = shapley_values(asked_in_parts, players, width)
        # The column of earlier events stays empty where there are none.
        phi = tf.concat([phi[:1], tf.zeros(tf.stack([1 - grouped, 2])), phi[1:]], axis=0)
        phi = tf.pad(phi, [[0, width - tf.shape(phi)[0]], [0, 0]])
        return tf.ensure_shape(phi, [width, 2]), bias, total

    elements = {**found, "times": times, "start": start, "action": action}
    elements["length"] = tf.cast(found["length"], tf.int32)
    specs = (
        tf.TensorSpec([width, 2], tf.float32),
        tf.TensorSpec([2], tf.float32),
        tf.TensorSpec([2], tf.float32),
    )
    return Explained(*tf.map_fn(one, elements, parallel_iterations=2, fn_output_signature=specs))


def _without(
    masks: tf.Tensor,
    player_of: tf.Tensor,
    codes: tf.Tensor,
    numbers: tf.Tensor,
    when: tf.Tensor,
    parts: Mapping[str, tf.Tensor],
    nothing: Mapping[str, tf.Tensor],
    clock_columns: tuple[int, ...],
) -> dict[str, tf.Tensor]:
    """The network's inputs where only the players of each mask, bool [m, players], are there."""
    m, events = tf.shape(masks)[0], tf.size(player_of)
    kept = tf.gather(masks, player_of, axis=1)
    slot = tf.range(events)
    # Events that stay come first, in their order.
    order = tf.argsort(tf.where(kept, slot, slot + events), axis=1)
    length = tf.reduce_sum(tf.cast(kept, tf.int32), axis=1)
    used = (slot < length[:, None])[:, :, None]
    event_codes = tf.gather(codes, order)
    if clock_columns:
        start = tf.fill([m], parts["start"])
        told = tf.gather(clock_codes(tf.gather(when, order), start), clock_columns, axis=2)
        attributes = event_codes[:, :, : codes.shape[1] - len(clock_columns)]
        event_codes = tf.concat([attributes, tf.cast(told, event_codes.dtype)], axis=2)
    known = masks[:, :1]
    return {
        "event_codes": tf.where(used, event_codes, tf.constant(PADDING, event_codes.dtype)),
        "event_numbers": tf.where(used, tf.gather(numbers, order), 0.0),
        "lead_codes": tf.where(known, parts["lead_codes"], nothing["lead_codes"]),
        "lead_numbers": tf.where(known, parts["lead_numbers"], nothing["lead_numbers"]),
        "length": length,
    }
