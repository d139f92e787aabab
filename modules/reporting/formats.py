"""Numbers and names as people read them."""

from __future__ import annotations

import datetime as dt
import math

from modules.reporting.intervals import Interval

NOTHING = "–"
_SPELLED = {"auc": "AUC", "ndcg": "NDCG", "f1": "F1", "brier": "Brier"}
LONGEST_NAME = 40


def number(value: float | None, digits: int = 4) -> str:
    """A figure with so many digits after the point; large counts with thousands separators."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) >= 1000:
        return f"{int(value):,}"
    return f"{value:.{digits}f}"


def short(value: float | None) -> str:
    """A figure of any size in four digits."""
    if value is None or math.isnan(value):
        return NOTHING
    if value == 0 or 1e-4 <= abs(value) < 1e9:
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.2e}"


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return NOTHING if value is None or math.isnan(value) else f"{value:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share 0-1 as a percentage."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def interval(found: Interval, digits: int = 4) -> str:
    """ "0.812 to 0.846", or nothing where there is none."""
    return f"{found.low:.{digits}f} to {found.high:.{digits}f}" if found.known else ""


def with_interval(found: Interval, digits: int = 4) -> str:
    """ "0.829 (0.812 to 0.846)"."""
    ends = interval(found, digits)
    return f"{number(found.value, digits)} ({ends})" if ends else number(found.value, digits)


def percent_interval(found: Interval, digits: int = 1, signed: bool = False) -> str:
    """ "12.3 % (10.1 to 14.9)"; signed: "+2.1 % (-0.4 to +4.6)"."""
    if math.isnan(found.value):
        return NOTHING
    sign = "+" if signed else ""
    text = f"{100 * found.value:{sign}.{digits}f}\N{NO-BREAK SPACE}%"
    if found.known:
        text += f" ({100 * found.low:{sign}.{digits}f} to {100 * found.high:{sign}.{digits}f})"
    return text


def moment(at: dt.datetime) -> str:
    """UTC, to the second."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def seconds(value: float) -> str:
    """A duration."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def name(text: object, longest: int = LONGEST_NAME) -> str:
    """A name for a plot: short, and without what plotly would read as markup."""
    plain = " ".join(str(text).split())
    if len(plain) > longest:
        plain = plain[: longest - 1] + "…"
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def metric(text: str) -> str:
    """auc_precision_recall -> AUC precision recall."""
    return " ".join(_SPELLED.get(word, word) for word in text.replace("_", " ").split())
