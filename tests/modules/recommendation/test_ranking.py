"""The order of the answers, against sorting one request at a time."""

from __future__ import annotations

import numpy as np
import policy_reference
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.recommendation.ranking import OUTPUTS, likelihoods, order, rank_tensor
from modules.recommendation.settings import PolicySettings

policies = st.builds(
    PolicySettings,
    kind=st.sampled_from(["likelihood", "value", "mix"]),
    floor=st.sampled_from([0.0, 0.05, 0.125, 0.25, 0.5, 1.0]),
    top_k=st.sampled_from([None, 1, 2, 100]),
)


@st.composite
def tables(draw):
    """Numbers in 64ths and zeros: ties and equality with the floor are common, and sums are exact in any order."""
    actions, rows = draw(st.integers(1, 6)), draw(st.integers(0, 4))
    cells = st.lists(st.integers(0, 16), min_size=actions * rows, max_size=actions * rows)
    shape = (rows, actions)
    counts = np.array(draw(cells), np.float32).reshape(shape)
    conversion = np.array(draw(cells), np.float32).reshape(shape) / 16
    allowed = np.array(draw(cells)).reshape(shape) > 4
    return counts / 64, conversion.astype(np.float32), allowed


@settings(max_examples=100, deadline=None)
@given(tables(), policies)
def test_graph_and_reference_give_the_same_answers(table, policy):
    probability, conversion, allowed = table
    actions = [f"a{i}" for i in range(probability.shape[1])]
    found = rank_tensor(*map(tf.constant, table), actions, policy)
    assert tuple(found) == OUTPUTS
    k = min(policy.top_k or len(actions), len(actions))
    assert found["actions"].shape == (len(allowed), k)
    shares = likelihoods(probability, allowed)
    best = order(shares, conversion, allowed, policy)
    for row in range(len(allowed)):
        wanted_shares = policy_reference.renormalised(probability[row].tolist(), allowed[row].tolist())
        np.testing.assert_allclose(shares[row], wanted_shares, rtol=1e-6)
        # The reference ranks the float32 shares: another rounding must not decide a tie.
        wanted = policy_reference.rank_one(
            policy.model_copy(update={"floor": float(np.float32(policy.floor))}),
            shares[row].tolist(),
            conversion[row].tolist(),
            allowed[row].tolist(),
        )
        names = [actions[i].encode() for i, _, _ in wanted] + [b""] * (k - len(wanted))
        assert found["actions"].numpy()[row].tolist() == names
        assert found["next_best_action"].numpy()[row] == names[0]
        assert best[row, : len(wanted)].tolist() == [i for i, _, _ in wanted]
        zeros = [0.0] * (k - len(wanted))
        np.testing.assert_allclose(found["probabilities"][row], [p for _, p, _ in wanted] + zeros, rtol=1e-6)
        np.testing.assert_allclose(found["priorities"][row], [v for _, _, v in wanted] + zeros, rtol=1e-6)


def ranked(kind: str, probability, conversion, allowed=None, **more) -> list[str]:
    probability, conversion = np.array([probability], np.float32), np.array([conversion], np.float32)
    allowed = np.ones_like(probability, bool) if allowed is None else np.array([allowed])
    names = ["call", "email", "visit"]
    found = rank_tensor(probability, conversion, tf.constant(allowed), names, PolicySettings(kind=kind, **more))
    return [a.decode() for a in found["actions"].numpy()[0]]


def test_the_three_orders():
    probability, conversion = [0.70, 0.26, 0.04], [0.1, 0.3, 0.9]
    assert ranked("likelihood", probability, conversion) == ["call", "email", "visit"]
    assert ranked("value", probability, conversion) == ["visit", "email", "call"]
    # visit is too unlikely to be promoted.
    assert ranked("mix", probability, conversion, floor=0.05) == ["email", "call", "visit"]
    assert ranked("mix", probability, conversion, floor=0.04) == ["visit", "email", "call"]
    assert ranked("mix", probability, conversion, floor=0.8) == ["call", "email", "visit"]


def test_the_floor_is_measured_among_the_allowed_actions():
    # Without call, visit has 0.04 / 0.30 = 0.13.
    found = ranked("mix", [0.70, 0.26, 0.04], [0.1, 0.3, 0.9], allowed=[False, True, True], floor=0.1)
    assert found == ["visit", "email", ""]


def test_nothing_allowed_gives_an_empty_answer():
    found = rank_tensor(
        tf.constant([[0.6, 0.4]]),
        tf.constant([[0.5, 0.5]]),
        tf.constant([[False, False]]),
        ["a", "b"],
        PolicySettings(),
    )
    assert found["actions"].numpy().tolist() == [[b"", b""]]
    assert found["next_best_action"].numpy().tolist() == [b""]
    assert found["probabilities"].numpy().tolist() == found["priorities"].numpy().tolist() == [[0, 0]]


@pytest.mark.parametrize("kind", ["likelihood", "value", "mix"])
def test_neighbouring_numbers_are_kept_apart(kind):
    low = np.float32(1e-4)
    high = np.nextafter(low, np.float32(1))
    table = {"likelihood": ([low, high, 1], [0, 0, 0]), "value": ([0, 0, 0], [low, high, 0])}
    probability, conversion = table.get(kind, ([0.3, 0.3, 0.4], [low, high, 0]))
    assert ranked(kind, probability, conversion).index("email") < ranked(kind, probability, conversion).index("call")
