"""What loss curves say about overfitting and convergence. A healthy training gives no finding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modules.convergence import HIGHER_IS_BETTER, IN_WORDS, CheckSettings, Curves, Finding, Training, Values

OBJECTIVE = "loss"
"""Metric of the training part that is what training minimises, where that is more than the compared loss."""


@dataclass(frozen=True)
class _Words:
    """What settings are called for a kind of step, in the order in which to try them."""

    steps: str
    less_fit: tuple[str, ...]
    less_fit_advice: str
    smoother: tuple[str, ...]


_WORDS: dict[str, _Words] = {
    "round": _Words(
        steps="model.num_rounds",
        less_fit=("model.max_depth", "model.min_child_weight", "model.subsample"),
        less_fit_advice="lower model.max_depth or raise model.min_child_weight",
        smoother=("model.learning_rate", "model.validation_split"),
    ),
    "epoch": _Words(
        steps="model.epochs",
        less_fit=("model.dropout_rate", "model.weight_decay", "model.embedding_dim"),
        less_fit_advice="raise model.dropout_rate or model.weight_decay",
        smoother=("model.learning_rate", "model.weight_averaging", "model.validation_split"),
    ),
}


def findings(curves: Curves, checks: CheckSettings) -> tuple[Finding, ...]:
    """What the curves of a model say; empty after a healthy training.

    Let v(s) be the watched loss on the validation part after step s, and t(s), w(s) the compared loss on the training
    and validation part; b the best step, u the one in use, n the last one run (AUC and the like count negatively).

        not_a_number   some v or t is not finite; nothing else is looked at
        diverged       t(n) > t(1); nothing else is looked at
        too_fast       b <= first_steps < n: steps are too large, or there is little to learn
        noisy          sum over s <= b of max(0, v(s) - v(s - 1)) > max_noise (v(1) - v(b))
        not_finished   n is the last step asked for, and its last tenth brought more than still_improving |v(b)|
        turned         v(u) - v(b) > max_lost |v(b)|: the loss turned, and the model uses a later step
        gap            w(u) - t(u) > max_gap w(u)

    Args:
      curves: of all trainings of a model; refits, which have no validation part, say nothing.
      checks: what is worth saying.
    """
    several = sum("validation" in training.curves for training in curves.trainings) > 1
    found: list[Finding] = []
    for training in curves.trainings:
        if training.values("validation", training.watched).size == 0:
            continue
        for finding in _of_training(training, checks):
            message = f"{training.name}: {finding.message}" if several else finding.message
            found.append(finding.model_copy(update={"message": message}))
    return tuple(found)


def summary_line(training: Training) -> str:
    """Where the validation loss turned, and what it and the training loss were there; empty without a validation part.

    validation log loss 0.3127 was best in round 412 of 462, training 0.2811
    """
    best = training.best
    if best is None:
        return ""
    watched = training.values("validation", training.watched)
    compared = training.values("train", training.loss)
    text = (
        f"validation {_name(training.watched)} {watched[best - 1]:.4f} was best in {training.unit} "
        f"{training.number(best):,} of {training.number(len(watched)):,}"
    )
    if len(compared) >= best and math.isfinite(compared[best - 1]):
        text += f", training {_name(training.loss) + ' ' if training.loss != training.watched else ''}"
        text += f"{compared[best - 1]:.4f}"
    return text


def _of_training(training: Training, checks: CheckSettings) -> Iterator[Finding]:
    sign = -1.0 if training.watched in HIGHER_IS_BETTER else 1.0
    v = sign * training.values("validation", training.watched)
    t, w = training.values("train", training.loss), training.values("validation", training.loss)
    for name, values in (("validation", v), ("training", t)):
        if not np.isfinite(values).all():
            yield _not_a_number(training, name, int(np.flatnonzero(~np.isfinite(values))[0]) + 1)
            return
    objective = training.values("train", OBJECTIVE) if training.curves["train"].get(OBJECTIVE) else t
    if len(objective) > 1 and objective[-1] > objective[0]:
        yield _diverged(training, objective)
        return
    best = int(v.argmin()) + 1
    if best <= checks.first_steps < len(v):
        yield _too_fast(training, best, sign * v[best - 1])
    else:
        rises = float(np.maximum(np.diff(v[:best]), 0).sum())
        fall = float(v[0] - v[best - 1])
        if rises > checks.max_noise * fall:
            yield _noisy(training, best, rises, fall)
    if len(v) >= training.steps:
        yield from _not_finished(training, v, checks)
    used = min(training.used, len(v))
    lost = float(v[used - 1] - v[best - 1])
    if used > best and lost > checks.max_lost * abs(v[best - 1]):
        yield _turned(training, best, used, sign * v[best - 1], lost)
    if len(t) >= used and len(w) >= used and w[used - 1] - t[used - 1] > checks.max_gap * w[used - 1]:
        yield _gap(training, used, float(t[used - 1]), float(w[used - 1]), checks)


def _not_a_number(training: Training, part: str, step: int) -> Finding:
    return Finding(
        check="not_a_number",
        message=f"the {part} loss is not a number from {training.unit} {training.number(step)} on",
        settings=("model.learning_rate",),
        advice="lower model.learning_rate, and look for extreme values in the data",
        figures={"step": training.number(step)},
    )


def _diverged(training: Training, t: Values) -> Finding:
    return Finding(
        check="diverged",
        message=f"training diverged: its loss rose from {t[0]:.4f} to {t[-1]:.4f}",
        settings=("model.learning_rate",),
        advice="lower model.learning_rate",
        figures={"first": float(t[0]), "last": float(t[-1])},
    )


def _too_fast(training: Training, best: int, value: float) -> Finding:
    return Finding(
        check="too_fast",
        message=f"validation {_name(training.watched)} {value:.4f} was best in {training.unit} "
        f"{training.number(best)} already: a {training.unit} learns too much, or there is little to learn",
        settings=("model.learning_rate",),
        advice="lower model.learning_rate",
        figures={"best_step": training.number(best), "value": value},
    )


def _noisy(training: Training, best: int, rises: float, fall: float) -> Finding:
    words = _WORDS[training.unit]
    return Finding(
        check="noisy",
        message=f"the validation {_name(training.watched)} is noisy: on the way to its best in {training.unit} "
        f"{training.number(best)} it moved back by {rises:.4f} and ahead by {fall:.4f} in all",
        settings=words.smoother,
        advice=f"lower {words.smoother[0]} or raise {' or '.join(words.smoother[1:])}",
        figures={"best_step": training.number(best), "rises": rises, "fall": fall},
    )


def _not_finished(training: Training, v: Values, checks: CheckSettings) -> Iterator[Finding]:
    tenth = max(1, len(v) // 10)
    if len(v) <= tenth:
        return
    gain, whole = float(v[:-tenth].min() - v.min()), float(v[0] - v.min())
    if gain <= checks.still_improving * abs(v.min()):
        return
    words = _WORDS[training.unit]
    # A tenth of the steps that brings a twentieth of everything is nowhere near the end.
    slow = gain > 0.05 * whole
    advice = f"raise model.learning_rate or {words.steps}" if slow else f"raise {words.steps}"
    stopping = "early stopping never fired" if training.patience is not None else "training ended"
    yield Finding(
        check="not_finished",
        message=f"{stopping} and the validation {_name(training.watched)} was still improving: the last {tenth} of "
        f"{len(v):,} {training.unit}s brought {gain:.4f} of {whole:.4f}",
        settings=("model.learning_rate", words.steps) if slow else (words.steps,),
        advice=advice,
        figures={"steps": len(v), "gain": gain, "whole": whole},
    )


def _turned(training: Training, best: int, used: int, value: float, lost: float) -> Finding:
    words = _WORDS[training.unit]
    return Finding(
        check="turned",
        message=f"validation {_name(training.watched)} turned in {training.unit} {training.number(best):,} "
        f"({value:.4f}) and is {lost:.4f} worse in {training.unit} {training.number(used):,}, which is in use",
        settings=("model.early_stopping_rounds", words.steps),
        advice=f"set model.early_stopping_rounds, or {words.steps} to {best}",
        figures={"best_step": training.number(best), "used_step": training.number(used), "lost": lost},
    )


def _gap(training: Training, used: int, t: float, w: float, checks: CheckSettings) -> Finding:
    words = _WORDS[training.unit]
    return Finding(
        check="gap",
        message=f"training and validation part: {_name(training.loss)} {t:.4f} and {w:.4f} in {training.unit} "
        f"{training.number(used):,}, {100 * (w - t) / w:.0f} % apart, {100 * checks.max_gap:.0f} % allowed "
        "(checks.max_gap)",
        settings=words.less_fit,
        advice=words.less_fit_advice,
        figures={"training": t, "validation": w, "gap": (w - t) / w, "step": training.number(used)},
    )


def _name(metric: str) -> str:
    return IN_WORDS.get(metric, metric)
