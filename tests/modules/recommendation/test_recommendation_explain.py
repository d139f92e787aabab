"""The signature `explain`: what is attributed follows from the model's own answers about other histories."""

from __future__ import annotations

from math import factorial
from pathlib import Path
from typing import Any

import journey_examples
import numpy as np
import pytest
import tensorflow as tf
from journey_examples import DATASET, LENGTH, example, random_rows

from modules.journeys import names
from modules.journeys.dataset import Outcome
from modules.recommendation import attribution, baselines
from modules.recommendation.calibration import Calibration
from modules.recommendation.export import RecommendationModel
from modules.recommendation.model import build_network
from modules.recommendation.read import read_sequences
from modules.recommendation.settings import PolicySettings, RecommendationSettings
from modules.recommendation.transform_layout import layout as layout_of
from modules.saved_model import save
from tests.modules import sessions

SETTINGS = RecommendationSettings(embedding_dim=16, num_heads=2, hidden_layers=(16,), text_words=3, seed=4)
CALIBRATION = Calibration(temperature=0.7, slope=1.5, bias=-0.5, decisions=9, outcomes=9)
OUTCOMES = DATASET.model_copy(update={"outcome": Outcome(action="visit")})
LISTS = (names.HISTORY_ACTION, names.HISTORY_TIME, *(names.history(f.name) for f in DATASET.events.features))
LEAD = tuple(f.name for f in DATASET.features)
START = 1_700_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> RecommendationModel:
    """A network with random weights that tell inputs apart."""
    graph, output, _ = journey_examples.transformed(tmp_path_factory)
    layout = layout_of(journey_examples.CONFIG, output)
    network = build_network(layout, SETTINGS)
    rng = np.random.default_rng(1)
    network.set_weights([w + rng.normal(0, 0.3, w.shape).astype(w.dtype) for w in network.get_weights()])
    examples = [str(Path(graph).parent / "data" / "Split-train" / "*")]
    learned = baselines.learn(read_sequences(examples, output, layout, causal=True), len(layout.actions), layout.length)
    return RecommendationModel(output, [network], layout, OUTCOMES, PolicySettings(), CALIBRATION, learned)


def history(events: int, seed: int) -> dict[str, Any]:
    """A decision with everything there."""
    rng = np.random.default_rng(seed)
    times = START + 3600 + np.cumsum(rng.integers(1, 10 ** rng.integers(2, 6, events)))
    return {
        names.HISTORY_ACTION: rng.choice([b"call", b"email", b"visit", b"text"], events).tolist(),
        names.HISTORY_TIME: [int(t) for t in times],
        names.history("channel"): rng.choice([b"web", b"phone", b""], events).tolist(),
        names.history("agent"): [b"a%d" % a for a in rng.integers(0, 5, events)],
        names.history("minutes"): [float(v) for v in rng.normal(10, 10, events)],
        names.history("offer"): [float(v) for v in rng.normal(1e6, 1e6, events)],
        names.JOURNEY_START: START,
        "income": float(rng.normal(3e4, 3e4)),
        "year": 2010.0,
        "source": b"portal",
        "city": b"c1",
        "message": b"price now",
    }


def without(row: dict[str, Any], lead: bool, events: list[int]) -> bytes:
    """The decision as if only these events had been recorded, and nothing were known of the lead unless it is there."""
    found = dict(row)
    for name in LISTS:
        found[name] = [row[name][i] for i in events]
    if not lead:
        found |= dict.fromkeys(LEAD)
    return example(found)


def answers(model: RecommendationModel, records: list[bytes], action: int) -> np.ndarray:
    """Log probability of an action, and log-odds of conversion: float64 [n, 2]."""
    p, conversion = (v.numpy().astype(np.float64) for v in model.distribution(model.parse(tf.constant(records))))
    p, c = p[:, action], conversion[:, action]
    return np.stack([np.log(p), np.log(c) - np.log1p(-c)], axis=1)


def shapley(values: np.ndarray, players: int) -> np.ndarray:
    """By the definition over sets, [players, 2]."""
    found = np.zeros((players, 2))
    for s in range(2**players):
        for i in range(players):
            if not s >> i & 1:
                size = s.bit_count()
                weight = factorial(size) * factorial(players - size - 1) / factorial(players)
                found[i] += weight * (values[s | 1 << i] - values[s])
    return found


def explained(model: RecommendationModel, records: list[bytes]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.explain(tf.constant(records, tf.string)).items()}


@pytest.mark.parametrize("events", [0, 1, 3, 5])
def test_contributions_are_shapley_values_of_histories_in_which_events_were_never_recorded(model, events):
    row = history(events, seed=events)
    found = explained(model, [example(row)])
    actions = list(model._layout.actions)
    action = actions.index(found["action"][0].decode())
    players = 1 + events
    asked = [without(row, bool(s & 1), [i for i in range(events) if s >> (i + 1) & 1]) for s in range(2**players)]
    values = answers(model, asked, action)
    wanted = shapley(values, players)
    where = [0, *range(2, 2 + events)]  # there are no earlier events
    np.testing.assert_allclose(found["contribution"][0, where], wanted[:, 0], atol=2e-5)
    np.testing.assert_allclose(found["conversion_contribution"][0, where], wanted[:, 1], atol=2e-5)
    np.testing.assert_allclose([found["bias"][0], found["conversion_bias"][0]], values[0], atol=1e-5)
    np.testing.assert_allclose([found["log_probability"][0], found["conversion_log_odds"][0]], values[-1], atol=1e-5)
    assert not found["contribution"][0, 2 + events :].any() and found["contribution"][0, 1] == 0
    assert found["feature"][0].tolist() == [b"(lead)", b"", *row[names.HISTORY_ACTION], *[b""] * (LENGTH - events)]
    assert found["events"][0] == events
    assert np.abs(wanted).max() > 0.1  # there is something to explain


def test_of_a_longer_history_the_events_that_the_network_saw_are_explained(model):
    """Of nine events five count, and the sixth before them does not come in where one of the five is left out."""
    row = history(9, seed=3)
    window = {**row, **{name: row[name][-LENGTH:] for name in LISTS}}
    found, same = explained(model, [example(row)]), explained(model, [example(window)])
    for name, value in found.items():
        np.testing.assert_array_equal(value, same[name])


def test_any_request_adds_up_to_what_is_served(model):
    records = [example(row) for row in random_rows(40, 5)]
    records += [b""]
    found = explained(model, records)
    served = {k: v.numpy() for k, v in model.answer(model.parse(tf.constant(records))).items()}
    p, conversion = (v.numpy() for v in model.distribution(model.parse(tf.constant(records))))
    actions = np.array([a.encode() for a in model._layout.actions], object)
    assert found["action"].tolist() == served["next_best_action"].tolist()
    action = [actions.tolist().index(a) for a in found["action"]]
    every = np.arange(len(records))
    np.testing.assert_allclose(np.exp(found["log_probability"]), p[every, action], rtol=1e-4)
    odds = 1 / (1 + np.exp(-found["conversion_log_odds"]))
    np.testing.assert_allclose(odds, conversion[every, action], rtol=1e-4)
    for part, base, whole in (
        ("contribution", "bias", "log_probability"),
        ("conversion_contribution", "conversion_bias", "conversion_log_odds"),
    ):
        np.testing.assert_allclose(found[base] + found[part].sum(axis=1), found[whole], atol=1e-4)
    behind = np.arange(LENGTH) >= found["events"][:, None]
    assert not found["contribution"][:, 2:][behind].any()


def test_where_nothing_is_allowed_the_most_likely_action_is_explained(model):
    row = history(2, seed=8) | {names.ALLOWED_ACTIONS: [b"never heard of"]}
    p = model.distribution(model.parse(tf.constant([example(row)])))[0].numpy()
    assert explained(model, [example(row)])["action"][0].decode() == model._layout.actions[p.argmax()]


def test_earlier_events_are_explained_together(model, monkeypatch):
    """With two events one by one, the first three of five are one player."""
    monkeypatch.setattr(attribution, "EVENTS", 2)
    row = history(5, seed=2)
    found = explained(model, [example(row), example(history(1, seed=4))])
    assert found["feature"][0].tolist() == [b"(lead)", b"(earlier events)", *row[names.HISTORY_ACTION][-2:]]
    action = list(model._layout.actions).index(found["action"][0].decode())
    groups = [[0, 1, 2], [3], [4]]
    asked = [
        without(row, bool(s & 1), [i for g, group in enumerate(groups) if s >> (g + 1) & 1 for i in group])
        for s in range(16)
    ]
    np.testing.assert_allclose(found["contribution"][0], shapley(answers(model, asked, action), 4)[:, 0], atol=2e-5)
    # A shorter history has none.
    assert found["feature"][1].tolist()[:2] == [b"(lead)", b""] and found["contribution"][1, 1] == 0
    assert found["contribution"][1, 2] != 0 and found["contribution"][1, 3] == 0


def test_the_saved_model_explains_in_the_library_of_tensorflow_serving(model, tmp_path):
    save(model, {"explain": model.serving_functions["explain"]}, tmp_path / "m", {})
    graph, native = sessions.GraphSession(tmp_path / "m"), sessions.NativeSession(tmp_path / "m")
    ops = {n.op for f in graph.graph_def.library.function for n in f.node_def} | {n.op for n in graph.graph_def.node}
    assert not {op for op in ops if op in ("PyFunc", "PyFuncStateless", "EagerPyFunc")}
    records = np.array([example(row) for row in random_rows(9, 6)], object)
    whole, wanted = graph("explain", examples=records), explained(model, records.tolist())
    for name, value in native("explain", examples=records).items():
        np.testing.assert_array_equal(value, whole[name])
        if value.dtype == object:
            np.testing.assert_array_equal(value, wanted[name])
        else:
            np.testing.assert_allclose(value, wanted[name], atol=1e-5)
    for rows in (0, 1, 4):
        part = graph("explain", examples=records[:rows])
        for name, value in part.items():
            assert value.shape == (rows, *whole[name].shape[1:])
            if value.dtype != object:
                np.testing.assert_allclose(value, whole[name][:rows], atol=1e-5)
    native.close()
