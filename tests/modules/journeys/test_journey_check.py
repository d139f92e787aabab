"""`aiqleads data check` on journeys: what it counts, what it finds, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modules.configuration import load
from modules.ingest.check import Finding
from modules.journeys.check import check_journeys
from modules.journeys.dataset import JourneyDataset
from modules.journeys.suspects import MISSING, agreement, changes, codes, of_journeys, traces
from pipeline.check import check
from tests.modules.journeys import journey_tables as toy

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "datasets"
ANSWER = {"name": "answer", "kind": "categorical", "max_missing": 0.5}


@pytest.fixture
def found(tmp_path: Path):
    """Findings about the toy tables, changed by a function; by column."""

    def run(change=None, events: dict | None = None, **changed) -> dict[str | None, list[Finding]]:
        tables = toy.tables()
        if change is not None:
            change(*tables)
        toy.write(tmp_path, *tables)
        data = toy.dataset(tmp_path)
        values = data.model_dump() | changed
        values["events"] |= events or {}
        result: dict[str | None, list[Finding]] = {}
        for finding in check_journeys(JourneyDataset.model_validate(values), 10**6)[1]:
            result.setdefault(finding.column, []).append(finding)
        return result

    return run


def event_features(*more: dict) -> dict:
    return {"features": [ANSWER, *more]}


# --- nothing to say -------------------------------------------------------------------------------------------------


def test_journeys_that_fit_their_file_need_no_word(found) -> None:
    assert found() == {}


@pytest.mark.parametrize(("name", "expected"), [("bpi2012", ["activity"]), ("helpdesk", ["Activity", "Activity"])])
def test_honest_attributes_of_real_logs_raise_no_suspicion(name: str, expected: list[str], shared_data: Path) -> None:
    data = load(CONFIGS / f"{name}.yaml", JourneyDataset, {})
    file = Path(data.events.files[0])
    events = data.events.model_copy(update={"files": (str(shared_data / file.parent.name / file.name),)})
    _, findings = check_journeys(data.model_copy(update={"events": events}), 10**6)
    assert [f.column for f in findings] == expected
    assert all("fewer than 20 times" in f.message or "another one" in f.message for f in findings)


# --- the overview ---------------------------------------------------------------------------------------------------


def test_the_overview_counts_what_is_in_the_files(tmp_path: Path) -> None:
    events = pd.DataFrame(
        {
            "lead": ["a", "b", "a", "a", "c"],
            "time": ["2025-01-01", "2025-01-02", "2025-01-03", "2025-01-05", "2025-03-01"],
            "action": ["call", "call", "email", "call", "visit"],
            "answer": "yes",
            "minutes": "1",
        }
    )
    leads = pd.DataFrame(
        {"lead": list("abcd"), "created": ["2025-01-01"] * 2 + ["2025-03-01"] * 2, "city": "Oslo", "won": [1, 0, 0, 0]}
    )
    toy.write(tmp_path, events, leads)
    data = toy.dataset(
        tmp_path,
        outcome={"column": "won", "maturity_days": 30},
        history={"length": 1},
        split={"method": "time", "test": 0.4, "calibration": 0.0},
    )
    lines, _ = check_journeys(data, 1000)
    assert lines == [
        "events      5 of 3 leads, 2025-01-01 to 2025-03-01",
        "leads       4, 1 of them without an event",
        "journeys    1 to 3 events; at most: 50 % 1, 90 % 3, 99 % 3",
        # Of a's three decisions the last has two events before it, of which the history shows one.
        "decisions   5; 20.0 % of histories are cut at 1",
        # The last 40 % of three journeys, rounded up: b and c. c began on the last day, so it is too young.
        "split       train and validation 3, calibration 0, test 2; "
        "the outcome is known for 50.0 % of the test journeys",
        "outcome     50.0 % of 2 journeys converted; 1 too young to tell",
        "actions     3: call 3, email 1, visit 1",
    ]


def test_a_part_of_a_long_table_is_called_that(tmp_path: Path) -> None:
    toy.write(tmp_path, *toy.tables(leads=30_000))
    lines, _ = check_journeys(toy.dataset(tmp_path), 10_000)
    assert lines[0].startswith("events      the first ")
    assert not any(line.startswith("split") for line in lines)


# --- leaks ----------------------------------------------------------------------------------------------------------


def test_the_name_of_the_whole_trace_is_suspected_and_a_column_with_as_many_values_is_not(shared_data: Path) -> None:
    values = yaml.safe_load((CONFIGS / "helpdesk.yaml").read_text())
    values["events"]["files"] = [str(shared_data / "helpdesk" / "helpdesk.csv.gz")]
    values["leave_out"] = [c for c in values["leave_out"] if c["column"] == "seriousness"]
    values["features"].append({"name": "variant", "column": "Variant index", "kind": "categorical"})
    _, findings = check_journeys(JourneyDataset.model_validate(values), 10**6)
    (leak,) = [f for f in findings if "knows how a journey goes on" in f.message]
    assert leak.column == "Variant index"
    assert leak.message.startswith("100.0 % of the pairs of journeys with the same value have the same events (of")


def test_the_number_of_events_to_come_is_suspected(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        size = events.groupby("lead").size()
        leads["contacts"] = leads["lead"].map(size)

    features = [{"name": "contacts", "kind": "numeric"}, {"name": "city", "kind": "categorical"}]
    (leak,) = found(add, features=features)["contacts"]
    assert "have the same number of events (of all pairs 1" in leak.message and "leave_out" in leak.suggestion


def test_an_attribute_that_names_the_next_action_is_suspected_even_if_no_one_mentions_it(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        events["todo"] = events.groupby("lead")["action"].shift(-1).fillna("nothing").map(lambda a: f"do {a}")

    leak, ignored = found(add)["todo"]
    assert leak.message.startswith("100.0 % of the pairs of events with the same value are followed by the same action")
    assert "does not mention" in ignored.message


def test_a_feature_that_is_the_outcome_is_suspected(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        leads["paid"] = leads["won"] * 1000

    assert "AUC 1.0000" in found(add, features=[{"name": "paid", "kind": "numeric"}])["paid"][0].message


def test_an_identifier_is_suspected(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        leads["number"] = [f"N{i}" for i in range(len(leads))]

    assert "tells leads apart" in found(add, features=[{"name": "number", "kind": "categorical"}])["number"][0].message


# --- what belongs where ---------------------------------------------------------------------------------------------


def test_what_never_changes_within_a_journey_belongs_to_the_lead(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        events["region"] = np.where(events["lead"].str[-1].astype(int) < 5, "north", "south")

    (finding,) = found(add, events=event_features({"name": "region", "kind": "categorical"}))["region"]
    assert finding.message == "it changes within 0.0 % of the journeys"


def test_what_changes_all_the_time_belongs_to_the_event(found) -> None:
    changed = {"leads": None, "outcome": None, "features": [{"name": "minutes", "kind": "numeric"}]}
    (finding,) = found(events=event_features(), **changed)["minutes"]
    assert "only its last value" in finding.message


def test_columns_that_no_one_mentions_are_named(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        events["channel"] = np.random.default_rng(0).choice(["web", "phone"], len(events))
        leads["mail"] = [f"x{i}@example.net" for i in range(len(leads))]

    result = found(add)
    assert [f.message for f in result["channel"]] == ["the dataset does not mention this column; it is ignored"]
    assert [f.message for f in result["mail"]][-1] == "its values look like e-mail addresses"


# --- rows -----------------------------------------------------------------------------------------------------------


def test_events_of_unknown_leads_and_before_the_lead_came_in_are_counted(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        leads.loc[leads["lead"] == "lead-7", "lead"] = "lead-8"
        leads.loc[leads["lead"] == "lead-9", "created"] = "2026-01-01"

    result = found(add)
    twice, unknown = (f.message for f in result["lead"])
    assert twice == "1 row with the id of an earlier one"
    assert unknown.endswith(" of 1 lead that the table of leads does not have, e.g. 'lead-7'")
    assert result["created"][0].message == "1 of 1,000 journeys have events before the lead was created"


def test_an_event_that_stands_twice_is_counted(tmp_path: Path) -> None:
    events, leads = toy.tables()
    toy.write(tmp_path, pd.concat([events, events[:3]]), leads)
    _, (finding,) = check_journeys(toy.dataset(tmp_path), 10**6)
    assert finding.message == "3 events with the lead, time and action of another one"


def test_too_much_missing_rare_actions_and_propensities_are_warned_of(found) -> None:
    def add(events: pd.DataFrame, leads: pd.DataFrame) -> None:
        events.loc[5:8, "action"] = "fax"
        events["chance"] = 0.5
        events.loc[0, "chance"] = 1.5
        events.loc[events.index % 10 != 0, "answer"] = ""

    result = found(add, events={"propensity": "chance"})
    assert result["action"][0].message == "1 of 4 actions occur fewer than 20 times: fax"
    assert result["chance"][0].message.startswith("1 of ")
    assert "max_missing is 50.0 %" in result["answer"][0].message


def test_what_stops_a_run_is_an_error_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events, leads = toy.tables()
    events.loc[::2, "time"] = "tomorrow"
    toy.write(tmp_path, events, leads)
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(toy.dataset(tmp_path).model_dump(mode="json")))
    assert check(str(file), 1000, {}) == 4
    screen = capsys.readouterr().out
    assert "error  time: " in screen and "events.csv:2: time is 'tomorrow'" in screen and "time_format" in screen
    assert check(str(file), 1000, {"dataset.events.time": "tim"}) == 4
    assert "did you mean 'time'?" in capsys.readouterr().out


# --- the measure of suspicion ---------------------------------------------------------------------------------------


def test_agreement_of_pairs_by_hand() -> None:
    # Values x x x y: three pairs of x, of which one agrees; six pairs in all, of which two agree (0 0, 1 1).
    found = agreement(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert (found.share, found.chance, found.pairs) == (1 / 3, 2 / 6, 3)


def test_missing_values_make_no_pairs() -> None:
    assert agreement(np.array([MISSING, MISSING, 0, 0]), np.array([0, 1, 2, 2])).pairs == 1
    assert codes(pa.array([b"a", None, b"a"], pa.large_binary())).tolist() == [0, MISSING, 0]


def test_a_value_that_is_missing_at_times_does_not_change() -> None:
    value, begin = np.array([MISSING, 3, 3, 1, 2, MISSING, MISSING]), np.array([0, 3, 5])
    assert changes(value, begin).tolist() == [False, True, False]
    assert of_journeys(value, begin).tolist() == [3, MISSING, MISSING]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=30))
def test_journeys_have_the_same_trace_if_and_only_if_they_have_the_same_actions(journeys: list[list[int]]) -> None:
    count = np.array([len(j) for j in journeys])
    found = traces(np.concatenate(journeys).astype(np.int64), np.cumsum(count) - count, count)
    for i, a in enumerate(journeys):
        for j, b in enumerate(journeys):
            assert (found[i] == found[j]) == (a == b)
