"""`aiqleads score` against a real server."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modules.errors import DataError
from pipeline.cli import main
from pipeline.config import PROJECT
from serving.client import Client, Feature, Features
from serving.client.table import LeadTable, Reading
from tests.pipeline.command import aiqleads
from tests.serving.client_models import lead_model, probability
from tests.serving.running import Running, serve

HEADER = ["score", "probability", "probability_low", "probability_high", "confidence", "version"]
FEATURES = Features([Feature("age", 1), Feature("state", 7)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served") / "lead-scoring"
    lead_model(folder, 7)
    with serve("--model_name=lead-scoring", f"--model_base_path={folder}") as running:
        yield running


@dataclass(frozen=True)
class Scored:
    """A finished command, its two outputs apart."""

    returncode: int
    stdout: str
    stderr: str


def score(server: Running, *arguments: str, text: str = "") -> Scored:
    out, err, before = io.StringIO(newline=""), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["score", *arguments, "--server", server.grpc_address])
    finally:
        sys.stdin = before
    return Scored(code, out.getvalue(), err.getvalue())


def test_a_csv_file_becomes_a_csv_file_in_the_same_order(server: Running, tmp_path: Path) -> None:
    leads, scores = tmp_path / "leads.csv", tmp_path / "scores.csv"
    ages = [18 + i % 60 for i in range(2000)]
    with open(leads, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["lead_id", "state", "age", "converted"])
        writer.writerows([f"L{i}", "CA" if i % 2 else 'N"Y, or\nso', age, 0] for i, age in enumerate(ages))
    done = score(server, str(leads), "--output", str(scores), "--batch", "300")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "ignored, not a feature of the model: converted\n" in done.stderr
    assert "2,000 leads scored by lead-scoring version 7 in " in done.stderr
    header, *rows = csv.reader(scores.read_text().splitlines())
    assert header == ["lead_id", *HEADER]
    assert [row[0] for row in rows] == [f"L{i}" for i in range(2000)]
    expected = [probability(age, "CA" if i % 2 else "") for i, age in enumerate(ages)]
    assert [float(row[2]) for row in rows] == pytest.approx(expected, rel=1e-5)
    assert {row[6] for row in rows} == {"7"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_json_lines_go_through_standard_input_and_output(server: Running) -> None:
    text = '{"id": 1, "age": 50}\n\n{"id": "two", "age": null, "state": "CA", "note": "x"}\n'
    done = score(server, "-", "--format", "jsonl", text=text)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(row) for row in rows] == [["id", *HEADER]] * 2
    assert [row["id"] for row in rows] == [1, "two"]
    assert [row["probability"] for row in rows] == pytest.approx([probability(50), probability(state="CA")], rel=1e-6)
    assert "ignored, not a feature of the model: note" in done.stderr


def test_a_pipe_gets_csv_and_a_terminal_a_table(server: Running) -> None:
    command = [sys.executable, "-m", "pipeline.cli", "score", "-", "--server", server.grpc_address]
    piped = subprocess.run(command, input=b"age\n40\n", capture_output=True, cwd=PROJECT, check=True)
    assert piped.stdout.decode() == f"line,{','.join(HEADER)}\n2,50.0,0.5,0.45,0.55,0.9,7\n"
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            command, input=b"age,state\n40,\n", stdout=theirs, stderr=subprocess.DEVNULL, cwd=PROJECT, check=True
        )
        shown = os.read(ours, 4096).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown[0].split() == ["line", "score", "probability", "interval", "confidence"]
    assert shown[1].split() == ["2", "50.0", "50.0%", "45.0%", "to", "55.0%", "0.900"]


def test_features_that_no_column_has_are_missing_and_said(server: Running) -> None:
    done = score(server, "-", text="state\nCA\n")
    assert done.returncode == 0 and "features not in the input, taken as missing: age\n" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,state\n40,CA\nforty,NY\n", "leads: line 3: age: expected a number, received 'forty' (str)"),
        ("age\n1_000\n", "line 2: age: expected a number, received '1_000' (str)"),
        ("age\ninf\n", "line 2: age: expected a number, received inf (float), which is infinite"),
        ('age,state\n1,"a\nb"\n1,2,3\n', "line 4: expected 2 fields as the header has, received 3"),
        ('age,state\n1,"a\n', "leads: line 2: not CSV: unexpected end of data"),
        ('{"age": 1}\n{"age": "1"}\n', "line 2: age: expected a number, received '1' (str); write it without quotes"),
        ('{"age": 1}\n[1]\n', "line 2: expected a JSON object, received list"),
        ('{"age": 1}\n{"age": \n', "line 2: not JSON: Expecting value"),
        ("age,age\n1,2\n", "columns named twice: age"),
        ("name,email\na,b\n", "none of its columns is a feature of the model"),
        (b"age,state\n1,\xff\n", "leads: not UTF-8 text"),
        ("", "leads: expected leads, received nothing"),
    ],
)
def test_bad_input_is_named_with_its_line(text: str | bytes, message: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(DataError) as caught:
        list(LeadTable(io.BytesIO(data), "leads", FEATURES, Reading()).chunks())  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_bad_input_ends_with_4(server: Running) -> None:
    done = score(server, "-", text="age\n40\nforty\n")
    assert done.returncode == 4
    assert done.stderr.startswith("aiqleads: standard input: line 3: age: expected a number, received 'forty' (str)\n")


def test_a_column_that_is_asked_for_as_id_must_be_there(server: Running) -> None:
    assert score(server, "-", "--id", "nr", text="nr,age\na7,40\n").stdout.splitlines()[1].startswith("a7,50.0,")
    done = score(server, "-", "--id", "leadid", text="lead_id,age\n1,2\n")
    assert done.returncode == 4 and "no column 'leadid' (--id); did you mean 'lead_id'?" in done.stderr


def test_bad_rows_can_be_left_out(server: Running) -> None:
    text = "lead_id,age\na,40\nb,x\nc\nd,41\n" + "".join(f"e{i},?\n" for i in range(20))
    done = score(server, "-", "--skip-bad", text=text)
    assert done.returncode == 0, done.stderr
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == ["lead_id", "a", "d"]
    assert "left out 22 bad rows\n" in done.stderr and "and 12 more" in done.stderr
    assert (
        "  line 3: age: expected a number, received 'x' (str)\n" in done.stderr or "  line 4: expected 2" in done.stderr
    )


def test_a_dataset_file_says_names_and_spellings_of_missing(server: Running, tmp_path: Path) -> None:
    dataset = tmp_path / "mine.yaml"
    dataset.write_text(
        "name: mine\nfiles: [x.csv]\nid: nr\ncsv: {delimiter: ';'}\nlabel: {column: y}\nfeatures:\n"
        "  - {name: age, kind: numeric, column: years, missing_values: ['999', unknown]}\n"
        "  - {name: state, kind: categorical, missing_values: [none]}\n"
    )
    text = "nr;years;state;y\n1;999.0;CA;0\n2;unknown;none;1\n3; 50 ;CA;1\n"
    done = score(server, "-", "--dataset", str(dataset), text=text)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["nr"] for row in rows] == ["1", "2", "3"]
    expected = [probability(state="CA"), 0.5, probability(50, "CA")]
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected, rel=1e-6)
    assert "ignored, not a feature of the model: y\n" in done.stderr


def test_a_packed_file_with_a_byte_order_mark_and_semicolons_is_understood(server: Running, tmp_path: Path) -> None:
    path = tmp_path / "leads.csv.gz"
    path.write_bytes(gzip.compress("\ufeffage;state\r\n40;\r\n".encode()))
    assert score(server, str(path)).stdout.splitlines()[1] == "2,50.0,0.5,0.45,0.55,0.9,7"
    path.write_bytes(gzip.compress(b"age\n40\n")[:-9])
    done = score(server, str(path))
    assert done.returncode == 4 and "cannot be read" in done.stderr


def test_a_server_that_is_not_there_or_lacks_the_model_ends_with_5(server: Running, tmp_path: Path) -> None:
    leads, output = tmp_path / "leads.csv", tmp_path / "scores.csv"
    leads.write_text("age\n1\n")
    for options, message in (
        (("--server", server.grpc_address, "--model", "nothing"), "Servable not found for request: Latest(nothing)"),
        (("--server", server.grpc_address, "--version", "8"), "Specific(lead-scoring, 8)"),
        (("--server", "127.0.0.1:1"), "start it with `aiqleads serve`"),
    ):
        done = aiqleads("score", str(leads), "--output", str(output), *options)
        assert done.code == 5 and message in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["leads.csv"], "no output without scores"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--format", "xml"], 4, "--format: expected csv, jsonl or table; received 'xml'"),
        (["--token-file", "nowhere"], 4, "--token-file nowhere: No such file"),
        (["--output", "nowhere/x.csv"], 4, "--output nowhere/x.csv: No such file"),
        (["--dataset", "nowhere"], 4, "no file configs/datasets/nowhere.yaml"),
        (["--version", "1", "--label", "stable"], 4, "expected a version or a label"),
        (["--server", "http://127.0.0.1:8501"], 4, "expected an address as host:port"),
    ],
)
def test_options_that_cannot_be_used_are_named(
    server: Running, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    leads = tmp_path / "leads.csv"
    leads.write_text("age\n1\n")
    done = aiqleads("score", str(leads), "--server", server.grpc_address, *arguments)
    assert done.code == code and message in done.output


def test_a_file_that_is_not_there_is_named() -> None:
    done = aiqleads("score", "nowhere.csv")
    assert done.code == 4 and "nowhere.csv: No such file or directory" in done.output


class Endless(io.RawIOBase):
    """A table that goes on and on; counts what was read of it."""

    def __init__(self) -> None:
        self.read_bytes, self._pending = 0, b"age\n"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._pending = self._pending or b"40\n" * 1000
        part, self._pending = self._pending[: len(buffer)], self._pending[len(buffer) :]
        buffer[: len(part)] = part
        self.read_bytes += len(part)
        return len(part)


def test_a_table_is_read_no_further_than_a_few_chunks_ahead(server: Running) -> None:
    endless = Endless()
    with Client(server.grpc_address, timeout=30) as client:
        table = LeadTable(endless, "endless", client.features(), Reading(chunk=100))  # type: ignore[arg-type]
        answers = client.score_columns(chunk.columns for chunk in table.chunks())
        for _ in range(50):
            assert len(next(answers)) == 100
        answers.close()
    assert table.rows <= 5500 and endless.read_bytes < 5 * 5500


def test_a_chunk_without_a_single_good_row_is_passed_over() -> None:
    text = b"age\n" + b"x\n" * 4 + b"40\n"
    table = LeadTable(io.BytesIO(text), "t", FEATURES, Reading(chunk=2, skip_bad=True))  # type: ignore[arg-type]
    (chunk,) = table.chunks()
    assert (list(chunk.lines), list(chunk.columns["age"]), table.bad_rows) == ([6], [40.0], 4)
    assert table.bad[2] == "age: expected a number, received 'x' (str)"
