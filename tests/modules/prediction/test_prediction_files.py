import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.ingest.quarantine import BadRow, Reason
from modules.prediction import report, shards
from modules.prediction.inputs import stems
from modules.prediction.versions import Endpoint, ModelVersion, Signature

FLOAT, INT64 = 1, 9
SIGNATURE = Signature((), (Endpoint("score", "s:0", FLOAT), Endpoint("rank", "r:0", INT64)))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/leads.csv"], ["leads"]),
        (["/a/leads.csv.gz", "/a/more.PARQUET"], ["leads", "more"]),
        (["/a/x/leads.csv", "/a/y/leads.csv.gz", "/a/z/other.csv"], ["x/leads", "y/leads", "other"]),
        (["/a/leads.csv", "/a/leads.parquet"], ["leads.csv", "leads.parquet"]),
        (["/leads.csv", "/b/leads.csv"], ["leads", "b/leads"]),
        (["/a/.csv", "/a/2024.06"], [".csv", "2024.06"]),
    ],
)
def test_predictions_are_named_after_their_input(paths, names):
    assert stems(paths) == names


@given(st.sets(st.from_regex(r"(/[ab]){0,3}/[ab](\.csv|\.csv\.gz|\.parquet|)", fullmatch=True), min_size=1))
def test_no_two_inputs_share_a_name_and_none_leaves_the_folder(paths):
    names = stems(sorted(paths))
    assert len(set(names)) == len(paths)
    assert not any(name.startswith("/") or ".." in name.split("/") for name in names)


def batch(schema, ids, scores):
    outputs: dict[str, np.ndarray] = {"score": np.array(scores, np.float32), "rank": np.arange(len(ids))}
    return shards.output_batch(schema, ModelVersion("m", 7, Path("7")), pa.array(ids, pa.large_binary()), outputs)


def test_shards_are_joined_in_order_with_one_header(tmp_path):
    schema = shards.output_schema("lead_id", SIGNATURE)
    parts = [([b"a", b"b"], [0.1, 100.0]), ([], []), (["naïve".encode()], [1e-9])]
    for i, (ids, scores) in enumerate(parts):
        shards.write_shard(tmp_path / str(i), batch(schema, ids, scores), ("parquet", "csv"))
    stems = [tmp_path / str(i) for i in range(3)]
    shards.join_csv(stems, tmp_path / "out.csv", schema)
    shards.join_parquet(stems, tmp_path / "out.parquet", schema)
    assert (tmp_path / "out.csv").read_text() == (
        "lead_id,score,rank,model,version\na,0.1,0,m,7\nb,100,1,m,7\nnaïve,1e-9,0,m,7\n"
    )
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.equals(schema)
    assert table["lead_id"].to_pylist() == ["a", "b", "naïve"]
    assert table["score"].to_numpy().tolist() == [np.float32(0.1), 100, np.float32(1e-9)]


@given(st.lists(st.tuples(st.text('a",\r\n é', max_size=4), st.floats(0, 100, width=32)), max_size=6))
def test_csv_gives_back_every_id_and_every_bit_of_a_number(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("shard")
    schema = shards.output_schema("lead,id", SIGNATURE)
    ids = [("x" + text).encode() for text, _ in rows]
    shards.write_shard(folder / "0", batch(schema, ids, [score for _, score in rows]), ("csv",))
    shards.join_csv([folder / "0"], folder / "out.csv", schema)
    types = {"lead,id": pa.binary(), "score": pa.float32()}
    read = pacsv.read_csv(
        folder / "out.csv",
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=types),
    )
    assert read["lead,id"].to_pylist() == ids
    assert read["score"].to_numpy().tolist() == [score for _, score in rows]


def test_row_groups_do_not_depend_on_how_rows_were_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROW_GROUP", 10)
    schema = shards.output_schema("id", SIGNATURE)
    ids = [str(i).encode() for i in range(37)]
    written: list[bytes] = []
    for cuts in ([0, 37], [0, 1, 9, 30, 37], [0, 10, 20, 30, 37]):
        stems = []
        for a, b in pairwise(cuts):
            stems.append(tmp_path / f"{len(written)}-{a}")
            part = batch(schema, ids[a:b], np.arange(a, b))
            shards.write_shard(stems[-1], part.set_column(2, "rank", pa.array(np.arange(a, b))), ("parquet",))
        shards.join_parquet(stems, tmp_path / "out.parquet", schema)
        metadata = pq.read_metadata(tmp_path / "out.parquet")
        assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [10, 10, 10, 7]
        written.append((tmp_path / "out.parquet").read_bytes())
    assert written[0] == written[1] == written[2]


def test_counts_add_up():
    bad = [BadRow("f", 3, Reason.NUMBER, "x"), BadRow("f", 5, Reason.QUOTING, "y")]
    outputs: dict[str, np.ndarray] = {
        "score": np.array([0, 9.99, 10, 100], np.float32),
        "probability": np.array([0.5, 0.25, 0, 0.25]),
    }
    first = report.count(5, outputs, 4, bad)
    # The row with broken quoting was not counted by the reader.
    assert (first.records, first.predicted, first.quarantined_rows) == (6, 4, 2)
    assert first.tenths == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    whole = report.total([first, report.Counts(), report.count(1, {"probability": np.array([1.0])}, 1, ())])
    assert (whole.records, whole.predicted, whole.probability) == (7, 5, 2.0)
    assert whole.tenths == first.tenths
    assert whole.quarantined == {"broken quoting": 1, "not a number": 1}


def test_a_result_survives_its_file(tmp_path):
    result = report.FileResult("in.csv", report.count(1, {"probability": np.array([0.5])}, 1, ()), ["in.parquet"])
    result.write(tmp_path / "r.json")
    assert report.FileResult.read(tmp_path / "r.json") == result
    assert json.loads((tmp_path / "r.json").read_text())["counts"]["predicted"] == 1


def test_only_what_an_earlier_job_wrote_below_the_folder_is_its_own(tmp_path):
    assert report.earlier_outputs(tmp_path) == ()
    values = {"files": [{"outputs": ["a/x.csv", "../mine.csv", "/etc/passwd"]}], "quarantine": "quarantine.jsonl"}
    (tmp_path / "predictions.json").write_text(json.dumps(values))
    names = [str(p.relative_to(tmp_path)) for p in report.earlier_outputs(tmp_path)]
    assert names == ["predictions.json", "a/x.csv", "quarantine.jsonl"]
    (tmp_path / "predictions.json").write_text("{")
    assert report.earlier_outputs(tmp_path) == (tmp_path / "predictions.json",)
