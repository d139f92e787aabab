"""Outliers: how many values of each clipped feature lay outside of its training quantiles, split by split.

About as many as the quantiles cut off are expected in training; a share that differs in another split says that its
values do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from modules.encoding.columns import TransformedFeature
from modules.manifest import EXTRA

OUTLIERS = "outliers.json"
"""Name of the file in assets.extra; only where a feature has the option `clip`."""

FROZEN = ConfigDict(frozen=True, extra="forbid")
SHOWN = 4
"""Features that the line for people names."""


class ClippedFeature(BaseModel):
    """A clipped feature.

    Attributes:
      name: its row of the feature table.
      clipped: values that were clipped, by split.
    """

    model_config = FROZEN
    name: str
    clipped: dict[str, int]


class OutlierReport(BaseModel):
    """Clipped values of a model's training data.

    Attributes:
      rows: number of rows, by split.
      features: the clipped features, in the order of the feature table.
    """

    model_config = FROZEN
    rows: dict[str, int] = Field(default_factory=dict)
    features: tuple[ClippedFeature, ...] = ()

    def shares(self, feature: ClippedFeature) -> dict[str, float]:
        """Share of the rows whose value was clipped, 0-1, by split."""
        return {split: count / max(self.rows[split], 1) for split, count in feature.clipped.items()}

    def line(self) -> str:
        """For people: the features with the largest share of clipped training rows, and where other splits differ most.

        Empty when nothing is clipped.
        """
        shares = {feature.name: self.shares(feature) for feature in self.features}
        order = sorted(shares, key=lambda name: -shares[name].get("train", 0.0))
        parts = []
        for name in order[:SHOWN]:
            found = shares[name]
            train = found.get("train", 0.0)
            others = [split for split in found if split != "train"]
            text = f"{name} {100 * train:.1f} %"
            if others:
                worst = max(others, key=lambda split: abs(found[split] - train))
                text += f" ({worst} {100 * found[worst]:.1f} %)"
            parts.append(text)
        more = f" and {len(order) - SHOWN} more features" if len(order) > SHOWN else ""
        return f"clipped of the training rows: {', '.join(parts)}{more}" if parts else ""

    @classmethod
    def read(cls, model: str | Path) -> OutlierReport | None:
        """The report in a SavedModel; None where no feature is clipped."""
        path = Path(model) / EXTRA / OUTLIERS
        return cls.model_validate_json(path.read_text()) if path.exists() else None


def count_outliers(
    splits: Mapping[str, Iterable[NDArray[np.float32]]], features: Sequence[TransformedFeature]
) -> OutlierReport | None:
    """Counts the flags of clipped values.

    Args:
      splits: batches of transformed rows by split, float32 [rows, columns].
      features: the columns.

    Returns:
      The report, None when no feature is clipped; then no batch is looked at.
    """
    flags = [i for i, feature in enumerate(features) if feature.encoding == "clipped"]
    if not flags:
        return None
    rows: dict[str, int] = {}
    sums: dict[str, NDArray[np.int64]] = {}
    for split, batches in splits.items():
        rows[split], sums[split] = 0, np.zeros(len(flags), np.int64)
        for batch in batches:
            rows[split] += len(batch)
            sums[split] += np.count_nonzero(batch[:, flags], axis=0)
    found = (
        ClippedFeature(name=features[flag].source, clipped={split: int(sums[split][i]) for split in sums})
        for i, flag in enumerate(flags)
    )
    return OutlierReport(rows=rows, features=tuple(found))
