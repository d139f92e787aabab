"""The recommendation model's two speeds: building sequences against pandas, and training against a plain script."""

from __future__ import annotations

from typing import Any

REPEAT = 20


def run(rows: int | None = None, as_json: bool = False) -> dict[str, Any]:
    """Measures both; `rows` are the leads of the training benchmark, 20,000 by default.

    Returns:
      training_ratio (see recommend_training), sequences_ratio (windows as Arrow lists, BPI 2012 repeated 20 times),
      sequences_encoded_ratio (with tf.Examples, BPI 2012 once; see recommend_sequences) and what they are made of.
    """
    from benchmarks import recommend_sequences, recommend_training

    sequences = recommend_sequences.sequences_ratio(as_json=as_json, repeat=REPEAT)
    training = recommend_training.training_ratio(rows or recommend_training.LEADS)
    named = {"ratio": "sequences_ratio", "encoded_ratio": "sequences_encoded_ratio"}
    return {**training, **{named.get(key, key): value for key, value in sequences.items()}}
