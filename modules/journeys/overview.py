"""A dataset of journeys on half a screen: how many, how long, split how, which actions, how many converted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modules.dataset import SPLITS
from modules.ingest.split import TEST, TRAIN, VALIDATION
from modules.journeys.dataset import JourneyDataset
from modules.journeys.examples import journey_begin
from modules.journeys.read import ACTION, BY_HASH, MICROS
from modules.journeys.sample import VALIDATION_SPLIT, Sample
from modules.journeys.splits import assign, make_plan

QUANTILES = (0.5, 0.9, 0.99)
SHOWN_ACTIONS = 5


def lines(dataset: JourneyDataset, sample: Sample) -> Iterator[str]:
    """The journeys in numbers, one line each for events, leads, journeys, decisions, split, outcome and actions."""
    whole = sample.partition
    count, micros = whole.journeys.count, whole.events[MICROS].to_numpy()
    part = "" if sample.events.whole else "the first "
    days = " to ".join(str(np.datetime64(int(m), "us").astype("datetime64[D]")) for m in (micros.min(), micros.max()))
    yield f"events      {part}{len(micros):,} of {plural(len(count), 'lead')}, {days}"
    if sample.leads is not None:
        part = "" if sample.leads.whole else "the first "
        empty = f", {whole.leads.unused:,} of them without an event" if whole.leads and sample.whole else ""
        yield f"leads       {part}{sample.leads.table.num_rows:,}{empty}"
    low, *middle, high = np.quantile(count, (0, *QUANTILES, 1), method="inverted_cdf").tolist()
    shares = ", ".join(f"{100 * q:g} % {m}" for q, m in zip(QUANTILES, middle, strict=True))
    yield f"journeys    {low} to {high} events; at most: {shares}"
    earlier = whole.decisions.earlier
    cut = (
        f"; {percent(cut_share(sample))} of histories are cut at {dataset.history.length}" if cut_share(sample) else ""
    )
    after = f" with {dataset.history.min} or more events before them" if dataset.history.min else ""
    yield f"decisions   {len(earlier):,}{after}{cut}"
    if sample.whole:
        yield f"split       {_parts(dataset, sample)}"
    if whole.outcome is not None:
        known = whole.outcome.drop_null()
        young = int(whole.immature.sum())
        rate = f"{percent(pc.mean(known).as_py() or 0.0)} of {plural(len(known), 'journey')} converted"
        yield f"outcome     {rate}" + (f"; {young:,} too young to tell" if young else "")
    actions = counted(whole.events[ACTION])
    shown = ", ".join(f"{word} {n:,}" for word, n in actions[:SHOWN_ACTIONS])
    more = f", and {len(actions) - SHOWN_ACTIONS} more" if len(actions) > SHOWN_ACTIONS else ""
    yield f"actions     {len(actions)}: {shown}{more}"


def decisions_by_split(dataset: JourneyDataset, sample: Sample) -> dict[str, int]:
    """Decisions of each split, were the sample all there is; validation counts as train (the model file parts them)."""
    rows = np.bincount(_split(dataset, sample)[sample.partition.decisions.journey], minlength=len(SPLITS))
    return {name: int(rows[i]) for i, name in enumerate(SPLITS) if i != VALIDATION}


def _split(dataset: JourneyDataset, sample: Sample) -> np.ndarray:
    """Split of each journey: index into SPLITS."""
    whole = sample.partition
    journeys = whole.journeys
    begin = journey_begin(whole.events[MICROS].to_numpy()[journeys.begin], whole.created)
    plan = make_plan(dataset, VALIDATION_SPLIT, None, begin, journeys.first)
    by_hash = whole.events[BY_HASH].to_numpy()[journeys.begin]
    split = assign(dataset, plan, by_hash, begin, journeys.first)
    return np.where(split == VALIDATION, TRAIN, split)


def _parts(dataset: JourneyDataset, sample: Sample) -> str:
    counts = decisions_by_split(dataset, sample)
    text = ", ".join(f"{'train and validation' if n == 'train' else n} {rows:,}" for n, rows in counts.items())
    tested = _split(dataset, sample) == TEST
    if sample.partition.outcome is not None and tested.any():
        young = float(sample.partition.immature[tested].mean())
        text += f"; the outcome is known for {percent(1 - young)} of the test journeys" if young else ""
    return text


def counted(words: pa.Array) -> list[tuple[str, int]]:
    """Words by falling frequency, then by name."""
    found = pc.value_counts(words).to_pylist()
    pairs = [(item["values"].decode("utf-8", "replace"), item["counts"]) for item in found]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def cut_share(sample: Sample) -> float:
    """Share of decisions with more events before them than the history shows, 0-1."""
    decisions = sample.partition.decisions
    return float((decisions.earlier > decisions.window).mean()) if len(decisions) else 0.0


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
