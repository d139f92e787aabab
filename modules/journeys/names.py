"""Names of the features of a decision's tf.Example.

One example stands for one decision: the moment before an action was taken. Lists hold the last L events before it,
oldest first, one entry per event in each list: a missing word is '', a missing number NaN.

| feature | type | what |
| --- | --- | --- |
| the dataset's lead column | bytes | id of the lead |
| the features of the lead | as the feature table says | as they were known before the decision |
| history_action | bytes list | actions of the events |
| history_time | int64 list | their times, seconds since 1970 UTC |
| history_<event feature> | bytes or float list | attributes of the events |
| history_length | int64 | number of ALL events before the decision, at most L of which are in the lists |
| journey_start | int64 | creation of the lead, or its first event; absent when nothing is known |
| allowed_actions | bytes list | requests only: the actions that may be recommended; absent means all |
| next_action | bytes | what was done (the label) |
| outcome | int64 | 1 the lead converted, 0 it did not; absent when not known yet |
| decision_time | int64 | when; never an input |
| stage | bytes | history_length in words, for slices; never an input |
| propensity | float | probability with which the action was chosen, as logged; absent when it was not |
| training_positions | int64 | for how many of its journey's last decisions this one stands in causal training |

The rest of the file are those names.
"""

from __future__ import annotations

ACTION = "action"
"""What rules and vocabularies call the action of an event."""

HISTORY_PREFIX = "history_"
HISTORY_ACTION = "history_action"
HISTORY_TIME = "history_time"
HISTORY_LENGTH = "history_length"
JOURNEY_START = "journey_start"
ALLOWED_ACTIONS = "allowed_actions"
NEXT_ACTION = "next_action"
OUTCOME = "outcome"
DECISION_TIME = "decision_time"
STAGE = "stage"
PROPENSITY = "propensity"
TRAINING_POSITIONS = "training_positions"

NOT_INPUTS = (NEXT_ACTION, OUTCOME, DECISION_TIME, STAGE, PROPENSITY, TRAINING_POSITIONS)
"""What examples carry beside what a request may carry (the lead's id is not an input either)."""

RESERVED = (HISTORY_ACTION, HISTORY_TIME, HISTORY_LENGTH, JOURNEY_START, ALLOWED_ACTIONS, *NOT_INPUTS)

STAGES = ((0, "start"), (1, "1"), (2, "2-3"), (4, "4-7"), (8, "8-15"), (16, "16-31"), (32, "32+"))
"""Smallest history_length of a stage, and its name, ascending."""


def history(feature: str) -> str:
    """Name of the list of an event feature."""
    return f"{HISTORY_PREFIX}{feature}"
