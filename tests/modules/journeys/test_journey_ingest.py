"""What an ingest of journeys promises beside the examples themselves."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modules.dataset import SPLITS
from modules.errors import ConfigError, DataError
from modules.ingest import units
from modules.journeys import examples, spill, work
from modules.journeys.report import read_report
from tests.modules.journeys.journey_runs import (
    LEAD_FEATURES,
    all_examples,
    decoded,
    ingest,
    journey_dataset,
    quarantined,
    records,
    write_table,
)


def events(leads: int = 40) -> list[dict]:
    """Lead number i has i % 7 + 1 events, all leads interleaved, newest first."""
    rows = [
        {"lead": f"lead {i}", "time": f"2024-03-{1 + k:02d}T10:00:{i:02d}", "action": f"action {(i + k) % 3}",
         "reply": "" if k % 2 else "yes", "minutes": k + i / 4}
        for k in range(7) for i in range(leads) if k <= i % 7
    ]  # fmt: skip
    return rows[::-1]


def serialized(root: Path) -> dict[str, list[bytes]]:
    return {split: sorted(records(root, split)) for split in SPLITS}


@pytest.fixture
def small_steps(monkeypatch):
    """Blocks of 500 bytes, units of two, record batches of 20 rows, chunks of a few decisions."""
    plan, pieces = units.plan_units, units.pieces
    monkeypatch.setattr(units, "BLOCKS_PER_UNIT", 2)
    monkeypatch.setattr(work, "plan_units", lambda view, file, layout: plan(view, file, layout, 500))
    monkeypatch.setattr(work, "pieces", lambda view, unit: pieces(view, unit, 500, 7))
    monkeypatch.setattr(spill, "FLUSH_ROWS", 20)
    monkeypatch.setattr(examples, "CHUNK_CELLS", 50)


@pytest.mark.parametrize("split", [{"method": "time"}, {"method": "order", "inner": "same"}, {"method": "hash"}])
def test_files_blocks_partitions_and_threads_change_nothing(tmp_path, split, request):
    rows = events()
    path = write_table(tmp_path / "all.csv", rows)
    report = ingest(journey_dataset(path, split=split), tmp_path / "one")
    request.getfixturevalue("small_steps")
    files = [str(write_table(tmp_path / f"part {i}.csv", rows[i * 50 : i * 50 + 50])) for i in range(4)]
    again = ingest(journey_dataset(files, split=split), tmp_path / "many", partitions=3, threads=3)
    assert report.kept == len(rows) == 155
    assert serialized(tmp_path / "one") == serialized(tmp_path / "many")
    assert report.splits == again.splits
    assert report.thresholds == again.thresholds


def test_csv_gzip_and_parquet_make_the_same_examples(tmp_path):
    rows = events()
    plain = write_table(tmp_path / "t.csv", rows)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["time"] = pa.array(columns["time"]).cast(pa.timestamp("ns"))
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=30)
    found = []
    for i, (name, kind) in enumerate((("t.csv", "csv"), ("t.csv.gz", "csv"), ("t.parquet", "parquet"))):
        ingest(journey_dataset(tmp_path / name, event_table={"format": kind}), tmp_path / f"out-{i}")
        found.append(serialized(tmp_path / f"out-{i}"))
    assert found[0] == found[1] == found[2]


def test_the_same_input_makes_the_same_bytes(tmp_path):
    dataset = journey_dataset(write_table(tmp_path / "t.csv", events()))
    for name, threads in (("a", 1), ("b", 3)):
        ingest(dataset, tmp_path / name, partitions=2, threads=threads)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.gz"))
    assert [str(f) for f in files if "test" in str(f)] == [
        "Split-test/data_tfrecord-00000-of-00002.gz", "Split-test/data_tfrecord-00001-of-00002.gz"
    ]  # fmt: skip
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_all_decisions_of_a_lead_are_in_one_split(tmp_path):
    dataset = journey_dataset(write_table(tmp_path / "t.csv", events()), split={"method": "hash", "test": 0.4})
    ingest(dataset, tmp_path / "out", partitions=2)
    parts: dict[bytes, set[str]] = {}
    for (lead, _), (split, _) in all_examples(tmp_path / "out").items():
        parts.setdefault(lead, set()).add(split)
    assert len(parts) == 40
    assert all(len(of_lead) == 1 for of_lead in parts.values())
    assert set.union(*parts.values()) == set(SPLITS)


def test_the_first_four_fifths_of_the_journeys_are_not_test(tmp_path):
    rows = [{"lead": f"{i}", "time": 10 - i, "action": "call", "reply": "", "minutes": ""} for i in range(11)]
    changes = {"event_table": {"time_format": "%s"}, "split": {"method": "time", "test": 0.2, "calibration": 0}}
    report = ingest(journey_dataset(write_table(tmp_path / "t.csv", rows), **changes), tmp_path / "out")
    assert report.splits["test"].journeys == 3
    found = all_examples(tmp_path / "out")
    assert {lead for (lead, _), (split, _) in found.items() if split == "test"} == {b"0", b"1", b"2"}
    assert report.thresholds == {"test": "1970-01-01T00:00:08+00:00"}


def test_fractions_of_a_second_decide_the_order(tmp_path):
    rows = [
        {"lead": "a", "time": f"2012/10/09 14:50:17.{ms}", "action": action, "reply": "", "minutes": ""}
        for ms, action in (("900", "third"), ("000", "first"), ("450", "second"))
    ]
    changes = {"event_table": {"time_format": "%Y/%m/%d %H:%M:%S.%f"}, "split": {"test": 0, "calibration": 0}}
    path = write_table(tmp_path / "t.csv", rows)
    ingest(journey_dataset(path, **changes), tmp_path / "out", validation_split=0)
    last = all_examples(tmp_path / "out")[b"a", 2][1]
    assert last["history_action"] == [b"first", b"second"]
    assert last["next_action"] == [b"third"]
    assert last["decision_time"] == [1349794217]


def test_offsets_are_taken_into_account(tmp_path):
    rows = [
        {"lead": "a", "time": time, "action": action, "reply": "", "minutes": ""}
        for time, action in (("2011-10-30T02:10:00.5+01:00", "later"), ("2011-10-30T02:50:00.5+02:00", "earlier"))
    ]
    changes = {"split": {"test": 0, "calibration": 0}}
    ingest(journey_dataset(write_table(tmp_path / "t.csv", rows), **changes), tmp_path / "out", validation_split=0)
    assert all_examples(tmp_path / "out")[b"a", 1][1]["history_action"] == [b"earlier"]


BAD = [
    ("a,2024-01-02,call,yes", "wrong number of fields", "4 fields, expected 5"),
    ("a,2024-01-02,call,yes,soon", "not a number", "minutes is 'soon', expected a number"),
    ("a,yesterday,call,yes,1", "not a date", "time is 'yesterday', expected a date like"),
    ("a,,call,yes,1", "not a date", "time is nothing, expected a date like"),
    (",2024-01-02,call,yes,1", "no id", "lead is nothing, expected an id"),
    ("a,2024-01-02,,yes,1", "no action", "action is nothing, expected an action"),
    ('a,2024-01-02,"call,yes,1', "broken quoting", "a quoted field is not closed properly"),
    (b"a,2024-01-02,c\xff,yes,1", "not UTF-8", "byte 0xff is not UTF-8"),
]


def write_bad(path: Path, good: int = 20) -> Path:
    lines = [b"lead,time,action,reply,minutes"]
    lines += [f"lead {i},2024-01-{1 + i:02d},call,yes,1".encode() for i in range(good)]
    lines += [line if isinstance(line, bytes) else line.encode() for line, _, _ in BAD]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_bad_rows_are_quarantined_with_place_and_reason(tmp_path):
    path = write_bad(tmp_path / "t.csv")
    report = ingest(journey_dataset(path, max_bad_rows=0.5), tmp_path / "out")
    rows = quarantined(tmp_path / "out" / "quarantine.jsonl")
    assert [(row["line"], row["reason"]) for row in rows] == [(22 + i, reason) for i, (_, reason, _) in enumerate(BAD)]
    assert all(message in row["message"] for row, (_, _, message) in zip(rows, BAD, strict=True))
    assert {row["file"] for row in rows} == {str(path)}
    assert report.events == 28
    assert report.quarantined["not a date"] == 2
    assert report.quarantined_rows == 8
    assert report.kept == 20
    assert read_report(str(tmp_path / "out")) == report


def test_too_many_bad_rows_stop_the_run_and_are_kept_aside(tmp_path):
    dataset = journey_dataset(write_bad(tmp_path / "t.csv"), max_bad_rows=0.2)
    with pytest.raises(DataError, match=r"8 of 28 rows cannot be used \(28.57%\), more than max_bad_rows") as error:
        ingest(dataset, tmp_path / "out")
    assert error.value.exit_code == 4
    assert f"{dataset.events.files[0]}:23: minutes is 'soon', expected a number" in error.value.details
    assert len(quarantined(tmp_path / "out" / "bad" / "rows.jsonl")) == 8
    assert not (tmp_path / "out" / ".staging").exists()


def test_a_bad_lead_is_quarantined_and_its_events_lose_its_features(tmp_path):
    rows = [dict(row) for row in events(4)]
    table = [{"id": f"lead {i}", "created": "2024-01-01", "budget": 10 * i, "source": "web"} for i in range(4)]
    table[2]["budget"] = "much"
    table.append({"id": "lead 0", "created": "2024-02-02", "budget": 99, "source": "again"})
    leads = {"files": [str(write_table(tmp_path / "leads.csv", table))], "id": "id", "created": "created"}
    dataset = journey_dataset(
        write_table(tmp_path / "t.csv", rows), leads=leads, features=LEAD_FEATURES, max_bad_rows=0.5,
        split={"test": 0, "calibration": 0},
    )  # fmt: skip
    report = ingest(dataset, tmp_path / "out", validation_split=0)
    found = all_examples(tmp_path / "out")
    assert found[b"lead 1", 0][1]["budget"] == [10]
    assert found[b"lead 0", 0][1]["source"] == [b"web"]
    assert "budget" not in found[b"lead 2", 1][1]
    assert report.quarantined == {"not a number": 1}
    assert (report.leads, report.duplicate_leads, report.events_without_lead) == (5, 1, 3)


def test_personal_data_is_dropped_or_hashed(tmp_path, monkeypatch):
    monkeypatch.setenv("AIQLEADS_HASH_KEY", "0123456789abcdef0123456789abcdef")
    rows = [{**row, "lead": f"ann{i}@example.net"} for i, row in enumerate(events(4))]
    rows.append({**rows[0], "minutes": "soon"})
    mails = sorted({row["lead"] for row in rows})
    table = [{"mail": mail, "phone": f"+1-303-555-0{i:03d}", "budget": i, "source": "web"}
             for i, mail in enumerate(mails)]  # fmt: skip
    dataset = journey_dataset(
        write_table(tmp_path / "t.csv", rows), features=LEAD_FEATURES, max_bad_rows=0.5,
        leads={"files": [str(write_table(tmp_path / "leads.csv", table))], "id": "mail"},
        personal_data=[{"column": "lead", "action": "hash"}, {"column": "mail", "action": "hash"},
                       {"column": "phone", "action": "hash", "name": "phone_hash"}],
        split={"test": 0, "calibration": 0},
    )  # fmt: skip
    report = ingest(dataset, tmp_path / "out", validation_split=0)
    assert report.events_without_lead == 0
    written = b"".join(gzip.decompress(p.read_bytes()) for p in (tmp_path / "out").rglob("*.gz"))
    written += (tmp_path / "out" / "quarantine.jsonl").read_bytes()
    assert b"example.net" not in written
    assert b"555" not in written
    example = decoded(records(tmp_path / "out", "train")[0])
    assert len(example["lead"][0]) == len(example["phone_hash"][0]) == 32


def test_a_column_that_is_left_out_may_be_there_twice(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("lead,time,action,reply,minutes,v,v\na,2024-01-01,call,yes,1,x,y\n")
    left_out = [{"column": "v", "reason": "a leak"}]
    dataset = journey_dataset(path, leave_out=left_out, split={"test": 0, "calibration": 0})
    assert ingest(dataset, tmp_path / "out", validation_split=0).kept == 1


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"event_table": {"action": "acton"}}, DataError, "action column 'acton' is missing"),
        ({"event_table": {"lead": "who"}}, DataError, "lead column 'who' is missing"),
        ({"features": [{"name": "budget", "kind": "numeric"}]}, DataError, "feature 'budget' is missing"),
        ({"personal_data": [{"column": "lead"}]}, ConfigError, "the id 'lead' is personal data to be dropped"),
        ({"personal_data": [{"column": "action"}]}, ConfigError, "the action column 'action' is listed as personal"),
        ({"personal_data": [{"column": "x", "action": "hash", "name": "stage"}]}, ConfigError, "'stage' names two"),
    ],
)
def test_what_cannot_be_used_is_said_before_rows_are_read(tmp_path, changes, kind, message):
    path = write_table(tmp_path / "t.csv", events(3))
    with pytest.raises(kind, match=message):
        ingest(journey_dataset(path, **changes), tmp_path / "out")


def test_nothing_to_train_on_is_an_error(tmp_path):
    path = write_table(tmp_path / "t.csv", events(3))
    with pytest.raises(DataError, match="there is no decision to train on"):
        ingest(journey_dataset(path, history={"min": 50}), tmp_path / "out")
