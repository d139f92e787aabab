"""Names of the metrics on which thresholds in slices are set (see `modules.evaluation.slice_metric`)."""


def margin(metric: str) -> str:
    """Name of the metric that holds the distance of `metric` to its bound in a slice."""
    return f"{metric}_margin"


def change_margin(metric: str) -> str:
    """Name of the metric that holds the distance of the change of `metric` to its bound in a slice."""
    return f"{metric}_change_margin"
