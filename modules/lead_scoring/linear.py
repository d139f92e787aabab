"""A logistic regression that the trees start from.

Trees answer alike beyond the largest value they were trained with; a line goes on. Where columns drift (prices, rates,
the age of a market) a linear term in front of the trees keeps ranking rows that lie outside of everything seen, and the
trees add what a line cannot say:

    margin = bias + sum of effects + sum of trees,    effect = weight (x - mean) + offset    for a number,
                                                      effect = weights[x]                     for an index,

with an effect of its own where the value is missing. Every effect has the mean 0 over the training rows, so that it is
also the contribution of its column to the margin (the exact Shapley value of a linear model whose columns are
independent: Lundberg & Lee 2017, corollary 1).

The weights minimise the weighted log loss plus `l2` / 2 times the sum of squared weights, of numbers divided by their
standard deviation over all rows, whatever these weigh; scikit-learn's LogisticRegression calls 1 / l2 its C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import optimize, special

from modules.encoding.columns import Encoding, TransformedFeature
from modules.lead_scoring.matrix import Spool
from modules.lead_scoring.settings import LinearSettings

LINEAR = "linear.json"

INDICES: tuple[Encoding, ...] = ("index", "hash", "bucket")
"""Encodings whose values number things instead of measuring them: each number has a weight of its own."""


class LinearColumn(BaseModel):
    """The effect of one column.

    Attributes:
      name, position, raw: as in TransformedFeature.
      mean, weight, offset: of a number, see above.
      weights: of an index, one for each value from 0 on; larger ones have the effect `offset`.
      missing: effect of a missing value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    position: int
    raw: tuple[str, ...]
    mean: float = 0.0
    weight: float = 0.0
    offset: float = 0.0
    weights: tuple[float, ...] | None = None
    missing: float = 0.0

    def effects(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Effects, in log-odds, of values of this column; same shape."""
        absent = np.isnan(values)
        x = np.where(absent, 0.0, values.astype(np.float64))
        if self.weights is None:
            found = self.weight * (x - self.mean) + self.offset
        else:
            table = np.array([*self.weights, self.offset])
            found = table[np.clip(x, 0, len(self.weights)).astype(np.intp)]
        return np.where(absent, self.missing, found)


class LinearTerm(BaseModel):
    """The whole term; see the head of this module.

    Attributes:
      bias: mean log-odds of the term over the training rows.
      columns: those that take part, in the order of the matrix.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    bias: float
    columns: tuple[LinearColumn, ...]

    def effects(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Effects of the columns, float64 [n, columns], of a matrix of these columns, float32 [n, columns]."""
        found = np.empty(matrix.shape, np.float64)
        for place, column in enumerate(self.columns):
            found[:, place] = column.effects(matrix[:, place])
        return found

    def margins(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log-odds, float32 [n], of a matrix of these columns, float32 [n, columns]."""
        return (self.bias + self.effects(matrix).sum(axis=1)).astype(np.float32)


class _Rows:
    """The rows of several spools, a batch at a time: matrix, labels and weights, float64 [rows]."""

    def __init__(self, spools: Sequence[Spool], weights: Sequence[NDArray[Any]] | None) -> None:
        self._spools = spools
        found = [np.ones(len(spool)) for spool in spools] if weights is None else weights
        self._weights = [np.asarray(w, np.float64) for w in found]
        self.total = float(sum(w.sum() for w in self._weights))

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]]:
        for spool, weights in zip(self._spools, self._weights, strict=True):
            start = 0
            for batch in spool:
                part = slice(start, start + len(batch))
                yield batch, spool.labels[part].astype(np.float64), weights[part]
                start += len(batch)

    def rate(self) -> float:
        """Weighted share of positives."""
        return sum(float(w @ s.labels) for s, w in zip(self._spools, self._weights, strict=True)) / self.total


@dataclass(frozen=True)
class _Design:
    """Where each column's weights lie in the vector that is fitted: the bias first, then the columns in order.

    Attributes:
      numbers, tables: places of the columns of either kind.
      mean, scale: float64 [numbers].
      number_at, missing_at: of each number, places of its weight and of the weight of its missing value.
      table_at, sizes: of each table, place of its first weight, and number of values; one more weight is for missing.
      size: of the vector.
    """

    numbers: NDArray[np.intp]
    tables: NDArray[np.intp]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    number_at: NDArray[np.intp]
    missing_at: NDArray[np.intp]
    table_at: NDArray[np.intp]
    sizes: NDArray[np.intp]
    size: int


def fit(
    spools: Sequence[Spool],
    features: Sequence[TransformedFeature],
    settings: LinearSettings,
    weights: Sequence[NDArray[Any]] | None = None,
) -> LinearTerm:
    """Fits the term, a pass over the rows for every step.

    Args:
      spools: the rows, with these columns.
      features: the columns of the spools.
      settings: penalty and largest number of steps.
      weights: of the rows of each spool, float [n]; 1 otherwise.
    """
    rows = _Rows(spools, weights)
    design = _design(rows, features)
    rate = rows.rate()
    start = np.zeros(design.size)
    start[0] = special.logit(rate)

    def loss(vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        penalised = vector.copy()
        penalised[0] = 0.0
        total = 0.5 * settings.l2 * float(penalised @ penalised)
        gradient = settings.l2 * penalised
        for batch, y, w in rows:
            z, absent, cells = _read(batch, design)
            margins = _margins(vector, design, z, absent, cells)
            total += float(w @ (np.logaddexp(0.0, margins) - y * margins))
            residual = w * (special.expit(margins) - y)
            gradient[0] += residual.sum()
            gradient[design.number_at] += residual @ z
            gradient[design.missing_at] += residual @ absent
            if cells.size:
                repeated = np.broadcast_to(residual[:, None], cells.shape)
                gradient += np.bincount(cells.ravel(), repeated.ravel(), design.size)
        return total, gradient

    found = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": settings.max_steps, "ftol": 1e-11, "gtol": 1e-5}
    )
    return _term(found.x, design, features, rows)


def _design(rows: _Rows, features: Sequence[TransformedFeature]) -> _Design:
    of_index = np.array([feature.encoding in INDICES for feature in features], bool)
    numbers, tables = np.flatnonzero(~of_index), np.flatnonzero(of_index)
    count, first = np.zeros(len(numbers)), np.zeros(len(numbers))
    largest = np.full(len(tables), -1.0)
    for batch, _, w in rows:
        x = batch[:, numbers].astype(np.float64)
        there = ~np.isnan(x)
        count += w @ there
        first += w @ np.where(there, x, 0.0)
        if len(tables):
            largest = np.fmax(largest, np.fmax.reduce(batch[:, tables], axis=0, initial=-1.0))
    mean = first / np.maximum(count, 1e-300)
    # Rows count alike here: by recent rows alone, a column that has rested would be free to run away.
    seen, offset, squares = (np.zeros(len(numbers)) for _ in range(3))
    for batch, _, _ in rows:
        x = batch[:, numbers].astype(np.float64)
        difference = np.where(np.isnan(x), 0.0, x - mean)
        seen += np.count_nonzero(~np.isnan(x), axis=0)
        offset += difference.sum(axis=0)
        squares += np.square(difference).sum(axis=0)
    seen = np.maximum(seen, 1.0)
    deviation = np.sqrt(np.maximum(squares / seen - np.square(offset / seen), 0.0))
    scale = np.where(deviation > 1e-9 * np.abs(mean), deviation, 1.0)
    sizes = largest.astype(np.intp) + 1
    number_at = 1 + np.arange(len(numbers))
    missing_at = 1 + len(numbers) + np.arange(len(numbers))
    ends = np.cumsum(sizes + 1)
    table_at = 1 + 2 * len(numbers) + np.concatenate([np.zeros(1, np.intp), ends[:-1]])[: len(tables)]
    size = 1 + 2 * len(numbers) + (int(ends[-1]) if len(tables) else 0)
    return _Design(numbers, tables, mean, scale, number_at, missing_at, table_at, sizes, size)


def _read(
    batch: NDArray[np.float32], design: _Design
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Standardised numbers (0 where missing), 1 where they are missing, and places of the tables' weights."""
    x = batch[:, design.numbers].astype(np.float64)
    absent = np.isnan(x)
    z = np.where(absent, 0.0, (x - design.mean) / design.scale)
    indices = batch[:, design.tables]
    # Behind a table's weights lies the one of a missing value.
    line = np.where(np.isnan(indices), design.sizes, np.minimum(indices, design.sizes)).astype(np.intp)
    return z, absent.astype(np.float64), line + design.table_at


def _margins(
    vector: NDArray[np.float64],
    design: _Design,
    z: NDArray[np.float64],
    absent: NDArray[np.float64],
    cells: NDArray[np.intp],
) -> NDArray[np.float64]:
    margins = vector[0] + z @ vector[design.number_at] + absent @ vector[design.missing_at]
    return margins + vector[cells].sum(axis=1)


def _term(
    vector: NDArray[np.float64],
    design: _Design,
    features: Sequence[TransformedFeature],
    rows: _Rows,
) -> LinearTerm:
    """The fitted vector, with the mean effect of every column moved into the bias."""
    total = rows.total
    absent_share, table_mean = np.zeros(len(design.numbers)), np.zeros(len(design.tables))
    for batch, _, w in rows:
        _, absent, cells = _read(batch, design)
        absent_share += w @ absent / total
        table_mean += w @ vector[cells] / total
    number_mean = absent_share * vector[design.missing_at]
    columns: dict[int, LinearColumn] = {}
    for i, place in enumerate(design.numbers.tolist()):
        feature = features[place]
        columns[place] = LinearColumn(
            name=feature.name,
            position=feature.position,
            raw=feature.raw,
            mean=float(design.mean[i]),
            weight=float(vector[design.number_at[i]] / design.scale[i]),
            offset=float(-number_mean[i]),
            missing=float(vector[design.missing_at[i]] - number_mean[i]),
        )
    for i, place in enumerate(design.tables.tolist()):
        feature, at, size = features[place], design.table_at[i], design.sizes[i]
        weights = vector[at : at + size] - table_mean[i]
        columns[place] = LinearColumn(
            name=feature.name,
            position=feature.position,
            raw=feature.raw,
            offset=float(-table_mean[i]),
            weights=tuple(weights.tolist()),
            missing=float(vector[at + size] - table_mean[i]),
        )
    bias = float(vector[0] + number_mean.sum() + table_mean.sum())
    return LinearTerm(bias=bias, columns=tuple(columns[place] for place in range(len(features))))
