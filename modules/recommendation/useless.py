"""Features of the lead that can tell the network nothing: constant, nearly all missing, or the same as an earlier one.

They are named, not dropped: a column more costs the network next to nothing, and which features matter to a network is
not decided by trees. Whoever reads it leaves them out of the dataset file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modules.convergence import Finding
from modules.recommendation.layout import MISSING, Layout, missing_name
from modules.recommendation.sequences import Sequences

MAX_MISSING = 0.99
"""Share of missing values above which a feature is as good as empty; as in lead scoring."""

TOLERANCE = 1e-3
"""Standardised numbers that differ by less everywhere are the same: units and signs do not matter."""

Array = NDArray[Any]


def useless_features(train: Sequences, layout: Layout) -> dict[str, str]:
    """Why a feature is useless, by its name, in the order of the columns; words of texts are not looked at.

    Args:
      train: journeys of the training part.
      layout: what its columns are.
    """
    found: dict[str, str] = {}
    if not len(train):
        return found
    categories: dict[bytes, str] = {}
    for column, codes in enumerate(layout.lead_codes):
        values = np.asarray(train.lead_codes[:, column])
        if (reason := _empty(float((values == MISSING).mean()), values)) is not None:
            found[codes.name] = reason
        elif (earlier := categories.setdefault(_renamed(values), codes.name)) != codes.name:
            found[codes.name] = f"repeats {earlier}"
    at = {name: column for column, name in enumerate(layout.lead_numbers)}
    kept: dict[str, tuple[Array, Array]] = {}
    for name in (name for name in at if missing_name(name) in at):
        values, gaps = train.lead_numbers[:, at[name]], train.lead_numbers[:, at[missing_name(name)]]
        reason = _empty(float(gaps.mean()), np.where(gaps > 0, np.nan, values))
        if reason is None:
            reason = next((f"repeats {n}" for n, (v, g) in kept.items() if _same(values, gaps, v, g)), None)
        if reason is None:
            kept[name] = (values, gaps)
        else:
            found[name] = reason
    return found


def useless_finding(useless: dict[str, str]) -> Finding | None:
    """The finding for the summary; None when every feature may tell something."""
    if not useless:
        return None
    named = ", ".join(f"{name} ({reason})" for name, reason in useless.items())
    return Finding(
        check="useless_features",
        message=f"features of the lead that tell the network nothing: {named}",
        settings=("dataset.leave_out",),
        advice="move them to leave_out in the dataset file",
        figures={"features": len(useless)},
    )


def _empty(missing: float, values: Array) -> str | None:
    if missing > MAX_MISSING:
        return f"{100 * missing:.1f} % missing"
    first = values[:1]
    same = (values == first) | (np.isnan(values) & np.isnan(first)) if values.dtype.kind == "f" else values == first
    return "one value only" if same.all() else None


def _renamed(codes: Array) -> bytes:
    """Equal for codes that differ in names only: each is replaced by the row in which it first appears."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    # What is missing is no name of its own.
    return bytes(first[inverse].astype(np.int64).tobytes() + (codes == MISSING).tobytes())


def _same(a: Array, a_gaps: Array, b: Array, b_gaps: Array) -> bool:
    if not np.array_equal(a_gaps, b_gaps):
        return False
    return bool(np.allclose(a, b, rtol=0, atol=TOLERANCE) or np.allclose(a, -b, rtol=0, atol=TOLERANCE))
