"""What does not fit between a dataset file of journeys and its tables, and what the journeys look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.errors import AiqleadsError
from modules.features import Feature, Kind
from modules.ingest.check import EMAIL, LEAK_AUC, PERSONAL_NAME, PERSONAL_SHARE, PHONE, Finding, single_feature_auc
from modules.journeys import suspects
from modules.journeys.dataset import JourneyDataset
from modules.journeys.overview import counted, cut_share, lines, percent, plural
from modules.journeys.read import ACTION, MICROS, PROPENSITY, event_column, lead_column
from modules.journeys.sample import Sample, other_column, read_sample
from modules.journeys.tables import Tables, resolve
from modules.journeys.tables import check as check_tables

RARE = 20
"""An action with fewer events cannot be learned."""
CUT = 0.25
"""Share of decisions with more events before them than the history holds from which on the window looks short."""
STEADY, RESTLESS = 0.001, 0.5
"""Share of journeys within which an attribute changes: below the first it is the lead's, above the second the
event's."""
UNIQUE = 0.5
"""Distinct values per journey above which a category is an identifier."""


@dataclass(frozen=True)
class _Attribute:
    """A column of either table: one code per event or per journey, as the journeys are ordered."""

    column: str
    role: str
    per_event: bool
    values: pa.Array
    feature: Feature | None = None


def check_journeys(dataset: JourneyDataset, sample_rows: int) -> tuple[list[str], list[Finding]]:
    """Reads the first rows of both tables.

    Args:
      dataset: the dataset file.
      sample_rows: how many rows of each table to read at least, if there are so many.

    Returns:
      The journeys in numbers, as lines for people, and what does not fit, errors first.
    """
    try:
        tables = resolve(dataset)
        check_tables(dataset, tables)
        sample = read_sample(dataset, tables, sample_rows)
    except AiqleadsError as e:
        return [], [Finding("error", None, str(e), "; ".join(e.details) or "correct the dataset file")]
    if sample is None:
        return [], [Finding("error", None, f"{tables.event_files[0].path} has no event that can be read", "")]
    findings = sorted(_findings(dataset, tables, sample), key=lambda f: f.severity != "error")
    return list(lines(dataset, sample)), findings


def _findings(dataset: JourneyDataset, tables: Tables, sample: Sample) -> Iterator[Finding]:
    yield from _bad_rows(dataset, sample)
    yield from _events(dataset, sample)
    yield from _leads(dataset, sample)
    yield from _outcomes(dataset, sample)
    for attribute in _attributes(dataset, sample):
        yield from _attribute(dataset, sample, attribute)


def _bad_rows(dataset: JourneyDataset, sample: Sample) -> Iterator[Finding]:
    rows = [r for r in (sample.events, sample.leads) if r is not None]
    bad = [b for r in rows for b in r.bad]
    records = sum(r.records for r in rows)
    stops = len(bad) > dataset.max_bad_rows * records
    groups: dict[tuple[str, str | None], list[str]] = {}
    for b in bad:
        message = f"{Path(b.file).name}:{b.line}: {b.message}"
        groups.setdefault((str(b.reason), b.column), []).append(message)
    for (reason, column), messages in groups.items():
        yield Finding(
            "error" if stops else "warning",
            column,
            f"{len(messages):,} of {records:,} rows: {reason}; {'; '.join(messages[:3])}",
            {
                "not a date": "set time_format or created_format, e.g. '%d/%m/%Y %H:%M'",
                "not a number": "add the spelling to the feature's missing_values, or make it categorical",
                "not UTF-8": "convert the file: iconv -f LATIN1 -t UTF-8",
            }.get(reason, "correct the rows, or the file's format (delimiter, quote)"),
        )


def _events(dataset: JourneyDataset, sample: Sample) -> Iterator[Finding]:
    whole, events = sample.partition, dataset.events
    action = suspects.codes(whole.events[ACTION])
    micros = whole.events[MICROS].to_numpy()
    journey = np.repeat(np.arange(len(whole.journeys.count)), whole.journeys.count)
    order = np.lexsort((action, micros, journey))
    same = np.ones(len(order) - 1, bool)
    for key in (journey, micros, action):
        same &= np.diff(key[order]) == 0
    if same.any():
        yield Finding(
            "warning", events.action,
            f"{plural(int(same.sum()), 'event')} with the lead, time and action of another one",
            "if they are exports of the same event, remove them: the model would learn to repeat itself",
        )  # fmt: skip
    counts = counted(whole.events[ACTION])
    rare = [word for word, n in counts if n < RARE]
    if rare:
        yield Finding(
            "warning", events.action, f"{len(rare)} of {len(counts)} actions occur fewer than {RARE} times: "
            + ", ".join(rare[:5]) + ("..." if len(rare) > 5 else ""),
            "nobody can learn when to take them; merge spellings, or leave such events out of the file",
        )  # fmt: skip
    if len(counts) == 1:
        yield Finding("error", events.action, f"every event is {counts[0][0]!r}", "there is nothing to recommend")
    if cut_share(sample) > CUT:
        yield Finding(
            "warning", None, f"{percent(cut_share(sample))} of decisions have more than {dataset.history.length} "
            "events before them", "a larger history.length shows the model more of them, at the cost of training time",
        )  # fmt: skip
    if events.propensity is not None:
        chosen = whole.events[PROPENSITY].drop_null().to_numpy()
        wrong = int(((chosen <= 0) | (chosen > 1)).sum())
        if wrong:
            yield Finding(
                "warning", events.propensity, f"{wrong:,} of {len(chosen):,} values are not above 0 and at most 1",
                "it must be the probability with which the action was chosen; without that, leave the key out",
            )  # fmt: skip


def _leads(dataset: JourneyDataset, sample: Sample) -> Iterator[Finding]:
    whole = sample.partition
    if sample.leads is None or whole.leads is None or dataset.leads is None:
        return
    if whole.leads.duplicates:
        yield Finding(
            "warning", dataset.leads.id, f"{plural(whole.leads.duplicates, 'row')} with the id of an earlier one",
            "one row per lead is expected; the first one counts",
        )  # fmt: skip
    unknown = whole.leads.row < 0
    if unknown.any() and sample.leads.whole:
        events, example = int(whole.journeys.count[unknown].sum()), whole.journeys.leads[int(unknown.argmax())]
        yield Finding(
            "warning" if not unknown.all() else "error", dataset.events.lead,
            f"{plural(events, 'event')} of {plural(int(unknown.sum()), 'lead')} that the table of leads does not have, "
            f"e.g. {example.as_py().decode('utf-8', 'replace')!r}",
            "their features and outcome are missing; is it the same export, and are the ids written alike?",
        )  # fmt: skip
    if whole.created is not None:
        known = np.asarray(whole.created.is_valid())
        created = whole.created.fill_null(0).to_numpy()
        first = whole.events[MICROS].to_numpy()[whole.journeys.begin]
        before = known & (first < created)
        if before.any():
            yield Finding(
                "warning", dataset.leads.created, f"{int(before.sum()):,} of {len(known):,} journeys have events "
                "before the lead was created",
                "are both times in the same time zone? features of the lead count as known since its creation",
            )  # fmt: skip


def _outcomes(dataset: JourneyDataset, sample: Sample) -> Iterator[Finding]:
    whole = sample.partition
    if dataset.outcome is None or whole.outcome is None:
        return
    name = dataset.outcome.column or dataset.outcome.action
    known = whole.outcome.drop_null()
    if not len(known):
        yield Finding("error", name, "the outcome of no journey is known", "check positive, negative, maturity_days")
    elif pc.min(known) == pc.max(known):
        word = "converted" if known[0].as_py() else "did not convert"
        yield Finding("warning", name, f"every journey {word}", "is the outcome spelled as in the file?")
    unread = whole.outcome.null_count - int(whole.immature.sum())
    if unread:
        yield Finding(
            "warning", name, f"{unread:,} journeys have an outcome that is neither positive nor negative",
            "add the spelling to outcome.positive or outcome.negative; they count as not known",
        )  # fmt: skip


def _attributes(dataset: JourneyDataset, sample: Sample) -> Iterator[_Attribute]:
    whole = sample.partition
    for feature in dataset.events.features:
        yield _Attribute(feature.source, "event feature", True, whole.events[event_column(feature)], feature)
    if whole.leads is None:
        for feature in dataset.features:
            yield _Attribute(feature.source, "feature", True, whole.events[lead_column(feature)], feature)
    elif whole.leads.table is not None:
        every = np.arange(len(whole.journeys.count))
        named: list[tuple[str, str, Feature | None]] = [(f.source, lead_column(f), f) for f in dataset.features]
        assert sample.leads is not None
        named += [(name, other_column(name), None) for name in sample.leads.others]
        for column, name, known in named:
            values = whole.leads.column(name, every, whole.leads.table.column(name).type)
            yield _Attribute(column, "feature" if known else "", False, values, known)
    for name in sample.events.others:
        yield _Attribute(name, "", True, whole.events[other_column(name)])


def _attribute(dataset: JourneyDataset, sample: Sample, attribute: _Attribute) -> Iterator[Finding]:
    whole, name, feature = sample.partition, attribute.column, attribute.feature
    begin, count = whole.journeys.begin, whole.journeys.count
    code = suspects.codes(attribute.values)
    longer = count > 1
    moves = suspects.changes(code, begin)[longer].mean() if attribute.per_event and longer.any() else 0.0
    per_journey = suspects.of_journeys(code, begin) if attribute.per_event else code
    yield from _leaks(attribute, sample, code, per_journey)
    if feature is None:
        yield Finding(
            "warning", name, "the dataset does not mention this column; it is ignored",
            "make it a feature, or list it under leave_out with the reason",
        )  # fmt: skip
    else:
        missing = attribute.values.null_count / max(1, len(attribute.values))
        if missing > feature.max_missing:
            yield Finding(
                "warning", name, f"{percent(missing)} of the values are missing, max_missing is "
                f"{percent(feature.max_missing)}", "the gate will close; raise max_missing if that is how it is",
            )  # fmt: skip
        distinct = len(np.unique(per_journey[per_journey != suspects.MISSING]))
        if feature.kind is Kind.CATEGORICAL and distinct > max(100, UNIQUE * len(count)):
            yield Finding(
                "warning", name, f"{distinct:,} values in {len(count):,} journeys: it tells leads apart by name",
                "nothing can be learned from an identifier; list it under leave_out",
            )  # fmt: skip
    if attribute.role == "event feature" and moves < STEADY and longer.any():
        yield Finding(
            "warning", name, f"it changes within {percent(float(moves))} of the journeys",
            "what belongs to the lead is cheaper and clearer under features than under events.features",
        )  # fmt: skip
    if attribute.role == "feature" and moves > RESTLESS:
        yield Finding(
            "warning", name, f"it changes within {percent(float(moves))} of the journeys, and only its last value "
            "before a decision is seen", "under events.features the model sees all of them",
        )  # fmt: skip
    yield from _personal(attribute)


def _leaks(attribute: _Attribute, sample: Sample, code: np.ndarray, per_journey: np.ndarray) -> Iterator[Finding]:
    whole = sample.partition
    begin, count = whole.journeys.begin, whole.journeys.count
    leave_out = "if it is filled in afterwards, list it under leave_out: the model would only seem to be good"
    longer = count > 1
    found, what = suspects.agreement(per_journey[longer], count[longer]), "number of events"
    if found.tells():
        trace = suspects.traces(suspects.codes(whole.events[ACTION]), begin, count)
        whole_trace = suspects.agreement(per_journey[longer], trace[longer])
        if whole_trace.tells():
            found, what = whole_trace, "events"
        yield Finding(
            "warning", attribute.column, f"{percent(found.share)} of the pairs of journeys with the same value have "
            f"the same {what} (of all pairs {percent(found.chance)}): it knows how a journey goes on", leave_out,
        )  # fmt: skip
        return
    if attribute.per_event:
        answer = suspects.codes(whole.events[ACTION])
        at = np.arange(len(code) - 1)
        at = at[np.diff(np.repeat(np.arange(len(count)), count)) == 0]
        following = suspects.agreement(code[at], answer[at + 1])
        usual = suspects.agreement(answer[at], answer[at + 1])
        if following.tells() and usual.share < following.share - 0.02:
            yield Finding(
                "warning", attribute.column, f"{percent(following.share)} of the pairs of events with the same value "
                f"are followed by the same action (with the same action: {percent(usual.share)})", leave_out,
            )  # fmt: skip
    elif attribute.feature is not None and attribute.feature.kind is not Kind.TEXT and whole.outcome is not None:
        known = np.asarray(whole.outcome.is_valid())
        label = whole.outcome.fill_null(0).to_numpy()[known]
        if len(label) and label.min() != label.max():
            area = single_feature_auc(attribute.values.filter(pa.array(known)), label)
            if area > LEAK_AUC:
                yield Finding(
                    "warning", attribute.column, f"alone it predicts the outcome almost perfectly (AUC {area:.4f})",
                    leave_out,
                )  # fmt: skip


def _personal(attribute: _Attribute) -> Iterator[Finding]:
    if attribute.feature is not None and attribute.feature.kind is Kind.NUMERIC:
        return
    what = "its name suggests personal data" if PERSONAL_NAME.search(attribute.column) else None
    if pa.types.is_large_binary(attribute.values.type):
        words = [v.decode("utf-8", "replace").strip() for v in attribute.values.drop_null()[:1000].to_pylist()]
        for pattern, kind in ((EMAIL, "e-mail addresses"), (PHONE, "phone numbers")):
            if words and sum(bool(pattern.fullmatch(word)) for word in words) > PERSONAL_SHARE * len(words):
                what = f"its values look like {kind}"
    if what:
        yield Finding("warning", attribute.column, what, "list it under personal_data with action drop or hash")
