"""The dataset files of journeys: what they say is true of the files they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modules.configuration import load
from modules.dataset import Dataset
from modules.features import Kind
from modules.journeys.dataset import JourneyDataset
from modules.journeys.overview import decisions_by_split
from modules.journeys.sample import read_sample
from modules.journeys.tables import resolve
from modules.marketplace.columns import COLUMNS

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "datasets"


def dataset(name: str, **changed) -> JourneyDataset:
    return load(CONFIGS / f"{name}.yaml", JourneyDataset, changed)


def in_folder(name: str, folder: Path, **changed) -> JourneyDataset:
    file = dataset(name).events.files[0]
    return dataset(name, **{"events.files": [str(folder / Path(file).parent.name / Path(file).name)], **changed})


def counted(data: JourneyDataset) -> dict[str, int]:
    sample = read_sample(data, resolve(data), 10**9)
    assert sample is not None and sample.whole and not sample.events.bad
    return decisions_by_split(data, sample)


def decisions_of_the_newest_fifth(data: JourneyDataset, by_file: bool) -> int:
    """With pandas alone: decisions with at least one event before them, in the last fifth of the cases."""
    table = pd.read_csv(data.events.files[0], dtype=str, keep_default_na=False)
    table["time"] = pd.to_datetime(table[data.events.time], utc=True, format=data.events.time_format or "ISO8601")
    cases = table.groupby(data.events.lead, sort=False)["time"].agg(["min", "size"])
    ordered = cases if by_file else cases.sort_values("min", kind="stable")
    test = ordered.iloc[int(np.floor(len(cases) * 0.8 + 1e-9)) :]
    return int((test["size"] - 1).sum())


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [("bpi2012", "time", 45_205), ("helpdesk", "time", 3_495), ("helpdesk", "order", 3_325)],
)
def test_the_test_part_is_the_one_that_published_results_are_on(
    name: str, method: str, expected: int, shared_data: Path
) -> None:
    data = in_folder(name, shared_data, **{"split.method": method})
    assert counted(data)["test"] == expected == decisions_of_the_newest_fifth(data, method == "order")


@pytest.mark.parametrize(("name", "total"), [("bpi2012", 262_200 - 13_087), ("helpdesk", 21_348 - 4_580)])
def test_every_event_but_the_first_of_a_case_is_decided_on_once(name: str, total: int, shared_data: Path) -> None:
    assert sum(counted(in_folder(name, shared_data)).values()) == total


def test_attributes_of_a_ticket_are_features_and_those_that_change_are_event_features(shared_data: Path) -> None:
    data = in_folder("helpdesk", shared_data)
    table = pd.read_csv(data.events.files[0], dtype=str, keep_default_na=False)
    changes = table.groupby(data.events.lead).nunique().gt(1).sum()
    assert {f.source: int(changes[f.source]) for f in data.events.features} == {
        "Resource": 4577, "seriousness_2": 77, "service_level": 43,
    }  # fmt: skip
    assert max(int(changes[f.source]) for f in data.features) == 7


def test_what_bpi2012_leaves_out_says_nothing_new(shared_data: Path) -> None:
    data = in_folder("bpi2012", shared_data)
    table = pd.read_csv(data.events.files[0], dtype=str, keep_default_na=False)
    registered = pd.to_datetime(table["reg_date"], utc=True, format="ISO8601")
    times = pd.to_datetime(table[data.events.time], utc=True, format="ISO8601")
    first = times.groupby(table["case_id"]).transform("min")
    assert (registered - first).abs().max() < pd.Timedelta("100ms")
    approved = times[table["activity"] == "A_APPROVED"].groupby(table["case_id"]).min()
    days = (approved - times.groupby(table["case_id"]).min().reindex(approved.index)).dt.total_seconds() / 86_400
    assert (days <= data.outcome.maturity_days).mean() == pytest.approx(0.9, abs=0.02)


def test_the_marketplaces_journeys_have_the_features_of_its_leads_and_no_personal_data() -> None:
    data, leads = dataset("aiqleads_journeys"), load(CONFIGS / "aiqleads.yaml", Dataset, {})
    assert data.features == leads.features
    assert {p.column for p in data.personal_data} == {c.name for c in COLUMNS if c.kind == "personal"}
    assert all(p.action == "drop" for p in data.personal_data)
    assert any(f.kind is Kind.TEXT for f in data.features)
    assert data.outcome.maturity_days == leads.label_maturity_days == 90


def test_no_journey_of_the_marketplace_is_longer_than_its_history(marketplace: Path) -> None:
    events = pd.read_csv(marketplace / "events.csv", dtype=str, keep_default_na=False)
    data = dataset("aiqleads_journeys")
    assert events.groupby("lead_id").size().max() == data.history.length
    used = {data.events.lead, data.events.time, data.events.action, data.events.propensity}
    assert set(events.columns) == used | {f.source for f in data.events.features}
