"""The files: whole, deterministic, consistent with one another, in every format and split."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from marketplace_files import column, rows

from modules.errors import ConfigError
from modules.marketplace import generate
from modules.marketplace.columns import BY_NAME, COLUMNS
from modules.marketplace.settings import Format, MarketplaceSettings
from modules.marketplace.write import MarketplaceReport, write_marketplace

TABLES = ("leads", "events", "truth", "truth_events")
EXPORT = "2025-12-31T00:00:00Z"


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_equal_settings_give_equal_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_marketplace(tmp_path / name, MarketplaceSettings(rows=300, seed=seed))
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")
    assert _bytes(tmp_path / "a")["leads.csv"] != _bytes(tmp_path / "c")["leads.csv"]


def test_report_counts_what_is_in_the_files(marketplace: tuple[Path, MarketplaceReport]) -> None:
    out, report = marketplace
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{name}.csv" for name in TABLES)
    assert [path.name for path in report.files] == [f"{name}.csv" for name in TABLES]
    leads = rows(out / "leads.csv")
    assert tuple(leads[0]) == tuple(c.name for c in COLUMNS)
    assert report.leads == len(leads) == 6000
    assert report.events == len(rows(out / "events.csv")) == len(rows(out / "truth_events.csv"))
    assert report.converted == sum(row["converted"] == "1" for row in leads)
    assert report.conversion_rate == report.converted / 6000
    assert report.export_date == dt.date(2025, 12, 31)
    truth = [float(value) for value in column(out / "truth.csv", "probability")]
    assert report.mean_probability == pytest.approx(sum(truth) / 6000, abs=1e-5)


def test_values_are_legal_and_missing_as_often_as_the_table_says(marketplace: tuple[Path, MarketplaceReport]) -> None:
    table = rows(marketplace[0] / "leads.csv")
    for c in COLUMNS:
        cells = [row[c.name] for row in table]
        filled = [cell for cell in cells if cell]
        assert 1 - len(filled) / len(cells) == pytest.approx(c.missing, abs=0.02), c.name
        if c.kind == "numeric":
            assert min(map(float, filled)) >= c.minimum, c.name  # type: ignore[operator]
            assert max(map(float, filled)) <= c.maximum, c.name  # type: ignore[operator]
            assert max(len(cell.partition(".")[2]) for cell in filled) <= c.decimals, c.name
        elif c.kind == "categorical":
            assert set(filled) <= set(BY_NAME[c.name].categories), c.name


def test_leads_are_unique_and_in_order_of_time(marketplace: tuple[Path, MarketplaceReport]) -> None:
    table = rows(marketplace[0] / "leads.csv")
    assert [row["lead_id"] for row in table] == [f"L{i:09d}" for i in range(6000)]
    times = [row["created_at"] for row in table]
    assert times == sorted(times)
    assert times[0] >= "2024-01-01T00:00:00Z"
    assert times[-1] < EXPORT


def test_every_event_belongs_to_a_lead_and_follows_its_creation(marketplace: tuple[Path, MarketplaceReport]) -> None:
    out, _ = marketplace
    created = {row["lead_id"]: row["created_at"] for row in rows(out / "leads.csv")}
    events = rows(out / "events.csv")
    assert all(created[event["lead_id"]] < event["time"] < EXPORT for event in events)
    keys = [(event["lead_id"], event["time"]) for event in events]
    assert keys == sorted(set(keys))


def test_truth_of_events_stands_row_by_row_beside_the_events(marketplace: tuple[Path, MarketplaceReport]) -> None:
    out, _ = marketplace
    events, truth = rows(out / "events.csv"), rows(out / "truth_events.csv")
    probability = {row["lead_id"]: row["probability"] for row in rows(out / "truth.csv")}
    assert [row["lead_id"] for row in events] == [row["lead_id"] for row in truth]
    assert all(row["before"] == probability[row["lead_id"]] for row in truth if row["position"] == "1")
    # Where the likeliest action is taken it has at least one eighth of the probability.
    taken = [float(t["policy_probability"]) for e, t in zip(events, truth, strict=True)
             if e["action"] == t["likeliest_action"]]  # fmt: skip
    assert min(taken) >= 0.125


def test_an_event_carries_the_probability_with_which_its_action_was_chosen(
    marketplace: tuple[Path, MarketplaceReport], tmp_path: Path
) -> None:
    out, _ = marketplace
    events = rows(out / "events.csv")
    assert list(events[0]) == ["lead_id", "time", "action", "response", "propensity"]
    assert [e["propensity"] for e in events] == column(out / "truth_events.csv", "policy_probability")
    assert all(len(e["propensity"]) == 7 and 0 < float(e["propensity"]) < 1 for e in events)
    # An action with probability p is taken in 1 of 1 / p decisions: summed over what was taken, 1 / p counts all.
    for action in ("call", "email", "wait"):
        weights = [1 / float(e["propensity"]) if e["action"] == action else 0.0 for e in events]
        assert sum(weights) / len(events) == pytest.approx(1, abs=0.1)
    write_marketplace(tmp_path, MarketplaceSettings(rows=400, seed=4, format="parquet"))
    table, truth = pq.read_table(tmp_path / "events.parquet"), pq.read_table(tmp_path / "truth_events.parquet")
    assert table["propensity"].equals(truth["policy_probability"])
    assert str(table.schema.field("propensity").type) == "float"


def test_the_export_shows_a_conversion_only_once_it_has_happened(marketplace: tuple[Path, MarketplaceReport]) -> None:
    out, _ = marketplace
    leads, truth = rows(out / "leads.csv"), rows(out / "truth.csv")
    hidden = 0
    for lead, true in zip(leads, truth, strict=True):
        seen = true["converted"] == "1" and true["converted_at"] < EXPORT
        assert lead["converted"] == str(int(seen))
        assert (true["converted_at"] != "") == (true["converted"] == "1")
        hidden += true["converted"] == "1" and not seen
        if lead["created_at"] < "2025-10-02T00:00:00Z":  # 90 days before the export
            assert lead["converted"] == true["converted"]
    assert hidden > 20


def test_spans_put_together_are_the_one_file_and_each_keeps_to_its_time(
    marketplace: tuple[Path, MarketplaceReport], tmp_path: Path
) -> None:
    report = write_marketplace(tmp_path, MarketplaceSettings(rows=6000, seed=3, spans=4))
    for name in TABLES:
        parts = [(tmp_path / f"span-{k}" / f"{name}.csv").read_bytes().split(b"\n", 1) for k in (1, 2, 3, 4)]
        joined = parts[0][0] + b"\n" + b"".join(body for _, body in parts)
        if name in ("leads", "truth"):
            # The row in the middle of a boundary may move by some seconds, see arrivals.arrival_times.
            changed = [a != b for a, b in zip(joined.splitlines(),
                       (marketplace[0] / f"{name}.csv").read_bytes().splitlines(), strict=True)]  # fmt: skip
            assert sum(changed) <= 3
    assert [span.start for span in report.spans] == [
        dt.date(2024, 1, 1), dt.date(2024, 7, 1), dt.date(2024, 12, 31), dt.date(2025, 7, 1)
    ]  # fmt: skip
    bounds = ["2024-01-01T00", "2024-07-01T12", "2024-12-31T00", "2025-07-01T12", "2025-12-31T00"]
    for k in range(4):
        times = column(tmp_path / f"span-{k + 1}" / "leads.csv", "created_at")
        assert bounds[k] <= min(times)
        assert max(times) < bounds[k + 1]
        ids = set(column(tmp_path / f"span-{k + 1}" / "leads.csv", "lead_id"))
        assert set(column(tmp_path / f"span-{k + 1}" / "events.csv", "lead_id")) <= ids
    assert report.leads == 6000


def test_chunks_join_without_seam_even_where_a_span_ends_inside_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "CHUNK_ROWS", 250)
    seen: list[tuple[int, int]] = []
    settings = MarketplaceSettings(rows=1100, seed=9, spans=3)
    report = write_marketplace(tmp_path, settings, lambda done, total: seen.append((done, total)))
    assert seen == [(250, 1100), (500, 1100), (750, 1100), (1000, 1100), (1100, 1100)]
    tables = [rows(tmp_path / f"span-{k}" / "leads.csv") for k in (1, 2, 3)]
    assert [len(table) for table in tables] == [span.leads for span in report.spans]
    joined = [row for table in tables for row in table]
    assert [row["lead_id"] for row in joined] == [f"L{i:09d}" for i in range(1100)]
    times = [row["created_at"] for row in joined]
    assert times == sorted(times)


def test_gzip_and_parquet_hold_the_same_values_as_csv(tmp_path: Path) -> None:
    formats: tuple[Format, ...] = ("csv", "csv.gz", "parquet")
    for name in formats:
        write_marketplace(tmp_path, MarketplaceSettings(rows=400, seed=4, format=name))
    for table in TABLES:
        assert gzip.decompress((tmp_path / f"{table}.csv.gz").read_bytes()) == (tmp_path / f"{table}.csv").read_bytes()
    for table in ("leads", "events"):
        text = rows(tmp_path / f"{table}.csv")
        for cells, values in zip(text, pq.read_table(tmp_path / f"{table}.parquet").to_pylist(), strict=True):
            for key, cell in cells.items():
                value = values[key]
                if isinstance(value, dt.datetime):
                    assert value.strftime("%Y-%m-%dT%H:%M:%SZ") == cell
                elif key == "propensity":
                    assert float(cell) == pytest.approx(value, abs=0.51e-5)
                elif isinstance(value, float | int):
                    assert float(cell) == value
                else:
                    assert (value or "") == cell
    p = [float(cell) for cell in column(tmp_path / "truth.csv", "probability")]
    assert pq.read_table(tmp_path / "truth.parquet")["probability"].to_pylist() == pytest.approx(p, abs=1e-5)


def test_a_writing_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise RuntimeError(f"stopped at {done} of {total}")

    with pytest.raises(RuntimeError, match="stopped at 200 of 200"):
        write_marketplace(tmp_path, MarketplaceSettings(rows=200), stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="expected a folder that can be written to"):
        write_marketplace(tmp_path / "taken", MarketplaceSettings(rows=10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows: expected 1 to 999,999,999, received 0"),
        ({"rows": 5, "start": "01.02.2024"}, "expected a date as YYYY-MM-DD, received '01.02.2024'"),
        ({"rows": 5, "start": "2001-01-01"}, "expected a period within 2015-01-01 to 2040-12-31"),
        ({"rows": 5, "format": "xlsx"}, "expected one of csv, csv.gz, parquet; received 'xlsx'"),
        ({"rows": 5, "format": "parquet", "faults": "utf8=1"}, "expected format csv, received 'parquet'"),
        ({"rows": 5, "spans": 0}, "spans: expected 1 to 730"),
        ({"rows": 5, "spans": 2, "drift": "age:+1@3"}, "expected a span from 1 to 2, received @3"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MarketplaceSettings.parse(**arguments)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_more_spans_than_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 rows leave span \d of 9 empty"):
        write_marketplace(tmp_path, MarketplaceSettings(rows=3, spans=9))
