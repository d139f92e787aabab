from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules.recommendation.layers import ActionCounts, Embeddings
from modules.recommendation.layout import FIRST_WORD, UNKNOWN, Codes, Layout
from modules.recommendation.model import build_network
from modules.recommendation.settings import RecommendationSettings

LENGTH, ACTIONS = 6, 3
SETTINGS = RecommendationSettings(embedding_dim=8, num_heads=2, num_layers=2, hidden_layers=(8,), dropout_rate=0.2)


def layout(*, numbers: bool = True, lead: bool = True) -> Layout:
    return Layout(
        length=LENGTH,
        actions=("email", "call", "visit"),
        event_codes=(Codes(name="action", size=ACTIONS + FIRST_WORD), Codes(name="gap", size=9)),
        event_numbers=("price",) if numbers else (),
        lead_codes=(Codes(name="state", size=7), Codes(name="source", size=5)) if lead else (),
        lead_numbers=("age", "age_missing") if lead and numbers else (),
    )


def batch(of: Layout, lengths: list[int], slots: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random journeys; slots behind a journey's events are 0."""
    random = np.random.default_rng(seed)
    n = len(lengths)
    used = np.arange(slots)[None, :, None] < np.array(lengths)[:, None, None]
    codes = np.stack([random.integers(1, c.size, (n, slots)) for c in of.event_codes], axis=-1)
    return {
        "event_codes": np.where(used, codes, 0).astype(np.int32),
        "event_numbers": np.where(used, random.normal(size=(n, slots, len(of.event_numbers))), 0).astype(np.float32),
        "lead_codes": np.stack(
            [random.integers(1, c.size, n) for c in of.lead_codes] or [np.zeros(n)][:0], axis=-1
        ).astype(np.int32)
        if of.lead_codes
        else np.zeros((n, 0), np.int32),
        "lead_numbers": random.normal(size=(n, len(of.lead_numbers))).astype(np.float32),
        "length": np.array(lengths, np.int32),
    }


def outputs(network: keras.Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in network(inputs, training=False).items()}


@pytest.fixture(scope="module")
def network() -> keras.Model:
    found = build_network(layout(), SETTINGS)
    random = np.random.default_rng(1)
    for variable in found.trainable_variables:  # biases start at 0, where a wrong one would not be seen
        variable.assign(np.array(variable) + random.normal(scale=0.3, size=variable.shape))
    return found


def test_outputs_have_one_slot_more_than_the_history(network: keras.Model) -> None:
    for slots in (0, 1, LENGTH):
        found = outputs(network, batch(layout(), [slots, 0], slots))
        assert set(found) == {"action_logits", "conversion_logits"}
        assert all(value.shape == (2, slots + 1, ACTIONS) and value.dtype == np.float32 for value in found.values())
        assert all(np.isfinite(value).all() for value in found.values())


@pytest.mark.parametrize("slot", range(LENGTH))
def test_slot_does_not_see_later_events(network: keras.Model, slot: int) -> None:
    one, other = batch(layout(), [LENGTH] * 3, LENGTH, seed=0), batch(layout(), [LENGTH] * 3, LENGTH, seed=1)
    for name in ("lead_codes", "lead_numbers"):
        other[name] = one[name]
    for name in ("event_codes", "event_numbers"):
        other[name][:, :slot] = one[name][:, :slot]
    first, second = outputs(network, one), outputs(network, other)
    for name in first:
        np.testing.assert_allclose(first[name][:, : slot + 1], second[name][:, : slot + 1], atol=1e-5)
        assert np.abs(first[name][:, slot + 1 :] - second[name][:, slot + 1 :]).min(axis=-1).max() > 1e-3


def test_every_slot_sees_the_lead_and_the_event_before(network: keras.Model) -> None:
    before = batch(layout(), [3], 3)
    for name in ("lead_codes", "lead_numbers"):
        changed = before | {name: (before[name] + 1) % 4}
        assert (
            np.abs(outputs(network, changed)["action_logits"] - outputs(network, before)["action_logits"]) > 0
        ).all()
    changed = before | {"event_codes": before["event_codes"].copy()}
    changed["event_codes"][0, 2, 1] = before["event_codes"][0, 2, 1] % 8 + 1
    difference = outputs(network, changed)["action_logits"] - outputs(network, before)["action_logits"]
    assert np.abs(difference[0, 3]).min() > 0


def test_shorter_histories_are_the_same_in_a_longer_batch(network: keras.Model) -> None:
    alone = batch(layout(), [2], 2, seed=3)
    padded = {name: value.copy() for name, value in alone.items()}
    for name in ("event_codes", "event_numbers"):
        padded[name] = np.pad(alone[name], [(0, 0), (0, LENGTH - 2), (0, 0)])
    other = batch(layout(), [LENGTH], LENGTH, seed=4)
    together = {name: np.concatenate([padded[name], other[name]]) for name in padded}
    for name, value in outputs(network, alone).items():
        found = outputs(network, together)[name]
        np.testing.assert_allclose(found[0, :3], value[0], atol=1e-5)
        assert not found[0, 3:].any()


def test_empty_history_depends_on_the_lead_alone(network: keras.Model) -> None:
    none = batch(layout(), [0, 0], 0)
    padded = none | {
        "event_codes": np.zeros((2, LENGTH, 2), np.int32),
        "event_numbers": np.zeros((2, LENGTH, 1), np.float32),
    }
    for name, value in outputs(network, none).items():
        np.testing.assert_allclose(outputs(network, padded)[name][:, 0], value[:, 0], atol=1e-5)
        assert np.abs(value[0] - value[1]).max() > 1e-3


@pytest.mark.parametrize(("numbers", "lead"), [(False, False), (False, True), (True, False)])
def test_layouts_without_numbers_or_lead(numbers: bool, lead: bool) -> None:
    of = layout(numbers=numbers, lead=lead)
    found = outputs(build_network(of, SETTINGS), batch(of, [2, 0], 2))
    assert np.isfinite(found["action_logits"]).all()
    assert (np.abs(found["action_logits"][0]).max(axis=-1) > 0).all()


def test_same_seed_same_network_and_same_dropout() -> None:
    inputs = batch(layout(), [4, 2], 4)
    one, two = build_network(layout(), SETTINGS), build_network(layout(), SETTINGS)
    other = build_network(layout(), SETTINGS.model_copy(update={"seed": 1}))
    for training in (False, True):
        first = np.asarray(one(inputs, training=training)["action_logits"])
        assert np.array_equal(first, np.asarray(two(inputs, training=training)["action_logits"]))
        assert not np.array_equal(first, np.asarray(other(inputs, training=training)["action_logits"]))


def test_no_two_weights_start_equal() -> None:
    network = build_network(layout(), SETTINGS)
    first = [float(np.ravel(np.array(v))[0]) for v in network.trainable_variables if np.array(v).std() > 0]
    assert len(set(first)) == len(first)


def test_saved_file_gives_the_same_answers(network: keras.Model, tmp_path: Path) -> None:
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    inputs = batch(layout(), [3, 0], 3)
    for name, value in outputs(network, inputs).items():
        assert np.array_equal(outputs(loaded, inputs)[name], value)


def test_exported_saved_model_takes_any_number_of_slots(network: keras.Model, tmp_path: Path) -> None:
    network.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported").signatures["serving_default"]
    for slots in (0, 1, 5):
        inputs = batch(layout(), [slots, 0], slots)
        found = served(**{name: tf.constant(value) for name, value in inputs.items()})
        for name, value in outputs(network, inputs).items():
            np.testing.assert_allclose(found[name].numpy(), value, atol=1e-5)


def test_counts_of_actions_by_hand() -> None:
    codes = np.array([[FIRST_WORD + 1, FIRST_WORD + 1, UNKNOWN, FIRST_WORD]])
    counts = np.expm1(np.asarray(ActionCounts(2)(codes)))
    np.testing.assert_allclose(counts, [[[0, 0], [0, 1], [0, 2], [0, 2], [1, 2]]], atol=1e-6)


def test_unknown_rate_replaces_that_share_of_codes_but_no_padding() -> None:
    layer = Embeddings([{"name": "state", "size": 9}], 1, unknown_rate=0.25, seed=0)
    codes = np.repeat([[0], [5]], 4000, axis=0).reshape(-1, 1).astype(np.int32)
    layer(codes)
    layer.tables[0].embeddings.assign(np.arange(9)[:, None])
    (drawn,) = layer(codes, training=True)
    drawn = np.asarray(drawn)[:, 0]
    assert (drawn[:4000] == 0).all()
    assert set(drawn[4000:]) == {5, UNKNOWN}
    assert np.mean(drawn[4000:] == UNKNOWN) == pytest.approx(0.25, abs=0.03)
    assert (np.asarray(layer(codes)[0])[4000:] == 5).all()
