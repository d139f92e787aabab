"""Shapley values against their definition, and the properties that they are chosen for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from modules.explanation.shapley import EXACT, PERMUTATIONS, shapley_values


def game(players: int, seed: int) -> np.ndarray:
    """A random value for each of the 2^n sets; bit i says whether player i is in."""
    return np.random.default_rng(seed).normal(size=2**players).astype(np.float32)


def values_of(table: np.ndarray, players: int, most: int | None = None) -> tuple[np.ndarray, ...]:
    """phi [n], value of nobody and of all, of a game given as a table."""

    def value(masks: tf.Tensor) -> tf.Tensor:
        number = tf.reduce_sum(tf.cast(masks, tf.int32) * 2 ** tf.range(players), axis=1)
        return tf.gather(tf.constant(table), number)[:, None]

    phi, nobody, everybody = shapley_values(value, tf.constant(players), most or players)
    return phi.numpy()[:, 0], nobody.numpy()[0], everybody.numpy()[0]


def by_orders(table: np.ndarray, players: int) -> np.ndarray:
    """The definition: the mean over all orders of what each player adds."""
    phi = np.zeros(players)
    for order in itertools.permutations(range(players)):
        there = 0
        for i in order:
            phi[i] += table[there | 1 << i] - table[there]
            there |= 1 << i
    return phi / math.factorial(players)


def by_sets(table: np.ndarray, players: int) -> np.ndarray:
    sets = np.arange(2**players)
    size = np.array([number.bit_count() for number in sets])
    weight = np.array([math.factorial(s) * math.factorial(max(players - s - 1, 0)) for s in range(players + 1)])
    weight = weight / math.factorial(players)
    found = []
    for i in range(players):
        without = sets[sets >> i & 1 == 0]
        found.append((weight[size[without]] * (table[without | 1 << i] - table[without])).sum())
    return np.array(found)


@pytest.mark.parametrize("players", range(1, EXACT + 1))
def test_few_players_get_what_the_definition_says(players: int) -> None:
    table = game(players, players)
    phi, nobody, everybody = values_of(table, players, most=20)
    np.testing.assert_allclose(phi, by_orders(table, players) if players < 7 else by_sets(table, players), atol=1e-5)
    assert (nobody, everybody) == (table[0], table[-1])


def test_three_players_by_hand() -> None:
    """v = 12 if 0 is there, and 6 more if both others are: 12, 3 and 3."""
    table = np.array([12 * (s & 1) + 6 * (s & 6 == 6) for s in range(8)], np.float32)
    np.testing.assert_allclose(values_of(table, 3)[0], [12, 3, 3], atol=1e-5)


@pytest.mark.parametrize("players", [1, 4, EXACT, EXACT + 1, 11])
def test_contributions_add_up_and_a_player_who_changes_nothing_has_none(players: int) -> None:
    table = game(players, 5)
    table = table[np.arange(2**players) & ~1]  # player 0 is without effect
    phi, nobody, everybody = values_of(table, players)
    assert phi[0] == 0
    assert nobody + phi.sum() == pytest.approx(everybody, abs=1e-5)


def test_players_who_do_the_same_get_the_same() -> None:
    """The value depends on how many of players 0 and 1 are there, not on which."""
    players = EXACT
    sets = np.arange(2**players)
    both = game(players, 8)
    table = both[(sets & ~3) | np.array([0, 1, 1, 3])[sets & 3]]
    phi = values_of(table, players)[0]
    assert phi[0] == pytest.approx(phi[1], abs=1e-6)


def test_many_players_are_close_to_the_definition_and_additive_games_are_exact() -> None:
    players = 12
    worth = np.random.default_rng(3).normal(size=players)
    bits = np.arange(2**players)[:, None] >> np.arange(players) & 1
    np.testing.assert_allclose(values_of((bits @ worth).astype(np.float32), players)[0], worth, atol=1e-5)
    # Pairs that only count together, which orders and their reverses share out fairly.
    pairs = (bits[:, ::2] * bits[:, 1::2]) @ np.arange(1, 7)
    np.testing.assert_allclose(
        values_of(pairs.astype(np.float32), players)[0], np.repeat(np.arange(1, 7) / 2, 2), atol=1e-5
    )
    squashed = 1 / (1 + np.exp(-(bits @ worth)))
    phi, exact = values_of(squashed.astype(np.float32), players)[0], by_sets(squashed, players)
    assert np.abs(phi - exact).max() < 0.2 * np.abs(exact).max()
    assert np.corrcoef(phi, exact)[0, 1] > 0.99


def test_the_same_question_has_the_same_answer_and_asks_no_more_than_it_says() -> None:
    asked = []

    def value(masks: tf.Tensor) -> tf.Tensor:
        asked.append(masks.shape[0])
        return tf.math.sin(tf.reduce_sum(tf.cast(masks, tf.float32) * tf.range(1.0, 12.0), axis=1))[:, None]

    found = [shapley_values(value, tf.constant(11), 40)[0].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*found)
    assert asked == [PERMUTATIONS * 12] * 2
