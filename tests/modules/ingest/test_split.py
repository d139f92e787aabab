import numpy as np
import pytest

from modules.dataset import SPLITS
from modules.ingest import split, work
from modules.ingest.sources import resolve
from modules.ingest.typed import type_block
from modules.ingest.units import pieces, plan_units
from tests.modules.ingest.tables import make_dataset, write_rows

DAY = 86_400


def parts_of(dataset, validation_split=0.25, block_bytes=1 << 20):
    """id -> split name, 'immature' or 'gap'."""
    source = resolve(dataset)
    work_list = []
    for n, file in enumerate(source.files):
        from modules.ingest.layout import read_layout

        for unit in plan_units(dataset, file, read_layout(dataset, file), block_bytes):
            work_list.append(work.Work((n, unit.number), unit))
    summaries = [s for w in work_list for s in work.summarise_unit(dataset, w)]
    plan = split.make_plan(dataset, validation_split, summaries)
    found = {}
    names = {split.IMMATURE: "immature", split.GAP: "gap", **dict(enumerate(SPLITS))}
    for w in work_list:
        for i, piece in enumerate(pieces(dataset, w.unit)):
            place = (*w.place, i)
            block = type_block(dataset, piece(), month=plan.months.get(place))
            part = split.assign(dataset, plan, block, place)
            ids = block.columns[dataset.id_feature].to_pylist()
            found.update({k.decode(): names[p] for k, p in zip(ids, part.tolist(), strict=True)})
    return found, plan


def counts(found):
    values = list(found.values())
    return {name: values.count(name) for name in dict.fromkeys(values)}


@pytest.fixture
def hundred_days(tmp_path):
    """100 leads, one a day from 1970-01-01, every fourth converted; `part` says train, held or late."""
    rows = [
        [f"lead-{i}", str(i), "x", str(int(i % 4 == 0)), str(np.datetime64(i, "D")), "held" if i % 5 == 0 else "in"]
        for i in range(100)
    ]
    return write_rows(tmp_path / "t.csv", [["id", "age", "job", "label", "day", "part"], *rows])


TIME = {"column": "day"}


def test_shares_of_a_hash_split_are_met_on_average_and_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = [[f"lead-{i}", "1", "x", "1"] for i in range(20_000)]
    head = [["id", "age", "job", "label"]]
    found, _ = parts_of(make_dataset(write_rows(tmp_path / "a.csv", head + rows)))
    backwards, _ = parts_of(make_dataset(write_rows(tmp_path / "b.csv", head + rows[::-1])), block_bytes=1000)
    assert found == backwards
    share = {name: n / 20_000 for name, n in counts(found).items()}
    # 0.2 test, 0.1 calibration, a quarter of the rest validation; 4 standard errors are 0.014.
    assert share == pytest.approx({"test": 0.2, "calibration": 0.1, "validation": 0.175, "train": 0.525}, abs=0.014)


def test_another_validation_split_moves_no_row_into_or_out_of_test_and_calibration(tmp_path):
    rows = [["id", "age", "job", "label"], *([f"lead-{i}", "1", "x", "1"] for i in range(2000))]
    dataset = make_dataset(write_rows(tmp_path / "a.csv", rows))
    little, much = parts_of(dataset, 0.1)[0], parts_of(dataset, 0.6)[0]
    assert {k for k, v in little.items() if v == "test"} == {k for k, v in much.items() if v == "test"}
    assert {k for k, v in little.items() if v == "calibration"} == {k for k, v in much.items() if v == "calibration"}


def test_a_stratified_split_has_exact_shares_within_each_class(tmp_path):
    rows = [["id", "age", "job", "label"], *([f"lead-{i}", "1", "x", str(int(i < 40))] for i in range(1040))]
    dataset = make_dataset(write_rows(tmp_path / "a.csv", rows), split={"stratify": True})
    found, _ = parts_of(dataset, 0.5, block_bytes=300)
    positive = counts({k: v for k, v in found.items() if int(k.split("-")[1]) < 40})
    assert positive == {"test": 8, "calibration": 4, "validation": 14, "train": 14}
    assert counts(found) == {"test": 208, "calibration": 104, "validation": 364, "train": 364}


@pytest.mark.parametrize("block_bytes", [1, 500, 1 << 20])
def test_the_newest_rows_are_the_test_part_after_a_gap(hundred_days, block_bytes):
    dataset = make_dataset(hundred_days, time=TIME, split={"method": "time", "gap_days": 7, "inner": "same"})
    found, plan = parts_of(dataset, 0.5, block_bytes)
    day = {k: int(k.split("-")[1]) for k in found}
    names = ["train"] * 35 + ["validation"] * 35 + ["calibration"] * 3 + ["gap"] * 7 + ["test"] * 20
    assert {day[k]: v for k, v in found.items()} == dict(enumerate(names))
    assert plan.test_from == 80 * DAY and plan.gap_from == 73 * DAY


def test_without_same_calibration_and_validation_are_drawn_from_all_that_is_not_test(hundred_days):
    dataset = make_dataset(hundred_days, time=TIME, split={"method": "time"})
    found, _ = parts_of(dataset)
    day = {name: [int(k.split("-")[1]) for k, v in found.items() if v == name] for name in SPLITS}
    assert sorted(day["test"]) == list(range(80, 100))
    assert min(day["calibration"]) < 40 and max(day["calibration"]) >= 40
    assert min(day["train"]) < 10 and max(day["train"]) >= 70


def test_immature_leads_are_left_out_whatever_their_label(hundred_days):
    dataset = make_dataset(hundred_days, time=TIME, split={"method": "time"}, label_maturity_days=10)
    found, plan = parts_of(dataset)
    assert plan.as_of == 99 * DAY
    assert sorted(int(k.split("-")[1]) for k, v in found.items() if v == "immature") == list(range(90, 100))
    # The shares are those of the mature rows.
    assert sorted(int(k.split("-")[1]) for k, v in found.items() if v == "test") == list(range(72, 90))


def test_the_date_of_the_export_may_be_given(hundred_days):
    dataset = make_dataset(hundred_days, time=TIME, label_maturity_days=10, as_of="1970-04-20T00:00:00")
    found, plan = parts_of(dataset)
    assert split.first_pass_columns(dataset) == ()
    assert plan.as_of == 109 * DAY and counts(found).get("immature") is None


@pytest.mark.parametrize("block_bytes", [1, 700, 1 << 20])
def test_rows_in_order_split_by_number(hundred_days, block_bytes):
    dataset = make_dataset(hundred_days, split={"method": "order", "test": 0.3, "inner": "same"})
    found, _ = parts_of(dataset, 0.5, block_bytes)
    order = list(found.values())
    assert order == ["train"] * 30 + ["validation"] * 30 + ["calibration"] * 10 + ["test"] * 30


def test_a_column_says_the_split_and_the_rest_is_drawn_from_train(hundred_days):
    values = {"held": "test", "in": "train"}
    dataset = make_dataset(hundred_days, split={"method": "column", "column": "part", "values": values})
    found, _ = parts_of(dataset)
    assert sorted(int(k.split("-")[1]) for k, v in found.items() if v == "test") == list(range(0, 100, 5))
    assert set(found.values()) == set(SPLITS)


def test_months_without_a_year_split_by_time(tmp_path):
    months = ["nov"] * 4 + ["dec"] * 2 + ["jan"] * 4
    rows = [["id", "age", "job", "label", "month"], *([f"lead-{i}", "1", "x", "1", m] for i, m in enumerate(months))]
    order = {"month_order": {"column": "month", "first_year": 1999}}
    dataset = make_dataset(write_rows(tmp_path / "t.csv", rows), time=order, split={"method": "time", "test": 0.4})
    for block_bytes in (1, 30, 1 << 20):
        found, plan = parts_of(dataset, block_bytes=block_bytes)
        assert np.datetime64(plan.test_from, "s") == np.datetime64("2000-01-01")
        assert [k for k, v in found.items() if v == "test"] == [f"lead-{i}" for i in range(6, 10)]
