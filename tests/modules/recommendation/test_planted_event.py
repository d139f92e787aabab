"""Where one event decides what comes next, the attribution finds it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modules.recommendation import attribution
from modules.recommendation.fit import fit
from modules.recommendation.layout import FIRST_WORD, Codes, Layout
from modules.recommendation.model import build_network
from modules.recommendation.sequences import Sequences
from modules.recommendation.serving_network import AtLastSlot
from modules.recommendation.settings import RecommendationSettings

LENGTH, ACTIONS = 9, 3
LAYOUT = Layout(
    length=LENGTH,
    actions=("email", "call", "visit"),
    event_codes=(Codes(name="action", size=ACTIONS + FIRST_WORD), Codes(name="mark", size=2 + FIRST_WORD)),
    lead_codes=(Codes(name="source", size=4 + FIRST_WORD),),
)
SETTINGS = RecommendationSettings(
    embedding_dim=16,
    num_heads=2,
    hidden_layers=(),
    dropout_rate=0.0,
    learning_rate=0.02,
    batch_size=128,
    epochs=8,
    early_stopping_rounds=None,
)


def journeys(n: int, seed: int) -> tuple[Sequences, np.ndarray]:
    """Random actions, one of them marked: it is repeated next. Which one that is, int [n]."""
    random = np.random.default_rng(seed)
    length = random.integers(2, LENGTH + 1, n)
    used = np.arange(LENGTH) < length[:, None]
    actions = random.integers(0, ACTIONS, (n, LENGTH))
    marked = random.integers(0, length)
    marks = (np.arange(LENGTH) == marked[:, None]).astype(np.int64)
    codes = np.where(used[..., None], np.stack([actions, marks], axis=2) + FIRST_WORD, 0)
    sequences = Sequences(
        event_codes=codes.astype(np.int32),
        event_numbers=np.zeros((n, LENGTH, 0), np.float32),
        length=length.astype(np.int32),
        lead_codes=random.integers(FIRST_WORD, 4 + FIRST_WORD, (n, 1)).astype(np.int32),
        lead_numbers=np.zeros((n, 0), np.float32),
        next_action=actions[np.arange(n), marked].astype(np.int32),
        outcome=np.full(n, np.nan, np.float32),
        positions=np.ones(n, np.int32),
        time=np.zeros(n, np.int64),
    )
    return sequences, marked


@pytest.mark.slow
def test_the_event_that_decides_contributes_most() -> None:
    train, _ = journeys(4000, 0)
    network = build_network(LAYOUT, SETTINGS)
    fit(network, SETTINGS, train, None)
    test, marked = journeys(60, 1)
    last = AtLastSlot([network])
    inputs = {name: tf.constant(value) for name, value in test.inputs().items()}
    right = last(inputs)[0].numpy().argmax(axis=1) == test.next_action
    assert right.mean() > 0.9  # there is something to be found

    def value(action_logits: tf.Tensor, _: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
        p = tf.nn.log_softmax(action_logits)[:, action]
        return tf.stack([p, tf.zeros_like(p)], axis=1)

    nothing = {"lead_codes": tf.constant([1], tf.int32), "lead_numbers": tf.zeros([0])}
    found = attribution.explain(
        inputs,
        nothing,
        tf.zeros([60, inputs["event_codes"].shape[1]], tf.int64),
        tf.zeros([60], tf.int64),
        (),
        value,
        last,
        tf.constant(test.next_action),
    )
    contribution = found.contribution.numpy()[right, :, 0]
    strongest = contribution.argmax(axis=1) - 2
    assert (strongest == marked[right]).mean() >= 0.95
    # Most of what the history tells is told by that event, and next to nothing by the lead.
    decisive = contribution[np.arange(len(strongest)), 2 + marked[right]]
    assert np.median(decisive) > 0.5
    assert np.abs(contribution[:, 0]).mean() < 0.25 * decisive.mean()
