from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules import progress
from modules.recommendation import batches as batches_module
from modules.recommendation import fit as fit_module
from modules.recommendation import loss as loss_module
from modules.recommendation.batches import buckets, entries_of, plan_batches
from modules.recommendation.fit import fit
from modules.recommendation.layout import FIRST_WORD, Codes, Layout
from modules.recommendation.loss import class_weights, recency_weights
from modules.recommendation.model import build_network
from modules.recommendation.sequences import Sequences
from modules.recommendation.settings import RecommendationSettings
from modules.recommendation.training_state import Fitted

LENGTH, ACTIONS, DAY = 4, 4, 86_400
LAYOUT = Layout(
    length=LENGTH,
    actions=("email", "call", "visit", "wait"),
    event_codes=(Codes(name="action", size=ACTIONS + FIRST_WORD),),
    lead_codes=(Codes(name="source", size=2 + FIRST_WORD),),
)
SETTINGS = RecommendationSettings(
    embedding_dim=8,
    num_heads=2,
    hidden_layers=(16,),
    dropout_rate=0.1,
    learning_rate=0.02,
    batch_size=64,
    epochs=2,
    early_stopping_rounds=None,
)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Operation by operation, all lengths in one batch: a few steps take less time than building a graph."""
    monkeypatch.setattr(batches_module, "buckets", lambda length: [length])
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def journeys(n: int, seed: int, rule: bool = True) -> Sequences:
    """The first action is the lead's source; the next is the one before plus 1 or, after a second source, plus 2.

    The lead converts where its second action is `email`. Without the rule actions are drawn.
    """
    random = np.random.default_rng(seed)
    source = random.integers(0, 2, n)
    step = 1 + source
    actions = (source[:, None] + step[:, None] * np.arange(LENGTH + 1)) % ACTIONS
    if not rule:
        actions = random.integers(0, ACTIONS, actions.shape)
    length = random.integers(0, LENGTH + 1, n)
    used = np.arange(LENGTH) < length[:, None]
    return Sequences(
        event_codes=np.where(used, actions[:, :LENGTH] + FIRST_WORD, 0).astype(np.int32)[..., None],
        event_numbers=np.zeros((n, LENGTH, 0), np.float32),
        length=length.astype(np.int32),
        lead_codes=(source[:, None] + FIRST_WORD).astype(np.int32),
        lead_numbers=np.zeros((n, 0), np.float32),
        next_action=actions[np.arange(n), length].astype(np.int32),
        outcome=np.where(length > 0, source, np.nan).astype(np.float32),
        positions=(length + 1).astype(np.int32),
        time=np.arange(n) * DAY,
    )


def train(settings: RecommendationSettings = SETTINGS, **kwargs: Any) -> tuple[keras.Model, Fitted]:
    network = build_network(LAYOUT, settings)
    data = {"train": journeys(64, 0), "validation": journeys(32, 1)} | kwargs
    return network, fit(network, settings, **data)


def weights(network: keras.Model) -> list[np.ndarray]:
    return [np.array(value) for value in network.trainable_variables]


def test_learns_a_rule_and_the_outcome(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 40, "weight_averaging": 0.9, "conversion_weight": 1.0})
    network, fitted = train(settings, tensorboard_dir=tmp_path)
    assert {path.parent.name for path in tmp_path.rglob("events.out.tfevents.*")} == {"train", "validation"}
    assert len(fitted.epochs) == 40
    assert fitted.epochs[fitted.best_epoch - 1].accuracy == 1.0
    assert fitted.epochs[fitted.best_epoch - 1].conversion_loss < 0.1
    test = journeys(100, 2)
    found = network(test.inputs())
    answers = test.answers()
    taken = np.asarray(found["action_logits"]).argmax(axis=-1)
    assert (taken == answers)[answers >= 0].all()
    slot = np.arange(len(test)), test.length, test.next_action
    converts = np.asarray(found["conversion_logits"])[slot] > 0
    known = ~np.isnan(test.outcome)
    assert (converts == test.outcome)[known].all()


def test_best_weights_are_kept_and_training_stops(eager: None) -> None:
    # Nothing can be learned of drawn actions: the validation loss rises early on.
    settings = SETTINGS.model_copy(update={"epochs": 10, "early_stopping_rounds": 1})
    validation = journeys(32, 1, rule=False)
    network, fitted = train(settings, train=journeys(64, 0, rule=False), validation=validation)
    losses = [epoch.action_loss for epoch in fitted.epochs]
    assert fitted.best_epoch == np.argmin(losses) + 1
    assert len(losses) == fitted.best_epoch + 1 < 10
    logits = np.asarray(network(validation.inputs())["action_logits"], np.float64)
    answers = validation.answers()
    log_probability = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    taken = np.take_along_axis(log_probability, np.maximum(answers, 0)[..., None], axis=-1)[..., 0]
    assert -taken[answers >= 0].mean() == pytest.approx(min(losses), rel=1e-5)


class Killed(Exception):
    pass


def test_resumed_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    """Killed in the second epoch, then in the refit."""
    settings = SETTINGS.model_copy(
        update={"weight_averaging": 0.9, "learning_rate_decay": "cosine", "refit": True, "shuffle_buffer": 50}
    )
    whole, expected = train(settings)
    assert len(expected.refit) == expected.best_epoch >= 2
    reports: list[str] = []
    limits = [2, 2 + (2 - 1) + 2]  # the epoch that is killed runs again

    def listener(done: int, total: int, text: str) -> None:
        reports.append(text)
        if len(reports) in limits:
            raise Killed

    monkeypatch.setattr(progress, "report", listener)
    for _ in limits:
        with pytest.raises(Killed):
            train(settings, checkpoint_dir=tmp_path)
    assert reports[-1].startswith("refit")
    resumed, fitted = train(settings, checkpoint_dir=tmp_path)
    assert len(reports) == len(expected.epochs) + len(expected.refit) + 2
    for first, second in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_array_equal(first, second)
    assert [epoch.loss for epoch in fitted.epochs] == [epoch.loss for epoch in expected.epochs]
    assert [epoch.loss for epoch in fitted.refit] == [epoch.loss for epoch in expected.refit]
    assert not list(tmp_path.iterdir())


def test_checkpoint_of_other_data_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    one = SETTINGS.model_copy(update={"epochs": 1})
    monkeypatch.setattr(fit_module.Checkpoint, "remove", lambda self: None)
    train(one, train=journeys(64, 5), validation=None, checkpoint_dir=tmp_path)
    assert (tmp_path / fit_module.CHECKPOINT).exists()
    fresh, expected = train(one, validation=None)
    other, fitted = train(one, validation=None, checkpoint_dir=tmp_path)
    assert fitted.epochs[0].loss == expected.epochs[0].loss
    for first, second in zip(weights(fresh), weights(other), strict=True):
        np.testing.assert_array_equal(first, second)


def test_single_decisions_have_the_loss_of_whole_journeys(eager: None) -> None:
    """The answers are the same, so is their mean loss: with a learning rate of nearly 0 the first epoch shows it."""
    still = SETTINGS.model_copy(
        update={"learning_rate": 1e-9, "epochs": 1, "dropout_rate": 0.0, "unknown_rate": 0.0, "conversion_weight": 0.5}
    )
    _, whole = train(still, validation=None)
    _, single = train(still.model_copy(update={"causal": False}), validation=None)
    assert single.epochs[0].loss == pytest.approx(whole.epochs[0].loss, rel=1e-5)


def test_effect_penalty_is_the_variance_of_the_effects(eager: None) -> None:
    """Seen with a learning rate of nearly 0; only journeys whose outcome is known have it."""
    still = {"learning_rate": 1e-9, "epochs": 1, "dropout_rate": 0.0, "unknown_rate": 0.0}
    data = journeys(64, 0)
    losses = []
    for penalty in (0.0, 0.7):
        settings = SETTINGS.model_copy(update=still | {"effect_penalty": penalty})
        network, fitted = train(settings, train=data, validation=None)
        losses.append(fitted.epochs[0].loss)
    logits = np.asarray(network(data.inputs())["conversion_logits"])
    answered = data.answers() >= 0
    known = answered & ~np.isnan(data.outcome)[:, None]
    expected = 0.7 * logits.var(axis=-1)[known].sum() / answered.sum()
    assert expected > 1e-4
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-3)


def test_every_answer_counts_the_same_in_batches_of_any_length(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short journeys have batches of their own; a batch's loss grows with its number of answers."""
    found: list[tuple[float, float]] = []
    original = loss_module.Learner.compute_loss

    def compute_loss(self: Any, x: Any, y: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        same = y_pred | {"action_logits": y_pred["action_logits"] * 0}  # every answer costs log(4)
        loss = original(self, x, y, same, *args, **kwargs)
        found.append((float(loss), float((np.asarray(y["action"]) >= 0).sum())))
        return loss

    monkeypatch.setattr(batches_module, "buckets", lambda length: [0, length])
    monkeypatch.setattr(loss_module.Learner, "compute_loss", compute_loss)
    train(SETTINGS.model_copy(update={"epochs": 1, "conversion_weight": 0.0, "effect_penalty": 0.0}), validation=None)
    loss, answers = np.array(found).T
    assert len(loss) == 2
    assert answers.max() > 5 * answers.min()
    np.testing.assert_allclose(loss, np.log(ACTIONS) * answers / answers.mean(), rtol=1e-5)


def test_unknown_outcomes_and_journeys_without_answers_do_no_harm(eager: None) -> None:
    data = journeys(64, 0)
    data = dataclasses.replace(
        data,
        outcome=np.full(64, np.nan, np.float32),
        positions=np.where(np.arange(64) < 32, 0, data.positions).astype(np.int32),
    )
    network, fitted = train(SETTINGS.model_copy(update={"epochs": 1}), train=data, validation=None)
    assert np.isfinite(fitted.epochs[0].loss)
    assert all(np.isfinite(value).all() for value in weights(network))
    with pytest.raises(ValueError, match="none of the journeys"):
        train(train=dataclasses.replace(data, positions=np.zeros(64, np.int32)))


def test_class_weights_by_hand() -> None:
    answers = np.array([[0] * 7 + [1, -1, -1]])
    # 8 answers of 4 actions: an even share is 2.
    assert class_weights(answers, 4, "balanced").tolist() == pytest.approx([2 / 7, 2, 2, 2])
    assert class_weights(answers, 4, "none").tolist() == [1, 1, 1, 1]
    rare = np.array([[0] * 100 + [1]])
    assert class_weights(rare, 2, "balanced")[1] == 10


def test_recency_weights_halve_and_are_one_on_average() -> None:
    times, slots = np.array([0, 10, 20]) * DAY, np.array([1, 1, 2])
    weight = recency_weights(times, slots, 10)
    assert (weight / weight[2]).tolist() == pytest.approx([0.25, 0.5, 1])
    assert (weight * slots).sum() / slots.sum() == pytest.approx(1)
    assert recency_weights(times, slots, None).tolist() == [1, 1, 1]


@pytest.mark.parametrize("length", [0, 1, 5, 64, 3000])
def test_buckets_end_with_the_longest_history(length: int) -> None:
    found = buckets(length)
    assert found[-1] == length
    assert found == sorted(set(found))


@pytest.mark.parametrize("buffer", [1, 7, 1000])
def test_batches_hold_every_entry_once_and_waste_little(buffer: int) -> None:
    data = journeys(100, 0)
    entries = entries_of(data, data.answers(), causal=True)
    plans = [plan_batches(entries, 16, buffer, seed) for seed in (0, 0, 1)]
    for order, start, end, padded in plans:
        drawn = [order[a:b] for a, b in zip(start, end, strict=True)]
        assert sorted(np.concatenate(drawn)) == list(range(100))
        for rows, size in zip(drawn, padded, strict=True):
            assert len(rows) <= 16
            assert entries.slot[rows].max() <= size <= entries.slot[rows].min() + 1
        assert len(start) == len(plans[0][1])
    assert np.array_equal(plans[0][0], plans[1][0])
    assert (buffer == 1) == np.array_equal(plans[0][0], plans[2][0])
