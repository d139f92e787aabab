"""Small tables of journeys as files, their decisions as tf.Examples, and TFDV's statistics of those."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tensorflow_metadata.proto.v0 import statistics_pb2

from modules.ingest.wire import framed_examples
from modules.journeys.dataset import JourneyDataset
from modules.journeys.sample import Sample, read_sample
from modules.journeys.tables import resolve
from modules.statistics import accumulate_file, merged_statistics

START = dt.datetime(2025, 1, 1)
ACTIONS = ("call", "email", "visit")


def dataset(folder: Path, **changed: Any) -> JourneyDataset:
    """Events with the attributes answer (a word) and minutes (a number), and leads with a city."""
    values: dict[str, Any] = {
        "name": "toy",
        "events": {
            "files": [str(folder / "events.csv")],
            "lead": "lead",
            "time": "time",
            "action": "action",
            "features": [
                {"name": "answer", "kind": "categorical", "max_missing": 0.5},
                {"name": "minutes", "kind": "numeric", "min": 0, "max": 100, "max_missing": 0.5},
            ],
        },
        "leads": {"files": [str(folder / "leads.csv")], "id": "lead", "created": "created"},
        "features": [{"name": "city", "kind": "categorical", "max_missing": 0.1}],
        "outcome": {"column": "won"},
        "history": {"length": 4},
    }
    return JourneyDataset.model_validate(values | changed)


def tables(seed: int = 0, leads: int = 1000) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events and leads: 1 to 8 events each, a day apart, from the day of creation on."""
    r = np.random.default_rng(seed)
    count = r.integers(1, 9, leads)
    lead = np.repeat(np.arange(leads), count)
    place = np.arange(len(lead)) - np.repeat(np.cumsum(count) - count, count)
    minutes = r.uniform(0, 60, len(lead)).round(1).astype(str)
    events = pd.DataFrame(
        {
            "lead": [f"lead-{n}" for n in lead],
            "time": [(START + dt.timedelta(hours=h)).isoformat() for h in (lead + 24 * (place + 1)).tolist()],
            "action": r.choice(ACTIONS, len(lead), p=[0.5, 0.3, 0.2]),
            "answer": r.choice(["yes", "no", ""], len(lead), p=[0.4, 0.4, 0.2]),
            "minutes": np.where(r.random(len(lead)) < 0.8, minutes, ""),
        }
    )
    people = pd.DataFrame(
        {
            "lead": [f"lead-{n}" for n in range(leads)],
            "created": [(START + dt.timedelta(hours=n)).isoformat() for n in range(leads)],
            "city": r.choice(["Rome", "Oslo"], leads),
            "won": r.integers(0, 2, leads),
        }
    )
    return events, people


def write(folder: Path, events: pd.DataFrame, leads: pd.DataFrame | None = None) -> None:
    events.to_csv(folder / "events.csv", index=False)
    if leads is not None:
        leads.to_csv(folder / "leads.csv", index=False)


def read(data: JourneyDataset) -> Sample:
    sample = read_sample(data, resolve(data), 10**6)
    assert sample is not None
    return sample


def statistics(data: JourneyDataset) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Of all decisions, by way of a file of examples, as the pipeline does it."""
    whole = read(data).partition
    path = Path(data.events.files[0]).with_suffix(".tfrecord")
    path.write_bytes(framed_examples(whole.batch(whole.decisions))[0])
    return merged_statistics([accumulate_file(str(path))])
