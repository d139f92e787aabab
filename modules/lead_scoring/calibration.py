"""From margins to probability, interval and score, learned on the calibration split.

Let m be a lead's margin (log-odds as the booster sees them) and y its label, over n held-out leads.

probability: sigmoid(f(m)), f continuous, strictly increasing and linear between few quantiles of m; its slopes maximise
  the likelihood of y with a weak pull towards one common slope (Platt scaling). It undoes any class weighting.
interval: a Jeffreys interval of the conversion rate in the window of leads around m, 2 / `bins` of all leads wide,
  made monotone and wide enough to hold the probability. Averaged over 1 / `bins` of all leads it holds their true
  conversion rate about as often as `level` says; tests measure that.
score: 100 x the share of the n leads with a smaller margin, ties counted half.
confidence: 1 - (high - low).

All four are one table over distinct quantiles of m, interpolated linearly. Beyond the margins of the n leads the
log-odds go on with the mean slope of f, REACH far, and the interval with them: leads that drift has taken out of the
range keep their order. The score stays at its end.
References: Platt 1999, Probabilistic outputs for SVMs; Brown, Cai, DasGupta 2001, Interval estimation for a binomial
proportion.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from modules.errors import DataError
from modules.lead_scoring.settings import CalibrationSettings

Floats = NDArray[np.float64]

COLUMNS = ("probability", "probability_low", "probability_high", "score")
"""Order of the columns of Calibration.values; the first three are kept as log-odds."""

REACH = 10.0
"""How far beyond the margins of the calibration leads the curve goes on, in log-odds."""

_KNOTS = 1001
_SEGMENTS = np.array([0.0, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0])
_SLOPE_SPREAD = 0.6
_BOOTSTRAPS = 40
_SMALLEST_SLOPE = 1e-3


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted calibration.

    Attributes:
      margins: float32 [k], k >= 2, strictly increasing.
      values: float32 [k, 4], columns as COLUMNS: three log-odds, and the score 0-100.
      rows: n, leads it was learned from.
      level: nominal coverage of the interval, 0-1.
    """

    margins: NDArray[np.float32]
    values: NDArray[np.float32]
    rows: int
    level: float

    def __call__(self, margins: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Maps margins [n] to float32 [n] probability, probability_low, probability_high, confidence (0-1), score.

        The same arithmetic as `calibrate_tensor`, in NumPy.
        """
        m = np.clip(np.asarray(margins, np.float32), self.margins[0], self.margins[-1])
        i = np.clip(np.searchsorted(self.margins, m, side="right") - 1, 0, len(self.margins) - 2)
        t = (m - self.margins[i]) / (self.margins[i + 1] - self.margins[i])
        found = self.values[i] + t[:, None] * (self.values[i + 1] - self.values[i])
        p = special.expit(found[:, :3])
        return {
            "score": found[:, 3],
            "probability": p[:, 0],
            "probability_low": p[:, 1],
            "probability_high": p[:, 2],
            "confidence": 1 - (p[:, 2] - p[:, 1]),
        }

    def to_json(self) -> str:
        """The knots as JSON; `from_json` restores them bit for bit."""
        return json.dumps(
            {
                "rows": self.rows,
                "level": self.level,
                "columns": list(COLUMNS),
                "margins": self.margins.astype(float).tolist(),
                "values": self.values.astype(float).tolist(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        found = json.loads(text)
        return cls(
            np.array(found["margins"], np.float32),
            np.array(found["values"], np.float32).reshape(-1, len(COLUMNS)),
            int(found["rows"]),
            float(found["level"]),
        )


def fit(margins: NDArray[Any], labels: NDArray[Any], settings: CalibrationSettings) -> Calibration:
    """Learns a calibration.

    Args:
      margins: [n], finite.
      labels: [n], 0 or 1.
      settings: number of bins, rows a window must hold, nominal coverage.

    Raises:
      DataError: n is 0, or a margin is not finite.
    """
    m = np.asarray(margins, np.float32).ravel()
    y = np.asarray(labels, np.float64).ravel()
    if not len(m) or len(m) != len(y):
        raise DataError(f"calibration needs one label per margin and at least one lead; received {len(m)} and {len(y)}")
    if not np.isfinite(m).all():
        raise DataError(f"{int((~np.isfinite(m)).sum())} of {len(m)} margins in the calibration split are not finite")
    order = np.argsort(m, kind="stable")
    m, y = m[order], y[order]

    knots = np.unique(np.quantile(m, np.linspace(0, 1, _KNOTS), method="nearest").astype(np.float32))
    rank = (np.searchsorted(m, knots, "left") + np.searchsorted(m, knots, "right")) / 2
    rate = _smooth_log_odds(m.astype(np.float64), y, knots.astype(np.float64))
    low, high = _interval(y, rank, rate, settings)
    low, high = np.minimum(special.logit(low), rate), np.maximum(special.logit(high), rate)
    values = np.stack([rate, low, high, 100 * rank / len(m)], axis=1)
    if len(knots) == 1:
        knots = np.array([knots[0], np.nextafter(knots[0], np.float32(np.inf)) + 1], np.float32)
        values = np.repeat(values, 2, axis=0)
        return Calibration(knots, _strictly_increasing(values.astype(np.float32)), len(m), settings.level)
    values = _strictly_increasing(values.astype(np.float32))
    return Calibration(*_continued(knots, values), len(m), settings.level)


def _continued(
    knots: NDArray[np.float32], values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The table with one knot more at each end, REACH away."""
    slope = (values[-1, 0] - values[0, 0]) / (knots[-1] - knots[0])
    step = np.array([slope, slope, slope, 0.0], np.float32) * np.float32(REACH)
    ends = knots[0] - np.float32(REACH), knots[-1] + np.float32(REACH)
    return (
        np.concatenate([[ends[0]], knots, [ends[1]]]).astype(np.float32),
        np.concatenate([[values[0] - step], values, [values[-1] + step]]).astype(np.float32),
    )


def _smooth_log_odds(m: Floats, y: Floats, at: Floats) -> Floats:
    """f(at): penalised maximum likelihood of a continuous, increasing function, linear between quantiles of m."""
    ends = np.unique(np.quantile(m, _SEGMENTS))
    prior = special.logit((y.sum() + 0.5) / (len(y) + 1))
    if len(ends) < 2:
        return np.full(len(at), prior)
    spread = max(float(m.std()), 1e-6)
    widths = np.diff(ends)

    # Margins already are log-odds of some weighted problem: a slope of 1 and any shift is the natural start.
    def platt(theta: Floats) -> tuple[float, Floats]:
        z = theta[0] + theta[1] * (m - m.mean()) / spread
        r = special.expit(z) - y
        loss = (np.logaddexp(0, z) - y * z).sum() + 0.5 * (theta[1] - spread) ** 2 / spread**2
        slope = (r * (m - m.mean())).sum() / spread + (theta[1] - spread) / spread**2
        return loss, np.array([r.sum(), slope])

    smallest = _SMALLEST_SLOPE * spread
    common = optimize.minimize(
        platt, [prior, spread], jac=True, method="L-BFGS-B", bounds=[(None, None), (smallest, None)]
    ).x
    slope = common[1] / spread
    ramps = _ramps(m, ends)

    def segments(theta: Floats) -> tuple[float, Floats]:
        # theta[1:] are slopes as multiples of the common one.
        z = theta[0] + ramps @ (theta[1:] * slope * widths)
        r = special.expit(z) - y
        pull = (theta[1:] - 1) / _SLOPE_SPREAD**2
        loss = (np.logaddexp(0, z) - y * z).sum() + 0.5 * ((theta[1:] - 1) * pull).sum()
        return loss, np.concatenate([[r.sum()], (ramps.T @ r) * slope * widths + pull])

    start = np.concatenate([[common[0] + slope * (ends[0] - m.mean())], np.ones(len(widths))])
    bounds: list[tuple[float | None, float | None]] = [(None, None)] + [(0.02, 50.0)] * len(widths)
    theta = optimize.minimize(segments, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
    return theta[0] + _ramps(at, ends) @ (theta[1:] * slope * widths)


def _ramps(m: Floats, ends: Floats) -> Floats:
    """[n, segments]: how far m has gone through each segment, 0 to 1."""
    return np.clip((m[:, None] - ends[:-1]) / np.diff(ends), 0, 1)


def _interval(y: Floats, rank: Floats, log_odds: Floats, settings: CalibrationSettings) -> tuple[Floats, Floats]:
    """Monotone interval of the rate of the leads around each knot.

    Overlapping windows and the isotonic fit steady the ends, which would make the interval hold the rate too often.
    So the level of the windows is lowered until, in a parametric bootstrap from the fitted probability, bins of
    1 / `bins` of all leads are held at the level asked for.

    Args:
      y: labels [n] in order of margin.
      rank: [k], rank of each knot among the n, ties counted half.
      log_odds: f at the knots, [k].
    """
    n = len(y)
    rows = int(min(n, max(settings.min_bin_rows, np.ceil(2 * n / settings.bins))))
    first = np.clip(np.round(rank - rows / 2).astype(int), 0, n - rows)

    def converted(labels: NDArray[Any]) -> NDArray[np.int64]:
        total = np.concatenate([[0], np.cumsum(labels, dtype=np.int64)])
        return total[first + rows] - total[first]

    def ends(counts: NDArray[np.int64], level: float) -> tuple[Floats, Floats]:
        c = np.arange(counts.min(), counts.max() + 1)
        tail = (1 - level) / 2
        low = stats.beta.ppf(tail, c + 0.5, rows - c + 0.5)[counts - c[0]]
        high = stats.beta.ppf(1 - tail, c + 0.5, rows - c + 0.5)[counts - c[0]]
        return np.apply_along_axis(_isotonic, -1, low), np.apply_along_axis(_isotonic, -1, high)

    rng = np.random.default_rng(0)
    p = np.interp(np.arange(n), rank, special.expit(log_odds))
    bins = [b for b in np.array_split(np.arange(len(rank)), settings.bins) if len(b)]
    edges = np.array([b[0] for b in bins])
    sizes = np.array([len(b) for b in bins])
    truth = np.add.reduceat(special.expit(log_odds), edges) / sizes
    draws = np.stack([converted(rng.random(n) < p) for _ in range(_BOOTSTRAPS)])

    def coverage(level: float) -> float:
        low, high = (np.add.reduceat(end, edges, axis=-1) / sizes for end in ends(draws, level))
        return float(((low <= truth) & (truth <= high)).mean())

    floor, ceiling = settings.level / 2, settings.level
    if coverage(ceiling) > settings.level:
        for _ in range(7):
            middle = (floor + ceiling) / 2
            floor, ceiling = (floor, middle) if coverage(middle) > settings.level else (middle, ceiling)
    low, high = ends(converted(y), ceiling)
    tiny = 1e-7
    return np.clip(low, tiny, 1 - tiny), np.clip(high, tiny, 1 - tiny)


def _isotonic(values: Floats) -> Floats:
    """Closest increasing sequence in least squares (pool adjacent violators)."""
    return np.asarray(optimize.isotonic_regression(values).x)


def _strictly_increasing(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lifts log-odds that float32 made equal by one unit in the last place, so that ranks have no ties."""
    for k in range(1, len(values)):
        if values[k, 0] <= values[k - 1, 0]:
            values[k, 0] = np.nextafter(values[k - 1, 0], np.float32(np.inf))
    values[:, 1] = np.minimum(values[:, 1], values[:, 0])
    values[:, 2] = np.maximum(values[:, 2], values[:, 0])
    return values
