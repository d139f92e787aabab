"""The policy value as a file, and in a few lines for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modules.off_policy.estimators import ESTIMATORS, Estimate, PolicyEstimate, Valuation
from modules.report_file import ReportFile

HEADLINE = "dr"
"""The estimator that people are shown first."""
NAMES = {
    "ips": "inverse propensity",
    "snips": "self-normalised",
    "dm": "model alone",
    "dr": "doubly robust",
    "sndr": "doubly robust, self-normalised",
}
_INDENT = " " * 14

Propensities = Literal["logged", "estimated"]


@dataclass(frozen=True)
class ActionShare:
    """How often an action was taken, and how often the new policy takes it, as shares of all decisions, 0-1."""

    action: str
    taken: float
    recommended: float


@dataclass(frozen=True)
class OutcomeModel:
    """The model's conversion of the actions taken against what happened, where it ranks the action taken.

    Attributes:
      decisions: how many those are.
      predicted: mean predicted conversion, 0-1; NaN without decisions.
      observed: share of these decisions whose lead converted, 0-1.
    """

    decisions: int
    predicted: float
    observed: float


class PolicyValueReport(ReportFile):
    """What a new policy would have been worth on a held-out part.

    Attributes:
      policy: the new policy, in words.
      propensities: `logged`, or `estimated` by the model's own likelihoods.
      split: the part of the examples.
      examples: decisions in it.
      without_outcome: of those, left out because their lead's outcome is not known.
      without_propensity: of the others, left out because no probability within (0, 1] was logged.
      without_recommendation: of those in use, decisions in which rules forbid every action; the new policy then does
        what was done.
      actions: shares by action, most often taken first, over the decisions in use.
      model: whether the outcome model is right on average.
      valuation: the estimates; None when no decision is left.
    """

    FILE = "value.json"
    policy: str
    propensities: Propensities
    split: str
    examples: int
    without_outcome: int
    without_propensity: int
    without_recommendation: int
    actions: tuple[ActionShare, ...]
    model: OutcomeModel
    valuation: Valuation | None

    @property
    def headline(self) -> PolicyEstimate | None:
        """The doubly robust estimate."""
        return None if self.valuation is None else self.valuation.estimates[HEADLINE]

    def lines(self) -> list[str]:
        """Three to six lines for the summary of a run."""
        found = self.valuation
        if found is None:
            return [f"policy value  not estimated: none of the {self.examples:,} decisions of the {self.split} part "
                    f"can be used ({self._left_out()})"]  # fmt: skip
        best = found.estimates[HEADLINE]
        # The model alone speaks where nothing was matched.
        name = HEADLINE if best.value.value == best.value.value else "dm"
        best = found.estimates[name]
        out = [
            f"policy value  logging {found.logging.value:.3f}, {self.policy} {best.value.value:.3f} "
            f"({_range(best.value, found.level)}, {NAMES[name]}), "
            f"{best.relative.value:+.1%} ({best.relative.low:+.1%} to {best.relative.high:+.1%})",
            f"{_INDENT}{found.weights.matched:,} of {found.decisions:,} decisions of {found.leads:,} leads matched, "
            f"effective sample {found.weights.effective_sample:,.0f}, mean weight {found.weights.mean.value:.2f}"
            + self._cut(found),
            f"{_INDENT}"
            + ", ".join(f"{NAMES[n]} {found.estimates[n].value.value:.3f}" for n in ESTIMATORS[:3] if n != name),
        ]
        if self.propensities == "estimated":
            out.append(f"{_INDENT}propensities estimated by the model, none were logged: take it as a hint")
        if self.without_outcome or self.without_propensity:
            out.append(f"{_INDENT}left out: {self._left_out()}")
        if found.warnings:
            out.append(f"{_INDENT}careful: {'; '.join(found.warnings)}")
        return out

    @staticmethod
    def _cut(found: Valuation) -> str:
        weights = found.weights
        if not weights.cut:
            return ""
        return f", {weights.cut:.1%} of weights cut at {found.max_weight:g}, bias up to {weights.bias_bound:.3f}"

    def _left_out(self) -> str:
        counts = {
            "outcome not known": self.without_outcome,
            "propensity not logged": self.without_propensity,
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "none"


def _range(estimate: Estimate, level: float) -> str:
    return f"{level * 100:g} % {estimate.low:.3f}-{estimate.high:.3f}"
