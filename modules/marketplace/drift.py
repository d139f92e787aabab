"""Drift: features, or the outcome itself, change from a span on.

Grammar, comma separated:

    column:+2.0          shift: 2.0 is added to a number
    column:-2.0          shift down
    column:*1.2          scale: a number is multiplied by 1.2
    column=category:0.4  share: 40 % of the cells that are not missing hold this category
    conversion:+0.3      concept drift: 0.3 is added to the log-odds of conversion, features stay
    ...@2                any of them, from span 2 on

Feature drift is covariate drift: the true probability is that of the changed features. Numbers are rounded as the
column is and kept within its legal range; missing cells stay missing.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modules.errors import ConfigError
from modules.marketplace.columns import BY_NAME, CATEGORICAL, NUMERIC

CONCEPT = "conversion"
_ITEM = re.compile(r"(?P<column>\w+)(?P<sign>[:=])(?P<value>[^@]+?)(?:@(?P<span>\d+))?")
_NUMBER = re.compile(r"(?P<op>[+\-*])(?P<number>\d+(?:\.\d+)?)")
_EXPECTED = "column:+2.0, column:-2.0, column:*1.2 or column=category:0.4, with @SPAN behind it if it starts later"


@dataclass(frozen=True)
class Drift:
    """One change.

    Attributes:
      column: a numeric or categorical feature, or `conversion`.
      change: shift (value is added), scale (value is a factor) or share (value is a share, 0-1).
      value: see `change`.
      category: share only.
      from_span: 1-based span from which it holds.
    """

    column: str
    change: Literal["shift", "scale", "share"]
    value: float
    category: str = ""
    from_span: int = 1

    def __str__(self) -> str:
        return f"drift of {self.column}"


def unknown(what: str, name: str, allowed: tuple[str, ...]) -> ConfigError:
    """An error that names what is allowed and the nearest of it."""
    near = difflib.get_close_matches(name, allowed, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(allowed[:40]) + (f" and {len(allowed) - 40} more" if len(allowed) > 40 else "")
    return ConfigError(f"{what}: unknown {name!r}{hint}", [f"expected one of: {shown}"])


def parse_drift(spec: str) -> tuple[Drift, ...]:
    """Drift from its grammar (above); an empty text gives none.

    Raises:
      ConfigError: an item cannot be read, or names a column or category that does not exist.
    """
    return tuple(_parse_item(item.strip()) for item in spec.split(",") if item.strip())


def _parse_item(item: str) -> Drift:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ConfigError(f"drift: expected {_EXPECTED}; received {item!r}")
    column, value, span = match["column"], match["value"], int(match["span"] or 1)
    if span < 1:
        raise ConfigError(f"drift: expected a span of 1 or more, received {item!r}")
    if match["sign"] == ":":
        if column != CONCEPT and column not in NUMERIC:
            if column in CATEGORICAL:
                raise ConfigError(
                    f"drift: {column} is categorical: expected {column}=category:share, received {item!r}"
                )
            raise unknown("drift", column, (*NUMERIC, CONCEPT))
        number = _NUMBER.fullmatch(value)
        if number is None:
            raise ConfigError(f"drift: expected +, - or * and a number behind {column}:, received {item!r}")
        amount = float(number["number"])
        if number["op"] == "*":
            if column == CONCEPT:
                raise ConfigError(f"drift: expected a shift of the log-odds such as conversion:+0.3, received {item!r}")
            return Drift(column, "scale", amount, from_span=span)
        return Drift(column, "shift", -amount if number["op"] == "-" else amount, from_span=span)
    if column not in CATEGORICAL:
        if column in NUMERIC:
            raise ConfigError(f"drift: {column} is a number: expected {column}:+x, :-x or :*x, received {item!r}")
        raise unknown("drift", column, CATEGORICAL)
    category, _, share_text = value.rpartition(":")
    try:
        share = float(share_text)
    except ValueError:
        share = math.nan
    if not category or not 0 <= share <= 1:
        raise ConfigError(f"drift: expected {column}=category:share with a share from 0 to 1, received {item!r}")
    if category not in BY_NAME[column].categories:
        raise unknown(f"drift of {column}", category, BY_NAME[column].categories)
    return Drift(column, "share", share, category, span)


def drifted_number(drift: Drift, values: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Numbers after a shift or scale.

    Args:
      values: float64 [n], NaN where missing.
      active: bool [n], where the drift holds.

    Returns:
      float64 [n], rounded to the column's decimals and clipped to its legal range where active.
    """
    column = BY_NAME[drift.column]
    changed = values * drift.value if drift.change == "scale" else values + drift.value
    changed = np.clip(np.round(changed, column.decimals), column.minimum, column.maximum)
    return np.where(active, changed, values)


def drifted_category(drift: Drift, codes: np.ndarray, active: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Codes after a change of one category's share.

    Of the active cells that are not missing, exactly round(share x count) hold the category afterwards. Cells
    that have to change are chosen at random; those that leave the category take the value of a random other cell.

    Args:
      codes: int [n], -1 where missing.
      active: bool [n], where the drift holds.
      rng: decides which cells change.

    Returns:
      int [n].
    """
    target = BY_NAME[drift.column].categories.index(drift.category)
    out = codes.copy()
    eligible = np.flatnonzero(active & (codes >= 0))
    inside = eligible[codes[eligible] == target]
    outside = eligible[codes[eligible] != target]
    surplus = len(inside) - round(drift.value * len(eligible))
    if surplus < 0:
        out[rng.choice(outside, -surplus, replace=False)] = target
    elif surplus > 0:
        others = codes[outside] if len(outside) else np.array([(target + 1) % len(BY_NAME[drift.column].categories)])
        out[rng.choice(inside, surplus, replace=False)] = rng.choice(others, surplus)
    return out
