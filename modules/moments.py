"""Mean and standard deviation of many numeric columns in one analyzer.

TensorFlow reduces each batch to (count, mean, sum of squared distances from the mean) in float64; merging adds them up
exactly rounded (`math.fsum`), so the result does not depend on the order in which batches arrive:

    mean     = sum n_i m_i / N
    variance = sum (s_i + n_i (m_i - mean)^2) / N          N = sum n_i

The centred form keeps its digits where a sum of squares would lose them (years, times, large amounts).
Reference: Chan, Golub, LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample variances.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from numpy.typing import NDArray
from tensorflow_transform.beam.experimental import PTransformAnalyzer

from modules.analysis import MOMENTS, Analyzer


@dataclass(frozen=True)
class Moments(Analyzer):
    """Learns mean and deviation of one column, numbers of any shape; handed on as [mean, deviation]."""

    name: str
    key: ClassVar[str] = MOMENTS

    def reduce(self, *columns: Any) -> Sequence[tf.Tensor]:
        return [batch_moments(columns)]

    def combiner(self) -> beam.CombineFn:
        return MergeMoments(1)

    def write(self, found: NDArray[np.float64], folder: str, index: int) -> list[float]:
        return found[0].tolist()


def moments(columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """Learns mean and deviation of each column over the whole dataset, as an analyzer of tft.

    Args:
      columns: K tensors of any shape and length; NaN and infinities do not count.

    Returns:
      float64 [K, 2], rows as `standardisation` makes them.
    """
    return tft.experimental.ptransform_analyzer(
        inputs=[batch_moments(columns)],
        ptransform=_MergeMoments(len(columns)),
        output_dtypes=[tf.float64],
        output_shapes=[[len(columns), 2]],
        name="moments",
    )[0]


def batch_moments(columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """(count, mean, sum of squared distances from the mean) of the finite values: float64 [K, 3]."""
    rows = []
    for column in columns:
        values = tf.cast(tf.reshape(column, [-1]), tf.float64)
        values = tf.boolean_mask(values, tf.math.is_finite(values))
        count = tf.cast(tf.size(values), tf.float64)
        mean = tf.math.divide_no_nan(tf.reduce_sum(values), count)
        rows.append(tf.stack([count, mean, tf.reduce_sum(tf.square(values - mean))]))
    return tf.stack(rows) if rows else tf.zeros([0, 3], tf.float64)


def standardisation(batches: Sequence[NDArray[np.float64]], columns: int) -> NDArray[np.float64]:
    """Merges what `batch_moments` found.

    Args:
      batches: float64 [K, 3] each, in any order.
      columns: K.

    Returns:
      float64 [K, 2]: mean, and population standard deviation. A column without values or of one value has the
      deviation 1, so that dividing by it is harmless.
    """
    result = np.tile(np.array([0.0, 1.0]), (columns, 1))
    for k in range(columns):
        count, mean, squares = (np.array([batch[k, i] for batch in batches]) for i in range(3))
        total = math.fsum(count)
        if total:
            center = math.fsum(count * mean) / total
            variance = math.fsum(squares + count * (mean - center) ** 2) / total
            # Equal values leave a rounding error behind; two different floats of 32 bits lie further apart.
            constant = math.sqrt(variance) <= 1e-9 * abs(center)
            result[k] = center, 1.0 if constant else math.sqrt(variance)
    return result


class MergeMoments(beam.CombineFn):
    """float64 [K, 3] per batch -> float64 [K, 2]; keeps one small array per batch until the end."""

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def create_accumulator(self) -> list[NDArray[np.float64]]:
        return []

    def add_input(self, accumulator: list[NDArray[np.float64]], element: Any) -> list[NDArray[np.float64]]:
        accumulator.append(np.asarray(element, np.float64).reshape(-1, 3))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[NDArray[np.float64]]]) -> list[NDArray[np.float64]]:
        return [batch for accumulator in accumulators for batch in accumulator]

    def extract_output(self, accumulator: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        return standardisation(accumulator, self._columns)


class _MergeMoments(PTransformAnalyzer):
    """PCollection of (moments,) per batch -> one float64 [K, 2]."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns = columns

    def expand(self, pcoll: beam.PCollection) -> tuple[beam.PCollection, ...]:
        return (
            pcoll
            | "Moments" >> beam.Map(lambda batch: batch[0])
            | "Merge" >> beam.CombineGlobally(MergeMoments(self._columns)),
        )
