"""Metrics of next-action predictions, derived from their additive statistics.

A decision is one example: the actions were ranked by probability, and one was taken (the label). Every function takes
`ActionStatistics` and returns a float, NaN where the metric is not defined.

| metric | definition |
| --- | --- |
| example_count | decisions |
| accuracy | share of decisions whose label is ranked first |
| top_3_accuracy | share of decisions whose label is among the first three |
| weighted_f1 | mean over actions of F1 = 2 TP / (predicted + labels), weighted by labels |
| macro_f1 | the same mean, unweighted, over the actions that occur as label or prediction |
| mean_reciprocal_rank | mean of 1 / rank of the label |
| ndcg_at_5 | mean of 1 / log2(1 + rank) where rank <= 5, else 0 |
| log_loss | mean of -ln p(label), nats |
| top_probability_calibration_error | sum over 20 intervals of [0, 1] of share x abs(accuracy - mean top probability) |
| mean_prefix_accuracy | unweighted mean over k of the accuracy of the decisions with k events before them |
| unknown_action_rate | share of decisions whose action is not in the vocabulary |
| baseline_<b>_accuracy, baseline_<b>_weighted_f1 | of the naive baselines majority, last_action and prefix |
| accuracy_over_baseline | accuracy - the highest accuracy of the three baselines |
| conversion_count | decisions with a known outcome and an action of the vocabulary; the next four are over them |
| conversion_rate | share that converted |
| conversion_log_loss, conversion_auc | of the conversion probability of the action that was taken |
| conversion_calibration_error | over 15 groups of equal size, as `modules.evaluation.curves` has it |

Equally probable actions rank in vocabulary order. An action that is not in the vocabulary counts as wrong, as ranked
behind all (1 / rank is 0), as a class of its own in F1, and as probability 1e-7 in the log loss; probabilities below
1e-7 are raised to it there.

`mean_prefix_accuracy` is the protocol of published next-activity predictions. It is fragile: a length that three
decisions have counts as much as one that thousands have. Compare models by `accuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from modules.evaluation import curves
from modules.evaluation.next_action_statistics import BASELINES, ActionStatistics


def _mean(name: str) -> Callable[[ActionStatistics], float]:
    return lambda s: _ratio(s.total(name), s.total("count"))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def f1_by_action(statistics: ActionStatistics, predictor: str = "model") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F1, decisions with the action as label, and decisions with it as prediction; float64 [a] each.

    Row 0 stands for all actions outside of the vocabulary, row i + 1 for action i. F1 is 0 where it has no decisions.
    """
    labels = statistics.by_class("label")
    predicted = statistics.by_class(f"{predictor}_predicted")
    correct = statistics.by_class(f"{predictor}_correct")
    either = labels + predicted
    return np.divide(2 * correct, either, out=np.zeros_like(either), where=either > 0), labels, predicted


def weighted_f1(statistics: ActionStatistics, predictor: str = "model") -> float:
    """Mean F1 of the actions, weighted by how often they are the label, as scikit-learn's `average="weighted"`."""
    f1, labels, _ = f1_by_action(statistics, predictor)
    return _ratio(float(f1 @ labels), float(labels.sum()))


def macro_f1(statistics: ActionStatistics) -> float:
    """Mean F1 of the actions that occur as label or prediction, as scikit-learn's `average="macro"`."""
    f1, labels, predicted = f1_by_action(statistics)
    return _ratio(float(f1.sum()), float(np.count_nonzero(labels + predicted)))


def top_probability_calibration_error(statistics: ActionStatistics) -> float:
    """Expected calibration error of the top probability over intervals of equal width, 0-1.

    Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """
    count, probability, correct = statistics.reliability.T
    return _ratio(float(np.abs(correct - probability).sum()), float(count.sum()))


def mean_prefix_accuracy(statistics: ActionStatistics) -> float:
    """Unweighted mean over lengths of the history of the accuracy at that length."""
    count, correct = statistics.lengths.T
    present = count > 0
    return float(np.mean(correct[present] / count[present])) if present.any() else math.nan


def best_baseline(values: Mapping[str, float]) -> tuple[str, float]:
    """Name and accuracy of the most accurate naive baseline, the first of equal ones; NaN accuracy without decisions.

    Args:
      values: metrics by name.
    """
    accuracies = {name: values.get(f"baseline_{name}_accuracy", math.nan) for name in BASELINES}
    best = max(accuracies, key=lambda name: -math.inf if math.isnan(accuracies[name]) else accuracies[name])
    return best, accuracies[best]


def accuracy_over_baseline(statistics: ActionStatistics) -> float:
    """Accuracy of the model minus that of the best naive baseline, -1 to 1."""
    best = max(statistics.total(f"{name}_correct") for name in BASELINES)
    return _ratio(statistics.total("model_correct") - best, statistics.total("count"))


def _conversion(name: str) -> Callable[[ActionStatistics], float]:
    return lambda s: curves.METRICS[name](s.conversion)


def _weighted_f1(predictor: str) -> Callable[[ActionStatistics], float]:
    return lambda s: weighted_f1(s, predictor)


METRICS: dict[str, Callable[[ActionStatistics], float]] = {
    "example_count": lambda s: s.total("count"),
    "accuracy": _mean("model_correct"),
    "top_3_accuracy": _mean("top_3"),
    "weighted_f1": weighted_f1,
    "macro_f1": macro_f1,
    "mean_reciprocal_rank": _mean("reciprocal_rank"),
    "ndcg_at_5": _mean("ndcg_at_5"),
    "log_loss": _mean("log_loss"),
    "top_probability_calibration_error": top_probability_calibration_error,
    "mean_prefix_accuracy": mean_prefix_accuracy,
    "unknown_action_rate": _mean("unknown"),
    **{f"baseline_{name}_accuracy": _mean(f"{name}_correct") for name in BASELINES},
    **{f"baseline_{name}_weighted_f1": _weighted_f1(name) for name in BASELINES},
    "accuracy_over_baseline": accuracy_over_baseline,
    "conversion_count": _conversion("example_count"),
    "conversion_rate": _conversion("mean_label"),
    "conversion_log_loss": _conversion("log_loss"),
    "conversion_auc": _conversion("auc"),
    "conversion_calibration_error": _conversion("expected_calibration_error"),
}

LOWER_IS_BETTER = frozenset(
    {
        "log_loss",
        "top_probability_calibration_error",
        "conversion_log_loss",
        "conversion_calibration_error",
    }
)

# What the examples or the baselines are like, not the model: a candidate cannot improve on it.
WITHOUT_DIRECTION = frozenset(
    {
        "example_count",
        "unknown_action_rate",
        "conversion_count",
        "conversion_rate",
        *(f"baseline_{name}_{metric}" for name in BASELINES for metric in ("accuracy", "weighted_f1")),
    }
)


def all_metrics(statistics: ActionStatistics) -> dict[str, float]:
    """Every metric of `METRICS` by name."""
    return {name: function(statistics) for name, function in METRICS.items()}


def explain(metric: str, values: Mapping[str, float], digits: int) -> str:
    """What stands behind a metric: "model 0.797, best baseline prefix 0.793"; empty where there is nothing to add."""
    if metric != "accuracy_over_baseline" or "accuracy" not in values:
        return ""
    name, accuracy = best_baseline(values)
    return f"model {values['accuracy']:.{digits}f}, best baseline {name} {accuracy:.{digits}f}"
