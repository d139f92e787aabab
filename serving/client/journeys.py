"""Histories of events -> the lists that a recommendation model takes, by what the model says of its features.

    {"state": "CA", "created": "2026-03-01T08:00:00Z", "history": [
        {"action": "call", "time": 1772355600, "response": "no_answer"},
        {"action": "email", "time": datetime(2026, 3, 2, 9, 30, tzinfo=UTC)},
    ], "allowed_actions": ["call", "text"]}

becomes history_action, history_time, history_response, history_length and journey_start (modules/journeys/names.py).
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
import numbers as abstract
from array import array
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from modules.journeys import names
from serving.client import tensors
from serving.client.errors import LeadError
from serving.client.leads import CREATED, HISTORY, Features, Lead, is_missing, shown

ACTION, TIME = "action", "time"

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LAST = 253_402_300_799  # 9999-12-31T23:59:59Z; later ones are milliseconds
_DERIVED = (names.HISTORY_LENGTH, names.HISTORY_TIME)


def flattened(
    leads: Sequence[Lead], features: Features, first: int = 0, ignore: Collection[str] | bool = ()
) -> Sequence[Lead]:
    """Leads whose keys are features of the model; those of a model without journeys as they are.

    Args:
      leads: a mapping each. `history`: events in any order, each with an `action`, a `time` and the model's features
        of events; `created`: when the lead came in. Lists under the model's own names are taken, too.
      features: the model's.
      first: index of the first lead, for errors.
      ignore: keys of events that may be left out; True for any.

    Raises:
      LeadError: a history that cannot be sent, lists that do not belong together, or allowed actions without any.
    """
    if not features.journeys:
        return leads
    columns = {
        name.removeprefix(names.HISTORY_PREFIX): name
        for name in features.names
        if name.startswith(names.HISTORY_PREFIX) and features[name].many and name not in _DERIVED
    }
    return [
        _flat(lead, features, columns, first + i, ignore) if isinstance(lead, Mapping) else lead
        for i, lead in enumerate(leads)
    ]


def seconds(value: Any) -> int:
    """A moment as seconds since 1970 UTC: a datetime or ISO 8601 text (UTC without an offset), a date, or the seconds.

    Raises:
      ValueError: anything else, e.g. milliseconds.
    """
    moment = value
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"received {shown(value)}") from None
    if isinstance(moment, dt.datetime):
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        return (moment - _EPOCH) // dt.timedelta(seconds=1)
    if isinstance(moment, dt.date):
        return (moment - _EPOCH.date()).days * 86_400
    if isinstance(value, bool) or not isinstance(value, abstract.Real | Decimal) or not math.isfinite(value):
        raise ValueError(f"received {shown(value)}")
    number: int = math.floor(value)  # type: ignore[assignment]
    if abs(number) > _LAST:
        raise ValueError(f"received {shown(value)}, which is after the year 9999; are these milliseconds?")
    return number


def _flat(
    lead: Lead, features: Features, columns: Mapping[str, str], index: int, ignore: Collection[str] | bool
) -> Lead:
    result = dict(lead)
    created = result.pop(CREATED, None) if CREATED not in features else None
    if created is not None and created == created:
        result[names.JOURNEY_START] = _moment(created, index, CREATED, "a moment")
    if HISTORY in result:
        both = sorted(n for n in (*columns.values(), names.HISTORY_TIME) if not is_missing(result.get(n)))
        if both:
            raise LeadError(index, HISTORY, f"expected a history or lists, received both: {HISTORY}, {', '.join(both)}")
        _add_history(result, result.pop(HISTORY), features, columns, index, ignore)
    else:
        _check_lists(result, (*columns.values(), names.HISTORY_TIME), index)
    allowed = result.get(names.ALLOWED_ACTIONS)
    if not is_missing(allowed):
        some = (allowed,) if isinstance(allowed, str | bytes) else allowed
        if not isinstance(some, Collection) or not any(some):
            raise LeadError(
                index, names.ALLOWED_ACTIONS, "expected at least one action; without the key all are allowed"
            )
        result[names.ALLOWED_ACTIONS] = list(some)
    return result


def _add_history(
    lead: dict[str, object],
    history: Any,
    features: Features,
    columns: Mapping[str, str],
    index: int,
    ignore: Collection[str] | bool,
) -> None:
    if is_missing(history):
        history = ()
    if isinstance(history, str | bytes | Mapping) or not isinstance(history, Sequence):
        raise LeadError(index, HISTORY, f"expected a list of events, received {shown(history)}")
    _check_keys(history, columns, index, ignore)
    times = [_moment(e.get(TIME), index, f"{HISTORY}[{i}].{TIME}", "the event's time") for i, e in enumerate(history)]
    for i, event in enumerate(history):
        if is_missing(action := event.get(ACTION)) or action in ("", b""):
            raise LeadError(index, f"{HISTORY}[{i}].{ACTION}", "expected an action, received none")
    order = sorted(range(len(times)), key=times.__getitem__)
    if names.HISTORY_TIME in features:
        lead[names.HISTORY_TIME] = array("q", (times[i] for i in order))
    for key, name in columns.items():
        try:
            values = features[name].encode_list([event.get(key) for event in history], index)
        except LeadError as error:
            raise LeadError(index, _entry(error.feature, name, key), error.reason) from None
        picked: list[Any] = [values[i] for i in order] if len(values) else []
        lead[name] = tensors.numbers(features[name].dtype, picked) if isinstance(values, array) else picked
    length = lead.get(names.HISTORY_LENGTH)
    if is_missing(length):
        length = lead[names.HISTORY_LENGTH] = len(times)
    elif isinstance(length, int) and length < len(times):
        raise LeadError(
            index, names.HISTORY_LENGTH, f"expected the number of all events, at least {len(times)}; received {length}"
        )
    if times and is_missing(lead.get(names.JOURNEY_START)) and length == len(times):
        lead[names.JOURNEY_START] = times[order[0]]


def _check_keys(history: Sequence[Any], columns: Mapping[str, str], index: int, ignore: Collection[str] | bool) -> None:
    known = {*columns, TIME}
    for i, event in enumerate(history):
        if not isinstance(event, Mapping):
            raise LeadError(index, f"{HISTORY}[{i}]", f"expected a mapping, received {shown(event)}")
        if ignore is True or event.keys() <= known:
            continue
        for key in event:
            if key not in known and key not in (ignore or ()):
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]!r}?" if near else f"an event has: {', '.join(sorted(known))}."
                reason = f"unknown feature of an event {key!r}; {hint} Name it in ignore= to leave it out."
                raise LeadError(index, f"{HISTORY}[{i}]", reason)


def _check_lists(lead: Lead, lists: Sequence[str], index: int) -> None:
    lengths = {
        name: 1 if isinstance(value, str | bytes) or not isinstance(value, Sequence) else len(value)
        for name in lists
        if not is_missing(value := lead.get(name))
    }
    events = lengths.get(names.HISTORY_ACTION, 0)
    for name, length in lengths.items():
        if length != events:
            reason = f"expected an entry per event, {events} as in {names.HISTORY_ACTION}; received {length}"
            raise LeadError(index, name, reason)


def _moment(value: object, index: int, where: str, what: str) -> int:
    try:
        if value is None or value != value:  # a moment that pandas lacks is unlike itself, too
            raise ValueError("received none")
        return seconds(value)
    except ValueError as error:
        expected = f"expected {what} as a datetime, ISO 8601 text or seconds since 1970"
        raise LeadError(index, where, f"{expected}; {error}") from None


def _entry(feature: str | None, name: str, key: str) -> str:
    """`history_response[3]` as its sender wrote it: `history[3].response`."""
    return f"{HISTORY}{(feature or name).removeprefix(name)}.{key}"
