"""Columns of a dataset's tf.Examples: what schema, statistics, gate and drift look at.

One list for both kinds of dataset, so that nothing downstream asks which one it has: a table of leads has one value per
feature, journeys have lists as well (modules/journeys/names.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from modules.dataset import Dataset
from modules.features import Feature, Kind
from modules.journeys import names
from modules.journeys.dataset import JourneyDataset

AnyDataset: TypeAlias = Dataset | JourneyDataset
ACTIONS = "action"
"""Name of the vocabulary that history_action and next_action share."""


@dataclass(frozen=True)
class Column:
    """A column of tf.Examples.

    Attributes:
      name: its name there.
      type: of its values.
      feature: its row of the feature table; None for what no table lists (label, id, times, ...).
      length: largest number of values of a list; None when there is one value.
      max_missing: largest accepted share of rows without a value; in a list, of entries without one ('' or NaN).
      least, most: legal range; None when open.
      values: the closed vocabulary is what the data hold ("seen"), these words, or anything (None).
      vocabulary: columns that name the same one share their words.
      fixed: parsed as a dense tensor (the label of a table of leads).
      measure: how drift is measured, "values" (and missing), "missing" only, or not at all.
      max_drift: largest accepted distance; None when there is no limit.
      what: one line for people.
    """

    name: str
    type: Literal["float", "integer", "bytes"]
    feature: Feature | None = None
    length: int | None = None
    max_missing: float = 0.0
    least: float | None = None
    most: float | None = None
    values: tuple[str, ...] | Literal["seen"] | None = None
    vocabulary: str = ""
    fixed: bool = False
    measure: Literal["values", "missing"] | None = None
    max_drift: float | None = None
    what: str = ""

    @property
    def is_list(self) -> bool:
        return self.length is not None


def columns(dataset: AnyDataset) -> tuple[Column, ...]:
    """All columns: those of the feature table in its order, the lists of the history, then label, id and the rest."""
    if isinstance(dataset, JourneyDataset):
        return tuple(_journey_columns(dataset))
    return tuple(_lead_columns(dataset))


def read_dataset(text: str) -> AnyDataset:
    """A dataset from its `model_dump_json()`; one of journeys is told by its key `events`.

    Raises:
      pydantic.ValidationError: it is neither.
    """
    kind = JourneyDataset if "events" in json.loads(text) else Dataset
    return kind.model_validate_json(text)


def _lead_columns(dataset: Dataset) -> Iterator[Column]:
    used = set()
    for feature in dataset.table:
        used.add(feature.name)
        yield _of_feature(feature, dataset.max_drift)
    yield Column(dataset.label_feature, "integer", least=0, most=1, fixed=True)
    used.add(dataset.label_feature)
    if dataset.id_feature not in used:
        yield Column(dataset.id_feature, "bytes")
    if dataset.time_feature is not None and dataset.time_feature not in used | {dataset.id_feature}:
        yield Column(dataset.time_feature, "integer")
    yield from _hashed(dataset, {dataset.id_feature})


def _journey_columns(dataset: JourneyDataset) -> Iterator[Column]:
    length = dataset.history.length
    for feature in dataset.features:
        yield _of_feature(feature, dataset.max_drift)
    action = Column(
        names.HISTORY_ACTION,
        "bytes",
        length=length,
        values="seen",
        vocabulary=ACTIONS,
        measure="values",
        max_drift=dataset.max_drift,
        what="actions before, oldest first",
    )
    yield action
    yield Column(names.HISTORY_TIME, "integer", length=length, what="their times, seconds since 1970 UTC")
    for feature in dataset.events.features:
        yield _of_feature(feature, dataset.max_drift, names.history(feature.name), length)
    yield Column(names.HISTORY_LENGTH, "integer", least=dataset.history.min, what="events before, all of them")
    yield Column(names.JOURNEY_START, "integer", max_missing=1, what="seconds since 1970 UTC")
    yield replace(action, name=names.NEXT_ACTION, length=None, what="the label")
    yield Column(names.OUTCOME, "integer", max_missing=1, least=0, most=1, what="1 converted; absent: not known yet")
    yield Column(names.DECISION_TIME, "integer", what="seconds since 1970 UTC")
    yield Column(names.STAGE, "bytes", values=tuple(word for _, word in names.STAGES), what="for slices")
    yield Column(
        names.PROPENSITY, "float", max_missing=1, least=0, most=1, what="with which next_action was chosen, as logged"
    )
    yield Column(names.TRAINING_POSITIONS, "integer", least=0, most=length + 1, what="decisions trained on here")
    yield Column(dataset.id_feature, "bytes", what="the lead")
    yield from _hashed(dataset, {dataset.id_feature, dataset.leads.id if dataset.leads else ""})


def _hashed(dataset: AnyDataset, ids: set[str]) -> Iterator[Column]:
    for person in dataset.personal_data:
        if person.action == "hash" and person.column not in ids:
            yield Column(person.name or person.column, "bytes", max_missing=1, what="hashed; not a feature")


def _of_feature(
    feature: Feature, max_drift: float | None, name: str | None = None, length: int | None = None
) -> Column:
    closed = feature.kind is Kind.CATEGORICAL and not feature.open_vocabulary
    name = name or feature.name
    return Column(
        name,
        "float" if feature.kind is Kind.NUMERIC else "bytes",
        feature,
        length,
        feature.max_missing,
        feature.min,
        feature.max,
        "seen" if closed else None,
        name,
        # Sentences hardly ever repeat, and newer leads have newer dates: of both only their absence is compared.
        measure="missing" if feature.kind in (Kind.TEXT, Kind.DATE) else "values",
        max_drift=feature.max_drift if feature.max_drift is not None else max_drift,
        what=feature.description,
    )
