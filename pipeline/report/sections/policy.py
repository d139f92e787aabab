"""What the new policy would have been worth on logged decisions."""

from __future__ import annotations

from modules.off_policy.estimators import Estimate
from modules.off_policy.report import NAMES
from modules.reporting.document import Block, Items, Plot, Section, Table
from modules.reporting.figures.actions import policy_shares
from modules.reporting.figures.comparison import dots
from modules.reporting.figures.theme import CANDIDATE
from modules.reporting.formats import number
from modules.reporting.intervals import Interval
from pipeline.report.sections.common import missing
from pipeline.report.source import Absent, RunSource


def policy(source: RunSource) -> Section:
    """Policy value by every estimator, and how often which action is taken and recommended."""
    title, report = "Policy value", source.policy_value
    if isinstance(report, Absent):
        return Section("policy", title, missing(report))
    blocks: list[Block] = [Items(tuple(line.strip() for line in report.lines()))]
    found = report.valuation
    if found is not None:
        rows = [("what was done", _interval(found.logging))]
        rows += [(f"{report.policy}, {NAMES.get(n, n)}", _interval(e.value)) for n, e in found.estimates.items()]
        blocks += [
            Plot(
                "policy-value",
                dots([n for n, _ in rows], {"value": (CANDIDATE, [v for _, v in rows])}, "conversion rate",
                     reference=found.logging.value, tickformat=".1%"),
                "Conversion rate per lead's decisions under the agents' own choices and under the policy, by "
                "estimator, with "
                f"{found.level * 100:g} % intervals. An estimate, no experiment: what was never tried cannot be known.",
            ),
            Table(
                ("estimator", "value", "standard error", "uplift", "relative"),
                tuple(
                    (NAMES.get(n, n), number(e.value.value), number(e.value.standard_error), f"{e.uplift.value:+.4f}",
                     f"{e.relative.value:+.1%} ({e.relative.low:+.1%} to {e.relative.high:+.1%})")
                    for n, e in found.estimates.items()
                ),
                "Every estimator.",
                (1, 2, 3, 4),
                folded=True,
            ),
        ]  # fmt: skip
    if report.actions:
        blocks.append(
            Plot(
                "policy-actions",
                policy_shares(report.actions),
                "How often each action was taken, and how often the policy would take it.",
            )
        )
    return Section("policy", title, blocks)


def _interval(estimate: Estimate) -> Interval:
    return Interval(estimate.value, estimate.low, estimate.high)
