"""What a metric family does with examples: read them, add them up, and derive metrics from the sums.

    table = aggregation.read(extracts, source)                       # float64 [n, columns], one row per example
    parts = aggregation.build_groups(groups, num_groups, table)      # statistics per group
    builder = aggregation.builder()
    for part in parts: builder.add(part)
    aggregation.metrics(builder.result())                            # {"accuracy": 0.79, ...}

Statistics are additive: those of two sets of examples together are the sum of theirs, in any order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

PlotName = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the values of one model are found in TFMA's extracts.

    Attributes:
      model_name: name of the ModelSpec, empty when there is only one.
      prediction_key: output of the model to read, where the family reads one.
      nested: whether several models are evaluated, which nests predictions and labels by model name.
      weighted: whether examples carry weights.
    """

    model_name: str
    prediction_key: str = ""
    nested: bool = False
    weighted: bool = False


class Builder(Protocol):
    """Adds up statistics; adding stays cheap however many come."""

    @property
    def num_bins(self) -> int:
        """Numbers held, to bound memory by."""

    def add(self, statistics: Any) -> None:
        """Adds the examples behind `statistics`."""

    def result(self) -> Any:
        """The statistics of everything added so far."""


class Aggregation(Protocol):
    """The arithmetic of one metric family."""

    def read(self, extracts: Mapping[str, Any], source: Source) -> np.ndarray:
        """The values of a batch of examples, or of a single one: float64 [n, columns].

        Raises:
          DataError: a value that is missing or out of its range.
          ConfigError: the model has not the outputs that the family reads.
        """

    def build_groups(
        self, groups: np.ndarray, num_groups: int, table: np.ndarray, rows: np.ndarray | None = None
    ) -> list[Any]:
        """Statistics of all groups at once.

        Args:
          groups: int64 [k], 0 to num_groups - 1: the group of each entry.
          num_groups: number of statistics to return.
          table: float64 [n, columns], from `read`.
          rows: int64 [k], the row of each entry, so that an example may be in several groups; None when k = n and
            entry i is row i.
        """

    def builder(self) -> Builder:
        """An empty builder."""

    def metrics(self, statistics: Any) -> dict[str, float]:
        """Every metric of the family by name, NaN where it is not defined."""

    def plots(self, statistics: Any) -> dict[PlotName, Any]:
        """TFMA's plot protos by name and name of the model's output."""
