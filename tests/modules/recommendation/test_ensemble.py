"""Several networks that differ in their seeds."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules import progress
from modules.recommendation.devices import Plan
from modules.recommendation.ensemble import Member, member_settings, train
from modules.recommendation.fit import fit
from modules.recommendation.layout import FIRST_WORD, Codes, Layout
from modules.recommendation.model import build_network
from modules.recommendation.sequences import Sequences
from modules.recommendation.settings import RecommendationSettings

LENGTH, ACTIONS = 2, 3
LAYOUT = Layout(
    length=LENGTH,
    actions=("email", "call", "visit"),
    event_codes=(Codes(name="action", size=ACTIONS + FIRST_WORD),),
)
ONE = RecommendationSettings(
    embedding_dim=4, num_heads=1, hidden_layers=(4,), learning_rate=0.02, batch_size=16, epochs=2, seed=5
)
TWO = ONE.model_copy(update={"ensemble": 2})


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    """Operation by operation: a few steps take less time than building a graph."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def journeys(n: int, seed: int) -> Sequences:
    random = np.random.default_rng(seed)
    length = np.full(n, LENGTH)
    return Sequences(
        event_codes=random.integers(FIRST_WORD, FIRST_WORD + ACTIONS, (n, LENGTH, 1)).astype(np.int32),
        event_numbers=np.zeros((n, LENGTH, 0), np.float32),
        length=length.astype(np.int32),
        lead_codes=np.zeros((n, 0), np.int32),
        lead_numbers=np.zeros((n, 0), np.float32),
        next_action=random.integers(0, ACTIONS, n).astype(np.int32),
        outcome=random.integers(0, 2, n).astype(np.float32),
        positions=(length + 1).astype(np.int32),
        time=np.arange(n),
    )


TRAIN, VALIDATION = journeys(16, 0), journeys(8, 1)


def weights(network: keras.Model) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in network.get_weights()])


def heard_training(
    settings: RecommendationSettings, part: Sequences = TRAIN, die: str = "", **dirs: Path
) -> tuple[tuple[Member, ...], list[str]]:
    """Members and the texts of progress; dies at a text that begins so."""
    heard: list[str] = []

    def listener(done: int, total: int, text: str) -> None:
        heard.append(f"{text.split(' ')[0]} {done}" if text.startswith("train:") else f"{text.split(': ')[0]} {done}")
        if heard[-1] == die:
            raise KeyboardInterrupt

    progress.set_listener(listener)
    try:
        found = train(LAYOUT, settings, Plan(), part, VALIDATION, **dirs)
    except KeyboardInterrupt:
        found = ()
    finally:
        progress.set_listener(None)
    return found, heard


@pytest.fixture(scope="module")
def two() -> tuple[Member, ...]:
    tf.config.run_functions_eagerly(True)
    return heard_training(TWO)[0]


def test_an_ensemble_of_one_is_the_network_itself(tmp_path) -> None:
    dirs = {"checkpoint_dir": tmp_path / "state", "tensorboard_dir": tmp_path / "curves"}
    (member,), heard = heard_training(ONE, **dirs)
    assert heard == ["train: 1", "train: 2"]
    keras.utils.set_random_seed(ONE.seed)
    network = build_network(LAYOUT, ONE)
    fitted = fit(network, ONE, TRAIN, VALIDATION)
    np.testing.assert_array_equal(weights(member.network), weights(network))
    assert [e.loss for e in member.fitted.epochs] == [e.loss for e in fitted.epochs]
    assert {path.name for path in (tmp_path / "curves").iterdir()} == {"train", "validation"}
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["finished.npz"]


def test_networks_of_an_ensemble_differ_and_the_first_is_that_of_one(two) -> None:
    (one,), _ = heard_training(ONE)
    assert [member.seed for member in two] == [5, 1_000_005]
    first, second = (weights(member.network) for member in two)
    np.testing.assert_array_equal(first, weights(one.network))
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize("seed", [0, 1, 999_998])
def test_ensembles_of_neighbouring_seeds_share_no_network(seed: int) -> None:
    sixteen = RecommendationSettings(ensemble=16, seed=seed)
    here, there = (
        {found.seed for found in member_settings(sixteen.model_copy(update={"seed": own}))} for own in (seed, seed + 1)
    )
    assert len(here) == len(there) == 16 and not here & there
    assert all(found.ensemble == 1 for found in member_settings(sixteen))


def test_a_killed_ensemble_goes_on_with_the_network_it_was_at(two, tmp_path) -> None:
    dirs = {"checkpoint_dir": tmp_path / "state", "tensorboard_dir": tmp_path / "curves"}
    _, heard = heard_training(TWO, die="network 2 of 2, train 2", **dirs)
    assert heard == [f"network {number} of 2, train {epoch}" for number in (1, 2) for epoch in (1, 2)]
    found, heard = heard_training(TWO, **dirs)
    assert heard == ["network 2 of 2, train 2"]
    for member, wanted in zip(found, two, strict=True):
        np.testing.assert_array_equal(weights(member.network), weights(wanted.network))
        assert [e.loss for e in member.fitted.epochs] == [e.loss for e in wanted.fitted.epochs]
        assert (member.fitted.best_epoch, member.seed) == (wanted.fitted.best_epoch, wanted.seed)
    assert {path.name for path in (tmp_path / "curves").iterdir()} == {"network_1", "network_2"}

    # Nothing is left to do, unless the data are others or nothing may be resumed.
    assert heard_training(TWO, **dirs)[1] == []
    alone = {"checkpoint_dir": dirs["checkpoint_dir"] / "network_1", "die": "train: 1"}
    assert heard_training(ONE, **alone)[1] == []
    assert heard_training(ONE, journeys(16, 7), **alone)[1] == ["train: 1"]
    assert heard_training(ONE.model_copy(update={"resume": False}), **alone)[1] == ["train: 1"]
