"""Transformed batches on disk, and from there into XGBoost's quantised matrix, a batch at a time.

XGBoost passes over its data several times. Transforming anew each time would cost more than training on small data,
and holding the floats in memory more than the quantised matrix itself; so the floats go to a temporary file once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from modules.encoding.columns import FEATURES, LABEL, TIME
from modules.errors import DataError

SECONDS_PER_DAY = 86_400.0


class Spool:
    """The transformed rows of one split, on disk.

    Attributes:
      labels: float32 [n], 0 or 1.
      times: int64 [n], seconds since 1970 UTC; empty without a time column.
      offset: float32 [n], log-odds that the trees start from; None for none.
    """

    offset: NDArray[np.float32] | None = None

    def __init__(self, path: Path, batches: Iterable[Mapping[str, NDArray[Any]]], columns: Sequence[int]) -> None:
        """Writes the batches to `path`.

        Args:
          path: file to create.
          batches: `features` float32 [rows, F], `label` [rows] and maybe `time` [rows].
          columns: positions on the features axis to keep.
        """
        self._path = path
        self._sizes: list[int] = []
        self._width = len(columns)
        self._chosen: NDArray[np.intp] | None = None
        labels, times = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
        position = np.asarray(columns)
        with path.open("wb") as out:
            for batch in batches:
                features = batch[FEATURES]
                if len(position) != features.shape[1]:
                    features = features[:, position]
                out.write(np.ascontiguousarray(features, np.float32).data)
                self._sizes.append(len(features))
                labels.append(batch[LABEL].astype(np.float32).ravel())
                if TIME in batch:
                    times.append(batch[TIME].astype(np.int64).ravel())
        self.labels = np.concatenate(labels)
        self.times = np.concatenate(times)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Batches in order, float32 [rows, columns]."""
        with self._path.open("rb") as source:
            for rows in self._sizes:
                batch = np.fromfile(source, np.float32, rows * self._width).reshape(rows, self._width)
                yield batch if self._chosen is None else batch[:, self._chosen]

    def choose(self, columns: Sequence[int]) -> Spool:
        """The same rows with some of the columns, by their place in this spool; shares the file."""
        chosen = np.asarray(columns, np.intp)
        view = copy.copy(self)
        view._chosen = chosen if self._chosen is None else self._chosen[chosen]
        return view

    def starting_at(self, offset: NDArray[np.float32]) -> Spool:
        """The same rows with log-odds [n] that the trees start from; shares the file."""
        view = copy.copy(self)
        view.offset = offset
        return view

    def check(self, split: str) -> Spool:
        """Returns self.

        Raises:
          DataError: the split has no rows, or only one class, or a label other than 0 and 1.
        """
        if not len(self):
            raise DataError(f"the {split} split has no rows; change the split's shares or add data")
        positives = int(self.labels.sum())
        if not np.isin(self.labels, (0.0, 1.0)).all():
            raise DataError(f"labels of the {split} split must be 0 or 1; found {np.unique(self.labels)[:5].tolist()}")
        if positives in (0, len(self)):
            found = "converted" if positives else "not converted"
            raise DataError(
                f"all {len(self)} rows of the {split} split are {found}; both classes are needed. Check the label's "
                "positive and negative values in the dataset file, or the split."
            )
        return self


class SpoolIter(xgb.DataIter):
    """Feeds spools to XGBoost, one batch at a time.

    Args:
      spools: splits in order.
      weights: one array [n] per spool, or None for weight 1.
      feature_names: names of the columns.
    """

    def __init__(
        self, spools: Sequence[Spool], weights: Sequence[NDArray[Any]] | None, feature_names: Sequence[str]
    ) -> None:
        self._spools = spools
        self._weights = weights
        self._names = list(feature_names)
        self._batches = self._read()
        super().__init__()

    def _read(self) -> Iterator[dict[str, Any]]:
        for k, spool in enumerate(self._spools):
            start = 0
            for batch in spool:
                rows = slice(start, start + len(batch))
                start += len(batch)
                yield {
                    "data": batch,
                    "label": spool.labels[rows],
                    "weight": None if self._weights is None else self._weights[k][rows],
                    "base_margin": None if spool.offset is None else spool.offset[rows],
                }

    def reset(self) -> None:
        self._batches = self._read()

    def next(self, input_data: Callable[..., Any]) -> bool:
        batch = next(self._batches, None)
        if batch is None:
            return False
        input_data(feature_names=self._names, **batch)
        return True


def recency_weights(times: NDArray[np.int64], half_life_days: float) -> NDArray[np.float32]:
    """0.5 ** (age in days / half-life), scaled to a mean of 1; age counts from the newest row. float32 [n]."""
    age = (times.max() - times) / SECONDS_PER_DAY
    weights = np.exp2(-age / half_life_days)
    return (weights / weights.mean()).astype(np.float32)
