"""From text to words and n-grams."""

from __future__ import annotations

import tensorflow as tf


def tokenize(text: tf.Tensor) -> tf.RaggedTensor:
    """Splits text into words: lower case, everything but letters, digits and apostrophes separates.

    Args:
      text: string [n], UTF-8.

    Returns:
      string [n, (words)], words in order, repetitions kept.
    """
    lowered = tf.strings.lower(text, encoding="utf-8")
    return tf.strings.split(tf.strings.regex_replace(lowered, r"[^\pL\pM\pN']+", " "))


def ngrams(words: tf.RaggedTensor, most: int) -> tf.RaggedTensor:
    """Sequences of 1 to `most` neighbouring words, joined by a blank: ragged string [n, (words)] -> [n, (n-grams)]."""
    if most == 1:
        return words
    return tf.strings.ngrams(words, ngram_width=tuple(range(1, most + 1)), separator=" ")
