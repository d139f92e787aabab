"""Training of the network: `fit`, fed by its tf.data pipeline, against a plain Keras script.

The plain script has the same network, loss, optimizer and batches of the same shapes, all of them made before the clock
starts and held in memory as tensors. What differs is the input pipeline: shuffling, cutting, padding, prefetching, and
whatever else `fit` does per step. Epochs in turn; the first of each, which traces the graph, is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from modules.marketplace.settings import MarketplaceSettings
from modules.marketplace.write import write_marketplace
from modules.recommendation.batches import buckets
from modules.recommendation.fit import fit
from modules.recommendation.layout import FIRST_WORD, Codes, Layout
from modules.recommendation.model import build_network
from modules.recommendation.sequences import Sequences
from modules.recommendation.settings import RecommendationSettings

LENGTH = 12
LEADS = 20_000
EPOCHS = 4
ROUNDS = 2
LEAD_NUMBERS, LEAD_CODES, CATEGORIES = 40, 8, 30


def journeys(folder: Path, leads: int) -> tuple[Layout, Sequences]:
    """Journeys of the marketplace as `fit` takes them, with lead features of random values: only their cost counts."""
    import pandas as pd

    write_marketplace(folder, MarketplaceSettings(rows=leads, seed=1))
    events = pd.read_csv(folder / "events.csv", usecols=["lead_id", "action", "response"])
    lead = pd.factorize(events["lead_id"])[0]
    slot = events.groupby("lead_id").cumcount().to_numpy()
    action, actions = pd.factorize(events["action"], sort=True)
    response, responses = pd.factorize(events["response"], sort=True)
    random = np.random.default_rng(0)
    count = int(lead.max()) + 1
    length = np.bincount(lead).astype(np.int32) - 1  # the last event is the answer
    seen = slot < length[lead]
    codes = np.zeros((count, LENGTH, 4), np.int32)
    codes[lead[seen], slot[seen], 0] = action[seen] + FIRST_WORD
    codes[lead[seen], slot[seen], 1] = response[seen] + FIRST_WORD
    codes[lead[seen], slot[seen], 2:] = random.integers(FIRST_WORD, CATEGORIES, (int(seen.sum()), 2))
    last = slot == length[lead]
    next_action = np.empty(count, np.int32)
    next_action[lead[last]] = action[last]
    layout = Layout(
        length=LENGTH,
        actions=tuple(actions),
        event_codes=(
            Codes(name="action", size=len(actions) + FIRST_WORD),
            Codes(name="response", size=len(responses) + FIRST_WORD),
            Codes(name="gap", size=CATEGORIES),
            Codes(name="age", size=CATEGORIES),
        ),
        lead_codes=tuple(Codes(name=f"category_{i}", size=CATEGORIES) for i in range(LEAD_CODES)),
        lead_numbers=tuple(f"number_{i}" for i in range(LEAD_NUMBERS)),
    )
    return layout, Sequences(
        event_codes=codes,
        event_numbers=np.zeros((count, LENGTH, 0), np.float32),
        length=length,
        lead_codes=random.integers(0, CATEGORIES, (count, LEAD_CODES)).astype(np.int32),
        lead_numbers=random.normal(size=(count, LEAD_NUMBERS)).astype(np.float32),
        next_action=next_action,
        outcome=random.integers(0, 2, count).astype(np.float32),
        positions=length + 1,
        time=np.zeros(count, np.int64),
    )


class Plain(keras.Model):
    """What a script would write: the network and its loss."""

    def __init__(self, network: keras.Model, conversion_weight: float) -> None:
        super().__init__()
        self.network, self.conversion_weight = network, conversion_weight

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.network(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
        known = ops.cast(y["action"] >= 0, "float32")
        taken = ops.one_hot(ops.maximum(y["action"], 0), y_pred["action_logits"].shape[-1])
        action = -ops.sum(taken * ops.log_softmax(y_pred["action_logits"]), axis=-1)
        value, outcome = ops.sum(taken * y_pred["conversion_logits"], axis=-1), y["outcome"][:, None]
        conversion = ops.relu(value) - value * outcome + ops.softplus(-ops.abs(value))
        return ops.sum(known * (action + self.conversion_weight * conversion)) / ops.sum(known)


def _ready_batches(data: Sequences, size: int) -> list[tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]]:
    """All batches of an epoch, journeys of similar length together, padded to the lengths that `fit` pads to."""
    sizes = np.array(buckets(data.event_codes.shape[1]))
    bucket = sizes[np.searchsorted(sizes, data.length)]
    answers = data.answers()
    batches = []
    for padded in np.unique(bucket):
        rows = np.flatnonzero(bucket == padded)
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            inputs = {
                "event_codes": data.event_codes[chosen, :padded],
                "event_numbers": data.event_numbers[chosen, :padded],
                "lead_codes": data.lead_codes[chosen],
                "lead_numbers": data.lead_numbers[chosen],
                "length": data.length[chosen],
            }
            targets = {"action": answers[chosen, : padded + 1], "outcome": data.outcome[chosen]}
            batches.append(
                ({k: tf.constant(v) for k, v in inputs.items()}, {k: tf.constant(v) for k, v in targets.items()})
            )
    # Keras takes a dimension for a fixed one where the first two batches of a generator agree in it, so the shortest
    # and the longest batch come first (they were built in order of length).
    middle = np.random.default_rng(0).permutation(np.arange(1, len(batches) - 1))
    return [batches[i] for i in (0, len(batches) - 1, *middle)]


def _plain_seconds(layout: Layout, settings: RecommendationSettings, data: Sequences) -> list[float]:
    keras.utils.set_random_seed(settings.seed)
    model = Plain(build_network(layout, settings), settings.conversion_weight)
    model.compile(optimizer=keras.optimizers.Adam(settings.learning_rate, global_clipnorm=1.0))
    batches = _ready_batches(data, settings.batch_size)

    def again() -> Iterator[Any]:
        while True:
            yield from batches

    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begin = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.begin)

    model.fit(again(), steps_per_epoch=len(batches), epochs=settings.epochs, verbose=0, callbacks=[Clock()])
    return seconds[1:]


def training_ratio(leads: int = LEADS) -> dict[str, Any]:
    """Examples per second of `fit` over those of the plain script, medians over epochs taken in turn."""
    import tempfile

    settings = RecommendationSettings(epochs=EPOCHS, early_stopping_rounds=None)
    with tempfile.TemporaryDirectory(prefix="aiqleads-training-") as folder:
        layout, data = journeys(Path(folder), leads)
    ours: list[float] = []
    plain: list[float] = []
    for _ in range(ROUNDS):
        keras.utils.set_random_seed(settings.seed)
        fitted = fit(build_network(layout, settings), settings, data)
        ours += [epoch.seconds for epoch in fitted.epochs[1:]]
        plain += _plain_seconds(layout, settings, data)
    decisions = int((data.answers() >= 0).sum())
    return {
        "training_ratio": float(np.median(plain) / np.median(ours)),
        "training_decisions": decisions,
        "training_decisions_per_s": decisions / float(np.median(ours)),
        "plain_decisions_per_s": decisions / float(np.median(plain)),
    }
