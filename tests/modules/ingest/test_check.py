import numpy as np
import yaml

from modules.dataset import Dataset
from modules.ingest.check import check_dataset, roc_auc, single_feature_auc
from modules.ingest.infer import propose_dataset
from tests.modules.ingest.tables import make_dataset, many_rows, write_rows


def found(dataset):
    return {(f.severity, f.column, f.message) for f in check_dataset(dataset)}


def with_column(path, name, values):
    rows = many_rows(len(values))
    return write_rows(path, [[*row, value] for row, value in zip(rows, [name, *values], strict=True)])


def test_a_table_that_fits_has_no_findings(tmp_path):
    assert check_dataset(make_dataset(write_rows(tmp_path / "t.csv", many_rows(1000)))) == []


def test_a_missing_column_is_an_error_with_the_nearest_name(tmp_path):
    (tmp_path / "t.csv").write_text("id,ages,job,label\n")
    (finding,) = check_dataset(make_dataset(tmp_path / "t.csv"))
    assert finding.severity == "error" and "did you mean 'ages'" in finding.suggestion


def test_rows_that_cannot_be_read_are_errors_by_column(tmp_path):
    rows = many_rows(500)
    for i in range(1, 101):
        rows[i][1] = "n/a"
    rows[200][3] = "perhaps"
    findings = [f for f in check_dataset(make_dataset(write_rows(tmp_path / "t.csv", rows))) if f.column]
    assert [(f.severity, f.column) for f in findings] == [("error", "age"), ("error", "label")]
    assert findings[0].message.startswith("100 of 500 rows: not a number; line 2: age is 'n/a', expected a number")


def test_personal_columns_are_suspected_by_their_values(tmp_path):
    path = with_column(tmp_path / "t.csv", "contact", [f"person{i}@example.org" for i in range(300)])
    features = [{"name": "age", "kind": "numeric"}, {"name": "contact", "kind": "categorical"}]
    assert ("warning", "contact", "its values look like e-mail addresses") in found(
        make_dataset(path, features=features)
    )
    assert ("warning", "contact", "the dataset does not mention this column; it is ignored") in found(
        make_dataset(path)
    )


def test_a_column_that_gives_the_label_away_is_suspected(tmp_path):
    path = with_column(tmp_path / "t.csv", "contract", ["signed" if i % 3 == 0 else "" for i in range(300)])
    features = [{"name": "contract", "kind": "categorical"}, {"name": "age", "kind": "numeric"}]
    messages = [f.message for f in check_dataset(make_dataset(path, features=features)) if f.column == "contract"]
    assert "alone it predicts the label almost perfectly (AUC 1.0000)" in messages


def test_spellings_of_missing_are_suspected(tmp_path):
    path = with_column(tmp_path / "t.csv", "days", ["999" if i % 4 else str(i % 9) for i in range(300)])
    features = [{"name": "days", "kind": "numeric"}, {"name": "job", "kind": "categorical"}]
    findings = check_dataset(make_dataset(path, features=features))
    assert [f.suggestion for f in findings if f.column == "days"] == ["if that means missing: missing_values: ['999']"]


def test_constant_columns_and_repeated_ids_are_reported(tmp_path):
    rows = many_rows(300)
    for row in rows[1:]:
        row[1] = "5"
    rows[7][0] = rows[8][0]
    findings = found(make_dataset(write_rows(tmp_path / "t.csv", rows)))
    assert ("warning", "age", "every row has the same value, 5.0") in findings
    assert ("warning", "id", "1 of 300 ids are there already") in findings


def test_the_area_under_the_curve_counts_ties_half():
    assert roc_auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0, 0, 1, 1])) == 0.875


def test_a_category_seen_once_does_not_look_like_a_leak():
    import pyarrow as pa

    label = np.random.default_rng(0).integers(0, 2, 2000)
    ids = pa.array([f"{i}".encode() for i in range(2000)], pa.large_binary())
    assert single_feature_auc(ids, label) < 0.6


def test_a_proposed_dataset_reads_its_own_table(tmp_path):
    rows = many_rows(1000)
    extra = [["mail", "created"], *([f"p{i}@example.org", f"2024-01-{1 + i % 28:02d}"] for i in range(1000))]
    table = [[*row, *more] for row, more in zip(rows, extra, strict=True)]
    path = write_rows(tmp_path / "My leads.csv", table, delimiter=";")
    proposal = yaml.safe_load(propose_dataset(str(path)))
    assert proposal["name"] == "my_leads" and proposal["csv"] == {"delimiter": ";"}
    assert proposal["id"] == "id" and proposal["time"] == {"column": "created"}
    assert proposal["label"] == {"column": "label", "positive": ["1"], "negative": ["0"]}
    assert [(f["name"], f["kind"]) for f in proposal["features"]] == [
        ("created_date", "date"), ("age", "numeric"), ("job", "categorical"),
    ]  # fmt: skip
    assert proposal["personal_data"] == [{"column": "mail", "action": "drop"}]
    assert check_dataset(Dataset.model_validate(proposal)) == []


def test_a_table_too_small_for_its_parts_is_reported(tmp_path):
    findings = check_dataset(make_dataset(write_rows(tmp_path / "t.csv", many_rows(300))))
    assert [f.message for f in findings] == [
        "300 rows in all: about 60 of them in the test part, 20 of these positive",
        "300 rows in all: about 30 of them in the calibration part, 10 of these positive",
    ]


def test_dates_that_stand_for_nothing_or_come_later_are_suspected(tmp_path):
    rows = many_rows(1000)
    rows[0] += ["created", "closed"]
    for i, row in enumerate(rows[1:]):
        row += ["2024-03-01", "1900-01-01" if i % 10 == 0 else f"2024-0{1 + i % 4}-{1 + i % 28:02d}"]
    features = [{"name": "closed", "kind": "date"}, {"name": "age", "kind": "numeric"}]
    dataset = make_dataset(write_rows(tmp_path / "t.csv", rows), features=features, time={"column": "created"})
    messages = [(f.message, f.suggestion) for f in check_dataset(dataset) if f.column == "closed"]
    assert messages == [
        ("100 rows have 1900-01-01, years away from the next date",
         "if that means missing: missing_values: ['1900-01-01']"),
        (f"{later(rows):.1%} of the dates lie after the time of their lead",
         "is it known when the lead comes in? if not, list it under leave_out"),
    ]  # fmt: skip


def later(rows):
    return np.mean([row[-1] > row[-2] for row in rows[1:]])


def test_dates_do_not_look_like_phone_numbers(tmp_path):
    path = with_column(tmp_path / "t.csv", "seen", [f"0{1 + i % 9}.02.2024" for i in range(1000)])
    features = [{"name": "seen", "kind": "date", "format": "%d.%m.%Y"}, {"name": "age", "kind": "numeric"}]
    assert [f.column for f in check_dataset(make_dataset(path, features=features)) if f.column == "seen"] == []
