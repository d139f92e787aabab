"""Ingest of journeys against a row-by-row reference, on random tables."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.example import example_pb2

from modules.dataset import SPLITS
from modules.ingest.hashing import hash64
from modules.journeys import names
from tests.modules.journeys.journey_runs import (
    LEAD_FEATURES,
    all_examples,
    decoded,
    ingest,
    journey_dataset,
    records,
    write_table,
)

DAY = 86_400
START = 1_700_000_000
WORDS = st.sampled_from([None, "x", "yy", "z é"])
NUMBERS = st.sampled_from([None, -1, 0, 2.5, 3])
EVENTS = st.lists(
    st.fixed_dictionaries({
        "lead": st.sampled_from(["a", "b", "lead c", "d"]),
        "time": st.integers(0, 12),
        "action": st.sampled_from(["call", "email", "won"]),
        "reply": WORDS,
        "minutes": NUMBERS,
        "budget": NUMBERS,
        "source": WORDS,
        "converted": st.sampled_from(["1", "0", None, "perhaps"]),
        "p": st.sampled_from([None, 0.5, 0.25]),
    }),
    min_size=1, max_size=25,
)  # fmt: skip
LEADS = st.dictionaries(
    st.sampled_from(["a", "b", "lead c", "e"]),
    st.fixed_dictionaries({
        "created": st.none() | st.integers(-3, 2), "budget": NUMBERS, "source": WORDS,
        "converted": st.sampled_from(["1", "0", None, "perhaps"]),
    }),
    min_size=1,
)  # fmt: skip


def moment(tenths: int | None) -> str | None:
    """Times a tenth of a second apart, so that most fall into the same second as others."""
    if tenths is None:
        return None
    at = np.datetime64(START, "s") + np.timedelta64(tenths * 100, "ms")
    return str(at.astype("datetime64[ms]")) + "Z"


def write(folder: Path, events: list[dict], leads: dict[str, dict] | None) -> dict:
    """Writes the tables; returns what the dataset says about them."""
    columns = ["lead", "time", "action", "reply", "minutes", "p"]
    columns += [] if leads is not None else ["budget", "source", "converted"]
    rows = [{name: row[name] for name in columns} | {"time": moment(row["time"])} for row in events]
    write_table(folder / "events.csv", rows, columns)
    if leads is None:
        return {}
    rows = [{"key": key, **row, "created": moment(row["created"])} for key, row in leads.items()]
    table = write_table(folder / "leads.csv", rows, ["key", "created", "budget", "source", "converted"])
    return {"leads": {"files": [str(table)], "id": "key", "created": "created"}}


def word(value: str | None) -> list[bytes]:
    return [] if value is None else [value.encode()]


def seconds(tenths: int) -> int:
    return START + tenths // 10


def reference(events, leads, length, fewest, outcome, as_of, split) -> dict:
    """(lead, history_length) -> (split, features), one row after the other; training_positions left out."""
    journeys: dict[str, list[dict]] = {}
    for number, event in enumerate(events):
        journeys.setdefault(event["lead"], []).append({**event, "row": number})
    begins = {}
    for lead, journey in journeys.items():
        first_row = journey[0]["row"]
        journey.sort(key=lambda event: event["time"])
        created = (leads or {}).get(lead, {}).get("created")
        begins[lead] = (journey[0]["time"] if created is None else created, first_row)
    part = {lead: which_split(lead, begins, split) for lead in journeys}
    found = {}
    for lead, journey in journeys.items():
        row = (leads or {}).get(lead)
        created = row["created"] if row is not None else None
        for j in range(fewest, len(journey)):
            window = journey[max(0, j - length) : j]
            known = row if leads is not None else (journey[j - 1] if j else None)
            example = {
                "lead": word(lead),
                "history_action": [e["action"].encode() for e in window],
                "history_time": [seconds(e["time"]) for e in window],
                "history_reply": [(e["reply"] or "").encode() for e in window],
                "history_minutes": [math.nan if e["minutes"] in (None, -1) else e["minutes"] for e in window],
                "history_length": [j],
                "next_action": word(journey[j]["action"]),
                "decision_time": [seconds(journey[j]["time"])],
                "stage": word([name for least, name in names.STAGES if j >= least][-1]),
                "propensity": [] if journey[j]["p"] is None else [journey[j]["p"]],
                "journey_start": [] if not j and created is None else [seconds(begins[lead][0])],
                "budget": [] if known is None or known["budget"] is None else [known["budget"]],
                "source": [] if known is None else word(known["source"]),
                "outcome": [],
            }
            said = None
            if outcome == "action":
                said = "1" if any(e["action"] == "won" for e in journey) else "0"
            elif leads is not None:
                said = row["converted"] if row else None
            else:
                said = next((e["converted"] for e in reversed(journey) if e["converted"] in ("0", "1")), None)
            if said in ("0", "1") and seconds(begins[lead][0]) + DAY <= as_of:
                example["outcome"] = [int(said)]
            found[word(lead)[0], j] = (part[lead], example)
    return found


def which_split(lead, begins, split) -> str:
    test, calibration, validation = split["test"], split["calibration"], 0.25
    order = sorted(begins, key=lambda who: begins[who] if split["method"] == "time" else begins[who][1])
    rank, n = order.index(lead), len(order)
    rest = (1 - test - calibration) * validation
    place = int(hash64(pa.array([lead.encode()], pa.large_binary()), 0)[0]) / 2**64
    if split["method"] == "hash":
        shares = [test, calibration, rest]
    elif rank >= math.floor(n * (1 - test) + 1e-9):
        return "test"
    elif split["inner"] == "same":
        if rank >= math.floor(n * (1 - test - calibration) + 1e-9):
            return "calibration"
        return "validation" if rank >= math.floor(n * (1 - test - calibration - rest) + 1e-9) else "train"
    else:
        shares = [0, calibration / (1 - test), rest / (1 - test)]
    for name, limit in zip(("test", "calibration", "validation"), np.cumsum(shares), strict=True):
        if place < limit:
            return name
    return "train"


@settings(max_examples=60, deadline=None)
@given(
    EVENTS,
    st.none() | LEADS,
    st.integers(1, 5),
    st.integers(0, 2),
    st.sampled_from(["action", "column"]),
    st.sampled_from([0, DAY, DAY + 1, 2 * DAY]),
    st.sampled_from(["hash", "time", "order"]),
    st.sampled_from(["hash", "same"]),
    st.integers(1, 3),
)
def test_examples_are_those_of_the_reference(events, leads, length, fewest, outcome, age, method, inner, partitions):
    split = {"method": method, "inner": inner, "test": 0.3, "calibration": 0.2}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        changes = write(folder, events, leads)
        said = {"action": "won"} if outcome == "action" else {"column": "converted"}
        dataset = journey_dataset(
            folder / "events.csv",
            event_table={"propensity": "p"}, features=LEAD_FEATURES, history={"length": length, "min": fewest},
            outcome={**said, "maturity_days": 1}, split=split, as_of=moment(age * 10), **changes,
        )  # fmt: skip
        # LEAD_FEATURES have no spelling of missing; the event feature's is -1.
        expected = reference(events, leads, length, fewest, outcome, START + age, split)
        if not any(part == "train" for part, _ in expected.values()):
            return
        report = ingest(dataset, folder / "out", partitions)
        found = all_examples(folder / "out")
    assert set(found) == set(expected)
    stood_for: dict[bytes, int] = {}
    for key, (part, example) in found.items():
        positions = example.pop("training_positions")[0]
        stood_for[key[0]] = stood_for.get(key[0], 0) + positions
        wanted = expected[key][1]
        absent = {name for name, values in wanted.items() if not values and not name.startswith("history")}
        assert part == expected[key][0]
        assert set(example) == set(wanted) - absent
        for name, values in example.items():
            np.testing.assert_array_equal(values, wanted[name], name)
    decisions = {lead: sum(key[0] == lead for key in expected) for lead, _ in expected}
    assert stood_for == decisions
    assert {name: count.rows for name, count in report.splits.items()} == {
        name: sum(part == name for part, _ in expected.values()) for name in SPLITS
    }
    journeys = {event["lead"] for event in events}
    assert report.journeys == len(journeys)
    if leads is not None:
        assert report.events_without_lead == sum(event["lead"] not in leads for event in events)
        assert report.leads_without_events == len(set(leads) - journeys)


def inputs(root: Path, lead: bytes, earlier: int) -> list[bytes]:
    """The serialized example of a decision without what is not an input."""
    found = []
    for split in SPLITS:
        for record in records(root, split):
            example = decoded(record)
            if example["lead"] == [lead] and example["history_length"] == [earlier]:
                message = example_pb2.Example.FromString(record)
                for name in names.NOT_INPUTS:
                    message.features.feature.pop(name, None)
                found.append(message.SerializeToString(deterministic=True))
    return found


@settings(max_examples=30, deadline=None)
@given(st.data(), EVENTS, st.none() | LEADS, st.integers(1, 4))
def test_nothing_of_a_decision_or_after_it_reaches_its_inputs(data, events, leads, length):
    """The decision's event gets other contents and a later time; the ones after it go, change, or are joined."""
    lead = data.draw(st.sampled_from(sorted({e["lead"] for e in events})))
    rows = [i for i, e in enumerate(events) if e["lead"] == lead]
    order = sorted(rows, key=lambda i: events[i]["time"])
    earlier = data.draw(st.integers(0, len(order) - 1))
    moved = dict(data.draw(EVENTS)[0], lead=lead)
    latest = max(e["time"] for e in events)
    changed = [e for i, e in enumerate(events) if i not in order[earlier:]]
    changed.append({**moved, "time": latest + data.draw(st.integers(0, 50))})
    after = [dict(e, lead=lead, time=latest + 100) for e in data.draw(st.just([]) | EVENTS)]
    with tempfile.TemporaryDirectory() as temporary:
        found = []
        for name, table in (("before", events), ("after", changed + after)):
            folder = Path(temporary) / name
            changes = write(folder, table, leads)
            dataset = journey_dataset(
                folder / "events.csv",
                features=LEAD_FEATURES, event_table={"propensity": "p"}, history={"length": length},
                outcome={"action": "won"}, split={"method": "hash", "test": 0, "calibration": 0}, **changes,
            )  # fmt: skip
            ingest(dataset, folder / "out", validation_split=0)
            found.append(inputs(folder / "out", lead.encode(), earlier))
    assert len(found[0]) == 1
    assert found[0] == found[1]
