"""Crosses: the pair of two categories as one category.

A cross row is encoded as a categorical feature whose value is the pair, with a vocabulary of its own: a pair that is
rare in training is out of vocabulary even where both of its values are known. It is missing where either of the two is.
"""

from __future__ import annotations

import tensorflow as tf

SEPARATOR = "\x1f"
"""Stands between the two values; the unit separator of ASCII, which text does not hold."""


def joined(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Pairs of two string tensors of one shape, in which missing is ''; '' where either is missing."""
    missing = tf.equal(first, "") | tf.equal(second, "")
    return tf.where(missing, "", tf.strings.join([first, second], SEPARATOR))


def shown(word: str) -> str:
    """A pair for people: `nurse & Berlin`."""
    return word.replace(SEPARATOR, " & ")
