"""Off-policy estimates of a policy's value, with standard errors that are robust to decisions sharing a lead.

A decision has a state s and an action a that the logging policy mu chose; y is the final outcome of its lead. With
q(s, a) = P(the lead converts | s, the next action is a, the logging policy acts afterwards), the value of a policy pi
is that of one deviation from mu, at a decision drawn from all decisions:

    V(pi) = E_s [ sum over a of pi(a | s) q(s, a) ]

With w = pi(a | s) / mu(a | s) of the action taken, q_hat a model of q and v_hat = sum over a of pi(a | s) q_hat(s, a):

    logging  mean y                                        the logging policy itself
    ips      mean w y                                      Horvitz & Thompson (1952)
    snips    sum w y / sum w                               Swaminathan & Joachims (2015)
    dm       mean v_hat                                    direct method: what the model believes
    dr       mean (v_hat + w (y - q_hat))                  doubly robust: Dudik, Langford & Li (2011)
    sndr     mean v_hat + sum w (y - q_hat) / sum w        the same, self-normalised: Thomas & Brunskill (2016)

All of them are sums of ratios of totals over leads, so one formula gives every standard error: with the influence
psi_g of lead g, the linear part of what the estimate would change without it,

    se^2 = G / (G - 1) * sum over leads of psi_g^2

This is the delta method with clusters (Liang & Zeger 1986): it holds however the decisions of a lead depend on one
another and however many a lead has. A few leads with large weights make the standard error itself uncertain; intervals
allow for it by Student's t with Satterthwaite's degrees of freedom (1946), estimated from the influences:

    df = 2 (sum of psi_g^2)^2 / (sum of psi_g^4 - (sum of psi_g^2)^2 / G),   at least 1, at most G - 1

An interval speaks of the population of decisions that the leads were drawn from, not of
the states at hand; and for `dm` it knows nothing of the model's own error.

Satterthwaite, F. E. (1946). An Approximate Distribution of Estimates of Variance Components. Biometrics Bulletin.
Horvitz, D. G., Thompson, D. J. (1952). A Generalization of Sampling Without Replacement from a Finite Universe. JASA.
Dudik, M., Langford, J., Li, L. (2011). Doubly Robust Policy Evaluation and Learning. ICML.
Swaminathan, A., Joachims, T. (2015). The Self-Normalized Estimator for Counterfactual Learning. NIPS.
Thomas, P., Brunskill, E. (2016). Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning. ICML.
Liang, K.-Y., Zeger, S. L. (1986). Longitudinal Data Analysis Using Generalized Linear Models. Biometrika.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from modules.errors import DataError
from modules.off_policy.decisions import Decisions, Floats

COUNT, OUTCOME, WEIGHT, WEIGHTED_OUTCOME, MODEL, WEIGHTED_MODEL = range(6)
"""Columns of totals over the decisions of a lead: 1, y, w, w y, v_hat, w q_hat."""

_Total = NDArray[np.float64]


def _sum_of(**signs: int) -> _Total:
    columns = {"y": OUTCOME, "w": WEIGHT, "wy": WEIGHTED_OUTCOME, "v": MODEL, "wq": WEIGHTED_MODEL}
    vector = np.zeros(6)
    for name, sign in signs.items():
        vector[columns[name]] = sign
    return vector


RATIOS: Final[dict[str, tuple[tuple[_Total, int], ...]]] = {
    "logging": ((_sum_of(y=1), COUNT),),
    "ips": ((_sum_of(wy=1), COUNT),),
    "snips": ((_sum_of(wy=1), WEIGHT),),
    "dm": ((_sum_of(v=1), COUNT),),
    "dr": ((_sum_of(v=1, wy=1, wq=-1), COUNT),),
    "sndr": ((_sum_of(v=1), COUNT), (_sum_of(wy=1, wq=-1), WEIGHT)),
    "weight": ((_sum_of(w=1), COUNT),),
}
"""Each figure as a sum of ratios: (coefficients of the numerator, column of the denominator)."""

ESTIMATORS: Final = ("ips", "snips", "dm", "dr", "sndr")
FEW: Final = 100
"""Effective samples below this are warned of."""
_WARNING_LEVEL: Final = 0.99


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error and interval; NaN where it cannot be known."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True)
class PolicyEstimate:
    """What one estimator says of the new policy.

    Attributes:
      value: V(pi).
      uplift: V(pi) - V(mu), of the same decisions.
      relative: V(pi) / V(mu) - 1.
    """

    value: Estimate
    uplift: Estimate
    relative: Estimate


@dataclass(frozen=True)
class Weights:
    """How far the log can speak for the new policy.

    Attributes:
      mean: of the weights before they are cut; 1 in expectation where the propensities are right.
      effective_sample: (sum w)^2 / sum w^2, decisions of equal weight that would tell as much (Kish 1965).
      largest: largest weight in use.
      agreement: mean of pi(a | s) of the actions taken, 0-1; for a deterministic policy the share of decisions in
        which it would have done the same.
      matched: decisions whose action the new policy could have taken.
      cut: share of decisions whose weight was cut.
      bias_bound: largest bias of `ips` and `dr` that cutting can cause (the outcome lies within 0-1), 0 without.
    """

    mean: Estimate
    effective_sample: float
    largest: float
    agreement: float
    matched: int
    cut: float
    bias_bound: float


@dataclass(frozen=True)
class Valuation:
    """Everything estimated from one log.

    Attributes:
      decisions, leads: how many.
      level: nominal coverage of all intervals.
      max_weight: where weights were cut; None: not at all.
      logging: V(mu), the share of decisions whose lead converted.
      estimates: by name, in the order of `ESTIMATORS`.
      weights: diagnostics.
      warnings: for people; empty when nothing is suspicious.
    """

    decisions: int
    leads: int
    level: float
    max_weight: float | None
    logging: Estimate
    estimates: dict[str, PolicyEstimate]
    weights: Weights
    warnings: tuple[str, ...]


def estimate(decisions: Decisions, level: float = 0.95, max_weight: float | None = None) -> Valuation:
    """Estimates the value of the new policy in all ways.

    Args:
      decisions: the log; only leads whose outcome is final.
      level: nominal coverage of the intervals.
      max_weight: weights are cut at this value. Variance falls, and `ips` and `dr` get a bias of at most E[w - cut w];
        `dr` has less of it the better the model is.

    Raises:
      DataError: there is no decision.
    """
    if not len(decisions):
        raise DataError("expected at least one decision with a final outcome, received none")
    raw = decisions.new_propensity / decisions.propensity
    weight = raw if max_weight is None else np.minimum(raw, max_weight)
    totals = lead_totals(decisions, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        base, base_influence = _ratio("logging", totals)
        estimates = {}
        for name in ESTIMATORS:
            value, influence = _ratio(name, totals)
            if name != "dm" and not weight.any():
                value = np.float64(np.nan)  # nothing was observed; zero with a standard error of zero would be a lie
            estimates[name] = PolicyEstimate(
                value=_interval(value, influence, level),
                uplift=_interval(value - base, influence - base_influence, level),
                relative=_interval(value / base - 1, (influence - value / base * base_influence) / base, level),
            )
        mean, mean_influence = _ratio("weight", lead_totals(decisions, raw))
        weights = Weights(
            mean=_interval(mean, mean_influence, level),
            effective_sample=float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0,
            largest=float(weight.max()),
            agreement=float(decisions.new_propensity.mean()),
            matched=int((decisions.new_propensity > 0).sum()),
            cut=float((raw > weight).mean()),
            bias_bound=0.0 if max_weight is None else float((raw - weight).mean()),
        )
        check = _interval(mean, mean_influence, _WARNING_LEVEL)
    return Valuation(
        decisions=len(decisions),
        leads=len(totals),
        level=level,
        max_weight=max_weight,
        logging=_interval(base, base_influence, level),
        estimates=estimates,
        weights=weights,
        warnings=_warnings(weights, check),
    )


def lead_totals(decisions: Decisions, weight: Floats) -> _Total:
    """Totals over the decisions of each lead, float64 [G, 6], in the order of the leads' numbers."""
    _, lead = np.unique(decisions.lead, return_inverse=True)
    columns = (
        None,
        decisions.outcome,
        weight,
        weight * decisions.outcome,
        decisions.model_value,
        weight * decisions.model_taken,
    )
    return np.stack([np.bincount(lead, weights=column) for column in columns], axis=1).astype(np.float64)


def bootstrap_standard_errors(
    decisions: Decisions, max_weight: float | None = None, repeats: int = 200, seed: int = 0
) -> dict[str, float]:
    """Standard errors by drawing leads with replacement, a check of the formula above.

    Returns:
      By estimator, `logging` included, and `uplift_<estimator>`.
    """
    raw = decisions.new_propensity / decisions.propensity
    totals = lead_totals(decisions, raw if max_weight is None else np.minimum(raw, max_weight))
    rng = np.random.default_rng(seed)
    leads = len(totals)
    drawn = np.stack([np.bincount(rng.integers(leads, size=leads), minlength=leads) @ totals for _ in range(repeats)])
    values = {
        name: np.sum([drawn @ top / drawn[:, bottom] for top, bottom in RATIOS[name]], axis=0)
        for name in ("logging", *ESTIMATORS)
    }
    values |= {f"uplift_{name}": values[name] - values["logging"] for name in ESTIMATORS}
    return {name: float(np.std(value, ddof=1)) for name, value in values.items()}


def _ratio(name: str, totals: _Total) -> tuple[np.float64, _Total]:
    """A figure and the influence of each lead on it, [G]."""
    all_leads = totals.sum(axis=0)
    value, influence = np.float64(0), np.zeros(len(totals))
    for top, bottom in RATIOS[name]:
        ratio = all_leads @ top / all_leads[bottom]
        value += ratio
        influence += (totals @ top - ratio * totals[:, bottom]) / all_leads[bottom]
    return value, influence


def _interval(value: float | np.float64, influence: _Total, level: float) -> Estimate:
    leads = len(influence)
    if not np.isfinite(value):
        return Estimate(np.nan, np.nan, np.nan, np.nan)
    if leads < 2:
        return Estimate(float(value), np.nan, np.nan, np.nan)
    squares = float((influence**2).sum())
    error = float(np.sqrt(leads / (leads - 1) * squares))
    # Relative to the squares: influences are small, and their fourth powers must not vanish.
    excess = float(((influence**2 / squares) ** 2).sum()) - 1 / leads if squares else 0.0
    freedom = np.clip(2 / excess, 1, leads - 1) if excess > 0 else leads - 1
    reach = float(special.stdtrit(freedom, 0.5 + level / 2)) * error
    return Estimate(float(value), error, float(value - reach), float(value + reach))


def _warnings(weights: Weights, check: Estimate) -> tuple[str, ...]:
    found = []
    if not weights.matched:
        found.append("the new policy never chose what was done: the log says nothing about it, only the model does")
    elif weights.effective_sample < FEW:
        found.append(
            f"effective sample of {weights.effective_sample:.0f} decisions, fewer than {FEW}: the intervals are too "
            "narrow to trust"
        )
    if weights.matched and not check.low <= 1 <= check.high:
        found.append(
            f"mean weight {check.value:.3f} ({_WARNING_LEVEL:.0%} {check.low:.3f}-{check.high:.3f}) where right "
            "propensities give 1: they are wrong, or the new policy takes actions that were never taken"
        )
    return tuple(found)
