"""Why a model answered what it answered, as values of Python, one per lead."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modules.native.protos import predict_pb2
from serving.client.answers import LeadScore, lead_scores, values_of
from serving.client.errors import ClientError

SIGNATURE = "explain"
HEADS = 2
"""Reasons before those of single events."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What a raw feature did to a lead's log-odds. contribution: above 0 it made conversion likelier."""

    feature: str
    contribution: float

    @property
    def odds(self) -> float:
        """By how much it multiplied the odds."""
        return math.exp(self.contribution)

    def __str__(self) -> str:
        factor = self.odds if self.contribution >= 0 else 1 / self.odds
        return f"{self.feature} {'raises' if self.contribution >= 0 else 'lowers'} the odds {factor:.2f} times"


@dataclass(frozen=True, slots=True)
class LeadExplanation:
    """A lead's score and the reasons for it, the strongest first.

    bias: log-odds of a lead of whom nothing sets it apart. margin: of this one, bias + all contributions, before
    calibration makes it `score.probability`.
    """

    score: LeadScore
    reasons: tuple[Reason, ...]
    bias: float
    margin: float


@dataclass(frozen=True, slots=True)
class EventReason:
    """What an event did to an answer.

    name: its action; `(lead)` for the lead's features, `(earlier events)` for all before the latest ones.
    position: which of the lead's events, the latest one is -1; None for the lead and earlier events.
    contribution: to the log of the action's probability. conversion: to the log-odds that the lead converts if the
    action is next; 0 where outcomes are not known.
    """

    name: str
    position: int | None
    contribution: float
    conversion: float

    def __str__(self) -> str:
        factor = math.exp(abs(self.contribution))
        said = "likelier" if self.contribution >= 0 else "less likely"
        return f"{self.name} makes it {factor:.2f} times {said}"


@dataclass(frozen=True, slots=True)
class ActionExplanation:
    """Why an action is recommended: the reasons in the order of time, the lead's features first.

    action: the next best one. probability: of it, before rules, 0-1. bias: log of its probability for a lead of whom
    nothing is known and to whom nothing has happened; with all contributions the log of `probability`.
    """

    action: str
    probability: float
    reasons: tuple[EventReason, ...]
    bias: float
    model: str
    version: int

    @property
    def strongest(self) -> tuple[EventReason, ...]:
        """The reasons by size."""
        return tuple(sorted(self.reasons, key=lambda reason: -abs(reason.contribution)))


_LEAD_OUTPUTS = ("feature", "contribution", "bias", "margin")
_ACTION_OUTPUTS = (
    "action", "feature", "events", "contribution", "bias", "log_probability", "conversion_contribution",
)  # fmt: skip


def lead_explanations(response: predict_pb2.PredictResponse, rows: int) -> list[LeadExplanation]:
    """
    Raises:
      ClientError: the model answered something else than a lead-scoring model does.
    """
    scores = lead_scores(response, rows)
    found = [values_of(response, key, rows, _LEAD_OUTPUTS, "lead-scoring") for key in _LEAD_OUTPUTS]
    (names, width), (contributions, _), (bias, _), (margin, _) = found
    _same_length(response, {len(names), len(contributions), rows * width})
    texts = {name: name.decode(errors="replace") for name in set(names)}
    reasons = [Reason(texts[name], value) for name, value in zip(names, contributions, strict=True)]
    return [
        LeadExplanation(scores[i], tuple(reasons[i * width : (i + 1) * width]), bias[i], margin[i]) for i in range(rows)
    ]


def action_explanations(response: predict_pb2.PredictResponse, rows: int) -> list[ActionExplanation]:
    """
    Raises:
      ClientError: the model answered something else than a recommendation model does.
    """
    spec = response.model_spec
    found = [values_of(response, key, rows, _ACTION_OUTPUTS, "recommendation") for key in _ACTION_OUTPUTS]
    (actions, _), (names, width), (events, _), (contributions, _), (bias, _), (total, _), (conversions, _) = found
    _same_length(response, {len(names), len(contributions), len(conversions), rows * width})
    explained = []
    for i in range(rows):
        cut = slice(i * width, (i + 1) * width)
        cells = list(zip(names[cut], contributions[cut], conversions[cut], strict=True))
        # The lead, earlier events ('' without any), the events, places that are not used.
        shown = [
            EventReason(name.decode(errors="replace"), None if j < HEADS else j - HEADS - events[i], value, conversion)
            for j, (name, value, conversion) in enumerate(cells[: HEADS + events[i]])
        ]
        explained.append(
            ActionExplanation(
                actions[i].decode(errors="replace"),
                math.exp(total[i]),
                tuple(reason for reason in shown if reason.name or reason.position is not None),
                bias[i],
                spec.name,
                spec.version.value,
            )
        )
    return explained


def _same_length(response: predict_pb2.PredictResponse, lengths: set[int]) -> None:
    if len(lengths) > 1:
        spec = response.model_spec
        raise ClientError(f"{spec.name} version {spec.version.value} answers reasons of different lengths")
