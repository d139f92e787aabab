"""Names that the Evaluator's metrics and their readers share (see `modules.evaluation.slice_metric`)."""

QUANTILES = "quantiles"
"""Output name of plots over intervals of equal weight, which tells them from those of equal width."""
CONVERSION = "conversion"
"""Output name of plots of the conversion probability."""
CONVERSION_QUANTILES = f"{CONVERSION}_{QUANTILES}"
ACTIONS = "actions"
"""Output name of the confusion of actions."""


def margin(metric: str) -> str:
    """Name of the metric that holds the distance of `metric` to its bound in a slice."""
    return f"{metric}_margin"


def change_margin(metric: str) -> str:
    """Name of the metric that holds the distance of the change of `metric` to its bound in a slice."""
    return f"{metric}_change_margin"
