"""The network: embeddings of all codes, attention over the history beside the lead's context, dense layers, two heads.

    lead     one token per categorical feature (its embedding) and one for all numbers (steps at KNOTS, one matrix);
             their sum and two dense layers with a residual path are the context
    event    sum of the embeddings of its codes, plus its numbers times a matrix, plus which of its codes are those of
             the BACK events before it
    slot i   the moment after i events: the token of event i; slot 0 is the context
             plus the embedding of position i, plus a mix of the latest RECENT slots
    blocks   slot i attends to the lead's tokens and to slots 0 to i, with a learned bias per head and distance;
             then two dense layers; both with a residual path behind a layer normalisation
    head     x = [slot i, context, how often each action was taken so far]
             action_logits = matrix of x + matrix of (dense layers with dropout of x); softmax: the next action
             conversion_logits = value + effect of each action (Effects), both likewise; sigmoid: conversion if that
             action is next

Slot i is a function of the lead and of events 1 to i alone. So all slots of a journey can be learned in one pass, and
padding behind the events changes nothing. Only keras.ops: the same network runs on every Keras backend, and a
TensorFlow SavedModel of it holds nothing but stock operations.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
from keras import ops

from modules.recommendation.layers import (
    ActionCounts,
    Attention,
    Beside,
    Effects,
    Embeddings,
    Knots,
    Repeats,
    Slots,
    Start,
    Used,
)
from modules.recommendation.layout import Codes, Layout
from modules.recommendation.settings import RecommendationSettings

RECENT = 4
"""Slots that are mixed before the attention: short patterns need no attention to be seen."""

BACK = 3
"""Events before that each event is compared with."""


def _columns(codes: tuple[Codes, ...]) -> list[dict[str, Any]]:
    return [{"name": column.name, "size": column.size} for column in codes]


def build_network(layout: Layout, settings: RecommendationSettings) -> keras.Model:
    """The network for the inputs of a layout.

    Weights and dropout are drawn from `settings.seed`: the same settings give the same network.

    Inputs, a dict (all five are there, also where K, F or G is 0; T may be 0 too):
      event_codes: int32 [n, T, C].
      event_numbers: float32 [n, T, K].
      lead_codes: int32 [n, F].
      lead_numbers: float32 [n, G].
      length: int32 [n], events of each journey, 0 to T.

    Outputs, a dict; slot i is the moment after i events, slots behind a journey's last event are 0:
      action_logits: float32 [n, T + 1, A]; their softmax is the probability of each next action.
      conversion_logits: float32 [n, T + 1, A]; their sigmoid is the probability of conversion if that action is next.

    Args:
      layout: columns of the inputs; T is at most `layout.length`.
      settings: width, layers, dropout.
    """
    width, seed, dropout = settings.embedding_dim, settings.seed, settings.dropout_rate
    actions = len(layout.actions)
    seeds = itertools.count(1_000_003 * (seed + 1), 1_000)

    def dense(units: int, name: str, **kwargs: Any) -> keras.layers.Dense:
        initializer = keras.initializers.GlorotUniform(seed=next(seeds))
        return keras.layers.Dense(units, kernel_initializer=initializer, name=name, **kwargs)

    event_codes = keras.Input((None, len(layout.event_codes)), dtype="int32", name="event_codes")
    event_numbers = keras.Input((None, len(layout.event_numbers)), dtype="float32", name="event_numbers")
    lead_codes = keras.Input((len(layout.lead_codes),), dtype="int32", name="lead_codes")
    lead_numbers = keras.Input((len(layout.lead_numbers),), dtype="float32", name="lead_numbers")
    length = keras.Input((), dtype="int32", name="length")

    # Events.
    codes = Embeddings(_columns(layout.event_codes), width, settings.unknown_rate, next(seeds), name="events")
    parts = [
        *codes(event_codes),
        dense(width, "repeats_dense", use_bias=False)(Repeats(BACK, name="repeats")(event_codes)),
    ]
    if layout.event_numbers:
        parts = [*parts, dense(width, "event_numbers_dense")(event_numbers)]
    events = keras.layers.Add(name="event_tokens")(parts)

    # The lead.
    tokens = []
    if layout.lead_codes:
        tokens = Embeddings(_columns(layout.lead_codes), width, settings.unknown_rate, next(seeds), name="lead")(
            lead_codes
        )
    if layout.lead_numbers:
        numbers = Knots(name="knots")(lead_numbers)
        numbers = keras.layers.Dropout(dropout / 2, seed=next(seeds), name="lead_numbers_dropout")(numbers)
        tokens = [*tokens, dense(width, "lead_numbers_dense")(numbers)]
    start = Start(width, next(seeds), name="start")(length)
    context = keras.layers.Add(name="lead_sum")([start, *tokens]) if tokens else start
    if tokens:
        normal = keras.layers.LayerNormalization(name="lead_norm")(context)
        wide = dense(2 * width, "lead_wide", activation="relu")(normal)
        wide = keras.layers.Dropout(dropout, seed=next(seeds), name="lead_dropout")(wide)
        context = keras.layers.Add(name="lead_context")([context, dense(width, "lead_narrow")(wide)])
    lead_tokens = ops.stack(tokens, axis=1) if tokens else start[:, None, :][:, :0]

    # The history.
    slots = Slots(layout.length, RECENT, next(seeds), name="slots")(context, events)
    slots = keras.layers.Dropout(dropout, seed=next(seeds), name="slots_dropout")(slots)
    for i in range(settings.num_layers):
        normal = keras.layers.LayerNormalization(name=f"block_{i}_norm_1")(slots)
        seen = Attention(settings.num_heads, layout.length, dropout, next(seeds), name=f"block_{i}_attention")(
            normal, lead_tokens
        )
        seen = keras.layers.Dropout(dropout, seed=next(seeds), name=f"block_{i}_dropout_1")(seen)
        slots = keras.layers.Add(name=f"block_{i}_add_1")([slots, seen])
        normal = keras.layers.LayerNormalization(name=f"block_{i}_norm_2")(slots)
        wide = dense(2 * width, f"block_{i}_wide", activation="relu")(normal)
        narrow = dense(width, f"block_{i}_narrow")(wide)
        narrow = keras.layers.Dropout(dropout, seed=next(seeds), name=f"block_{i}_dropout_2")(narrow)
        slots = keras.layers.Add(name=f"block_{i}_add_2")([slots, narrow])

    # The head.
    slots = keras.layers.LayerNormalization(name="slots_norm")(slots)
    counts = ActionCounts(actions, name="action_counts")(event_codes[..., 0])
    hidden = keras.layers.Concatenate(name="state")([slots, counts])
    if tokens:
        hidden = Beside(name="beside")(hidden, keras.layers.LayerNormalization(name="context_norm")(context))
    state = hidden
    for i, units in enumerate(settings.hidden_layers):
        hidden = dense(units, f"hidden_{i}", activation="relu")(hidden)
        hidden = keras.layers.Dropout(dropout, seed=next(seeds), name=f"hidden_dropout_{i}")(hidden)

    def logits(name: str, units: int) -> Any:
        """A linear function of the dense layers' output, and of the state beside them."""
        deep = dense(units, f"{name}_deep", dtype="float32")(hidden)
        return deep + dense(units, f"{name}_wide", dtype="float32", use_bias=False)(state)

    action = logits("action_logits", actions)
    value, effect = logits("value", 1), logits("effect", actions)
    conversion = Effects(name="effects", dtype="float32")(value, effect, action)
    outputs = {
        "action_logits": Used(name="action_logits", dtype="float32")(action, length),
        "conversion_logits": Used(name="conversion_logits", dtype="float32")(conversion, length),
    }
    inputs = {
        "event_codes": event_codes,
        "event_numbers": event_numbers,
        "lead_codes": lead_codes,
        "lead_numbers": lead_numbers,
        "length": length,
    }
    return keras.Model(inputs, outputs, name="next_best_action")
