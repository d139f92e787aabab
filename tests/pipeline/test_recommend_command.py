"""`aiqleads recommend` against a real server and a model whose answers a person can check."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from pipeline.cli import main
from serving.client import Client
from tests.pipeline.command import aiqleads
from tests.serving import journey_model
from tests.serving.client_models import lead_model
from tests.serving.journey_model import ACTIONS, priority, probabilities
from tests.serving.running import Running, serve

DATASET = """
name: mine
events:
  files: [nowhere.csv]
  lead: lead_id
  time: at
  action: what
  features:
    - {name: response, kind: categorical, missing_values: [none]}
    - {name: amount, kind: numeric}
leads: {files: [nowhere.csv], id: lead_id, created: created_at}
features:
  - {name: age, kind: numeric}
  - {name: state, kind: categorical}
outcome: {column: converted}
history: {length: 6}
"""
EVENTS = """lead_id,at,what,response,amount,agent
b,2026-03-01 09:00:00,email,opened,1,Ann
a,2026-03-02 10:00:00,call,declined,2.5,Bob
b,2026-03-03 09:00:00,wait,none,,Ann
a,2026-03-01 10:00:00,email,,,Bob
"""
LEADS = """lead_id,created_at,age,state,converted
c,2026-03-04,,NY,0
b,2026-02-27T12:00:00,50,CA,1
"""
EXPECTED = {
    "b": (probabilities(["email", "wait"]), {"age": 50, "state": "CA", "amounts": [1], "length": 2, "days": 4}),
    "a": (probabilities(["email", "call"]), {"amounts": [2.5], "declined": True, "length": 2, "days": 1}),
    "c": (probabilities(), {"state": "NY"}),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    journey_model.save(folder / "recommendation-mine" / "5")
    lead_model(folder / "lead-scoring", 1)
    with serve(f"--root={folder}", "--enable_batching") as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in (("mine.yaml", DATASET), ("events.csv", EVENTS), ("leads.csv", LEADS)):
        (tmp_path / name).write_text(text)
    return tmp_path


@dataclass(frozen=True)
class Recommended:
    """A finished command, its two outputs apart."""

    code: int
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.stdout)))


def recommend(server: Running, files: Path, *arguments: str, events: str = "events.csv", text: str = "") -> Recommended:
    out, err, before = io.StringIO(newline=""), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    source = events if events == "-" else str(files / events)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(
                [
                    "recommend",
                    source,
                    "--dataset",
                    str(files / "mine.yaml"),
                    "--server",
                    server.grpc_address,
                    *arguments,
                ]
            )
    finally:
        sys.stdin = before
    return Recommended(code, out.getvalue(), err.getvalue())


def check(row: dict[str, str], shares: dict[str, float], known: dict) -> None:
    """A row of the CSV output says what the model's formulas say."""
    ranked = sorted(shares, key=lambda a: (-shares[a], ACTIONS.index(a)))
    columns = [("next_best_action", "probability", "priority")]
    columns += [(f"action_{i}", f"probability_{i}", f"priority_{i}") for i in (2, 3)]
    assert [row[name] for name, _, _ in columns] == ranked
    assert [float(row[p]) for _, p, _ in columns] == pytest.approx([shares[a] for a in ranked], rel=1e-6)
    assert [float(row[p]) for _, _, p in columns] == pytest.approx([priority(a, **known) for a in ranked], rel=1e-5)


def test_every_lead_gets_its_next_best_action_from_its_whole_history(server: Running, files: Path) -> None:
    done = recommend(server, files, "--leads", str(files / "leads.csv"))
    assert done.code == 0, done.stderr
    assert [(row["lead_id"], row["events"], row["version"]) for row in done.rows] == [
        ("b", "2", "5"), ("a", "2", "5"), ("c", "0", "5"),
    ]  # fmt: skip
    for row in done.rows:
        check(row, *EXPECTED[row["lead_id"]])
    assert "1 lead without a row in the table of leads: features taken as missing\n" in done.stderr
    assert "3 leads with 4 events answered by recommendation-mine version 5 in " in done.stderr


def test_without_a_table_of_leads_their_features_are_missing_and_said(server: Running, files: Path) -> None:
    done = recommend(server, files)
    assert [row["lead_id"] for row in done.rows] == ["b", "a"]
    check(done.rows[0], probabilities(["email", "wait"]), {"amounts": [1], "length": 2, "days": 2})
    assert "features not in the input, taken as missing: age, state\n" in done.stderr


@pytest.mark.parametrize("name", ["e.csv.gz", "e.jsonl", "e.ndjson.gz", "e.parquet", "-csv", "-jsonl"])
def test_all_formats_give_the_same_answers(server: Running, files: Path, name: str) -> None:
    expected = recommend(server, files).stdout
    rows = list(csv.DictReader(io.StringIO(EVENTS)))
    lines = "".join(
        json.dumps({k: float(v) if k == "amount" else v for k, v in row.items() if v not in ("", "none")}) + "\n"
        for row in rows
    )
    text = lines if "json" in name or "nd" in name else EVENTS
    if name.startswith("-"):
        done = recommend(server, files, events="-", text=text)
    else:
        if name.endswith(".parquet"):
            table = pa.csv.read_csv(
                io.BytesIO(EVENTS.encode()), convert_options=pa.csv.ConvertOptions(null_values=["", "none"])
            )
            pa.parquet.write_table(table, files / name)
        else:
            (files / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        done = recommend(server, files, events=name)
    assert done.code == 0, done.stderr
    assert done.stdout == expected


def test_texts_that_look_like_moments_stay_texts_in_json_lines(server: Running, files: Path) -> None:
    (files / "e.jsonl").write_text('{"lead_id": "2026-03-01", "at": "2026-03-01T10:00:00", "what": "call"}\n')
    done = recommend(server, files, events="e.jsonl")
    assert done.code == 0, done.stderr
    assert [row["lead_id"] for row in done.rows] == ["2026-03-01"]


def test_json_lines_hold_the_ranking_as_a_list(server: Running, files: Path) -> None:
    done = recommend(server, files, "--format", "jsonl", "--top", "2")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["lead_id"] for row in rows] == ["b", "a"]
    assert list(rows[1]) == ["lead_id", "events", "next_best_action", "actions", "version"]
    assert [a["action"] for a in rows[1]["actions"]] == ["call", "email"]
    assert rows[1]["actions"][0]["probability"] == pytest.approx(2 / 5, rel=1e-6)


def test_a_table_is_for_people(server: Running, files: Path) -> None:
    done = recommend(server, files, "--format", "table", "--leads", str(files / "leads.csv"), "--top", "2")
    head, first, *_ = done.stdout.splitlines()
    assert head.split() == ["lead_id", "events", "next", "best", "action", "likelihood", "priority", "then"]
    known = EXPECTED["b"][1]
    assert first.split() == ["b", "2", "email", "40.0%", f"{priority('email', **known):.1f}",
                             "wait", "40.0%", "/", f"{priority('wait', **known):.1f}"]  # fmt: skip


def test_single_leads_are_picked_by_id(server: Running, files: Path) -> None:
    leads = ("--leads", str(files / "leads.csv"))
    done = recommend(server, files, "--lead", "c", "--lead", "b", *leads)
    assert [row["lead_id"] for row in done.rows] == ["b", "c"]
    for row in done.rows:
        check(row, *EXPECTED[row["lead_id"]])
    done = recommend(server, files, "--lead", "x", "--lead", "y")
    assert done.code == 4 and "no lead 'x' (--lead)" in done.stderr and "and 1 more" in done.stderr


def test_histories_end_before_a_moment_in_the_past(server: Running, files: Path) -> None:
    leads = ("--leads", str(files / "leads.csv"))
    done = recommend(server, files, "--at", "2026-03-02T10:00:00Z", *leads)
    assert [(row["lead_id"], row["events"]) for row in done.rows] == [("b", "1"), ("a", "1")], "c came in later"
    check(done.rows[1], probabilities(["email"]), {"length": 1})
    done = recommend(server, files, "--at", "2026-02-28", *leads)
    assert [(row["lead_id"], row["events"]) for row in done.rows] == [("b", "0")]
    check(done.rows[0], probabilities(), {"age": 50, "state": "CA"})
    done = recommend(server, files, "--at", "2026-02-01", *leads)
    assert (done.code, done.rows) == (0, []) and done.stderr.endswith("no leads to ask about\n")
    done = recommend(server, files, "--at", "2026-02-28", "--lead", "a", *leads)
    assert done.code == 4 and "no lead 'a' before 2026-02-28 00:00:00+00:00 (--lead)" in done.stderr


def test_only_allowed_actions_come_back(server: Running, files: Path) -> None:
    done = recommend(
        server, files, "--allow", "wait", "--allow", "call", "--allow", "fax", "--leads", str(files / "leads.csv")
    )
    assert {row["action_2"] for row in done.rows} <= {"wait", "call"} and {row["action_3"] for row in done.rows} == {""}
    assert [row["next_best_action"] for row in done.rows] == ["wait", "call", "call"]
    assert float(done.rows[0]["probability"]) == pytest.approx(2 / 3, rel=1e-6)
    none = recommend(server, files, "--allow", "fax", "--format", "table")
    assert none.code == 0 and none.stdout.count("- (none is allowed)") == 2
    line = recommend(server, files, "--allow", "fax", "--format", "jsonl").stdout.splitlines()[0]
    assert json.loads(line) == {"lead_id": "b", "events": 2, "next_best_action": None, "actions": [], "version": 5}


def test_histories_longer_than_the_window_say_their_full_length(server: Running, files: Path) -> None:
    rows = "".join(f"a,2026-03-01 09:{i:02d}:00,{'call' if i < 20 else 'wait'},,{i},x\n" for i in range(23))
    (files / "events.csv").write_text(EVENTS.splitlines()[0] + "\n" + rows)
    (row,) = recommend(server, files).rows
    assert row["events"] == "23"
    check(row, probabilities(["call", "wait", "wait", "wait"]), {"amounts": [19, 20, 21, 22], "length": 23})


def test_the_command_and_the_client_give_the_same_answers(server: Running, files: Path) -> None:
    rows = recommend(server, files, "--leads", str(files / "leads.csv"), "--batch", "2").rows
    history = [
        {"action": "call", "time": "2026-03-02 10:00:00", "response": "declined", "amount": 2.5},
        {"action": "email", "time": "2026-03-01 10:00:00"},
    ]
    with Client(server.grpc_address, model="recommendation-mine", timeout=30) as client:
        (answer,) = client.recommend([{"history": history}])
    assert [a.action for a in answer.actions] == [rows[1][n] for n in ("next_best_action", "action_2", "action_3")]
    assert [a.priority for a in answer.actions] == pytest.approx(
        [float(rows[1][n]) for n in ("priority", "priority_2", "priority_3")], rel=1e-6
    )


def test_the_output_file_decides_the_format(server: Running, files: Path) -> None:
    output = files / "answers.jsonl"
    done = recommend(server, files, "--output", str(output))
    assert done.code == 0 and done.stdout == ""
    assert [json.loads(line)["lead_id"] for line in output.read_text().splitlines()] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lead_id,at,what\na,soon,call\n", "line 2: at is 'soon', expected a date like 2024-01-31"),
        ("lead_id,at,what\na,2026-01-01,\n", "line 2: what is nothing, expected an action"),
        ("lead_id,at,what\n,2026-01-01,call\n", "line 2: lead_id is nothing, expected an id"),
        ("lead_id,at,what,amount\na,2026-01-01,call,much\n", "line 2: amount is 'much', expected a number"),
        ("lead_id,when,what\na,2026-01-01,call\n", "time column 'at' is missing"),
        ('{"lead_id": "a", "at": "2026-01-01", "what": "call"}\n{"lead_id": \n', "not JSON lines"),
        ('{"lead_id": "a", "at": "2026-01-01", "what": ["call"]}\n', "what: expected single values, received list"),
        ("", "is empty"),
    ],
)
def test_bad_input_is_named_and_ends_with_4(server: Running, files: Path, text: str, message: str) -> None:
    (files / "events.csv").write_text(text)
    done = recommend(server, files)
    assert done.code == 4 and message in done.stderr, done.stderr
    assert done.stdout == ""


def test_bad_rows_can_be_left_out(server: Running, files: Path) -> None:
    (files / "events.csv").write_text(EVENTS + "a,never,call,,,\n" * 12)
    assert recommend(server, files).code == 4
    done = recommend(server, files, "--skip-bad")
    assert done.code == 0 and [row["lead_id"] for row in done.rows] == ["b", "a"]
    assert "left out 12 bad rows\n" in done.stderr and "and 2 more" in done.stderr
    assert f"  {files / 'events.csv'}: line 6: at is 'never', " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--format", "xml"], 4, "--format: expected csv, jsonl or table; received 'xml'"),
        (["--at", "soon"], 4, "--at: expected a moment like 2026-03-01 or 2026-03-01T09:30:00Z; received 'soon'"),
        (["--model", "nothing"], 5, "Servable not found for request: Latest(nothing)"),
        (["--model", "lead-scoring"], 5, "lead-scoring reads no journeys; its features: age, state"),
        (["--server", "127.0.0.1:1"], 5, "start it with `aiqleads serve`"),
        (["--dataset", "bank_marketing"], 4, "a recommendation model needs a dataset of journeys"),
        (["--leads", "nowhere.csv"], 4, "nowhere.csv: No such file or directory"),
    ],
)
def test_options_that_cannot_be_used_are_named(
    server: Running, files: Path, arguments: list[str], code: int, message: str
) -> None:
    done = aiqleads(
        *("recommend", str(files / "events.csv"), "--dataset", str(files / "mine.yaml")),
        *("--server", server.grpc_address, *arguments),
    )
    assert done.code == code and message in done.output, done.output


def test_events_and_leads_cannot_both_be_standard_input() -> None:
    done = aiqleads("recommend", "-", "--leads", "-")
    assert done.code == 4 and "standard input can be the events or the leads, not both" in done.output


def test_ten_thousand_leads_take_seconds(server: Running, files: Path) -> None:
    rng = np.random.default_rng(1)
    rows = 100_000
    table = pa.table(
        {
            "lead_id": [f"L{i}" for i in rng.integers(0, 10_000, rows)],
            "at": pa.array(1_700_000_000 + rng.integers(0, 10_000_000, rows), pa.timestamp("s")),
            "what": np.array(ACTIONS)[rng.integers(0, 3, rows)],
            "response": np.array(["opened", "declined", "none"])[rng.integers(0, 3, rows)],
            "amount": rng.normal(size=rows),
        }
    )
    pa.csv.write_csv(table, files / "events.csv")
    begin = time.perf_counter()
    done = recommend(server, files, "--timeout", "60")
    assert time.perf_counter() - begin < 20
    assert done.code == 0 and len(done.rows) == len(table["lead_id"].unique())
