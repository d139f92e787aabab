"""Permutation importance: by how much a model's metrics get worse when the values of one feature are shuffled.

The model still answers with the feature, only what it says of a row belongs to another row: what it learned from it is
of no use. Features that say the same share what they are worth, as one still tells what the other did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from modules import progress
from modules.explanation.report import Worsening
from modules.explanation.sample import encode
from modules.explanation.shuffles import generator

LOWER_IS_BETTER = ("log_loss", "conversion_log_loss")

Metrics = dict[str, float]


@dataclass(frozen=True)
class Subject:
    """Something to shuffle: its name, and rows, generator -> the rows with it shuffled."""

    name: str
    shuffle: Callable


def worsening(
    metrics_of: Callable[[list[bytes]], Metrics],
    batch,
    before: Mapping[str, float],
    subjects: list[Subject],
    repeats: int,
    seed: int,
) -> list[dict[str, Worsening]]:
    """What shuffling each subject costs.

    Args:
      metrics_of: serialized tf.Examples -> the model's metrics on them.
      batch: the rows, as columns.
      before: metrics without shuffling; only these are looked at.
      subjects: what to shuffle, one at a time.
      repeats: shuffles of each.
      seed: of the shuffles.

    Returns:
      For each subject the worsening by metric.
    """
    found = []
    for done, subject in enumerate(subjects):
        progress.report(done, len(subjects), f"shuffling {subject.name}")
        after = [
            metrics_of(encode(subject.shuffle(batch, generator(seed, subject.name, repeat))))
            for repeat in range(repeats)
        ]
        found.append({name: _worsening(name, value, [m[name] for m in after]) for name, value in before.items()})
    return found


def _worsening(metric: str, before: float, after: list[float]) -> Worsening:
    lost = np.array(after) - before if metric in LOWER_IS_BETTER else before - np.array(after)
    return Worsening(mean=float(lost.mean()), deviation=float(lost.std(ddof=1)) if len(lost) > 1 else 0.0)
