"""Drift, gate and schema on statistics that TFDV computed."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx import types  # noqa: F401  makes tensorflow_data_validation importable (docs/stack.md)

import tensorflow_data_validation as tfdv  # isort: skip
from tensorflow_data_validation.statistics.stats_impl import generate_statistics_in_memory  # isort: skip

from modules.columns import columns
from modules.dataset import Dataset, Label, TimeColumn
from modules.drift import distances, jensen_shannon, numeric_distance
from modules.errors import GateClosed
from modules.features import Feature, Kind
from modules.gate import inspect, share_beyond
from modules.schema import curate_schema, describe_schema, diff_schema

ROWS = 4000
DATASET = Dataset(
    name="leads",
    files=("leads.csv",),
    id="lead_id",
    label=Label(column="converted"),
    time=TimeColumn(column="created"),
    features=(
        Feature(name="age", kind=Kind.NUMERIC, min=18, max=110, max_missing=0.1, description="years"),
        Feature(name="income", kind=Kind.NUMERIC, description="dollars a year"),
        Feature(name="state", kind=Kind.CATEGORICAL, max_missing=0.0),
        Feature(name="zip", kind=Kind.CATEGORICAL, open_vocabulary=True),
        Feature(name="note", kind=Kind.TEXT),
    ),
)


def column(values: list, kind: pa.DataType) -> pa.Array:
    return pa.array([None if v is None else [v] for v in values], pa.large_list(kind))


def table(seed: int = 0, rows: int = ROWS, **changed: list) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of leads; `changed` replaces columns."""
    r = np.random.default_rng(seed)
    columns: dict[str, list] = {
        "age": r.normal(45, 12, rows).clip(18, 95).tolist(),
        "income": r.lognormal(10.5, 1.5, rows).tolist(),
        "state": r.choice([b"CA", b"NY", b"TX"], rows, p=[0.5, 0.3, 0.2]).tolist(),
        "zip": [b"%05d" % z for z in r.integers(0, 500, rows)],
        "note": [b"call %d" % i for i in range(rows)],
        "converted": r.integers(0, 2, rows).tolist(),
        "lead_id": [b"lead-%d-%d" % (seed, i) for i in range(rows)],
        "created": (1_700_000_000 + 1_000_000 * seed + np.arange(rows)).tolist(),
        **changed,
    }
    kinds = {"age": pa.float32(), "income": pa.float32(), "converted": pa.int64(), "created": pa.int64()}
    columns = {name: values for name, values in columns.items() if values}
    batch = pa.RecordBatch.from_arrays(
        [column(v, kinds.get(n, pa.large_binary())) for n, v in columns.items()], list(columns)
    )
    return generate_statistics_in_memory(batch, tfdv.StatsOptions())


BASELINE = table()
SCHEMA = curate_schema(BASELINE, DATASET)


def gate(statistics: statistics_pb2.DatasetFeatureStatisticsList, baseline=None, **options):
    return inspect(
        {"train": tfdv.validate_statistics(statistics, SCHEMA)},
        {"train": statistics.datasets[0]},
        SCHEMA,
        DATASET,
        baseline=None if baseline is None else baseline.datasets[0],
        against="span 1",
        **options,
    )


def ages(seed: int = 1) -> list:
    return np.random.default_rng(seed).normal(45, 12, ROWS).clip(18, 95).tolist()


# --- the distance ---------------------------------------------------------------------------------------------------


def test_jensen_shannon_of_disjoint_distributions_is_one_and_of_half_overlap_is_known() -> None:
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
    # p = (1/2, 1/2, 0), q = (0, 1/2, 1/2): every half has 1/2 log2 2 from its own cell and 0 from the shared one.
    assert jensen_shannon(np.array([0.5, 0.5, 0]), np.array([0, 0.5, 0.5])) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=20))
def test_jensen_shannon_is_symmetric_and_zero_only_for_equal_distributions(pairs: list) -> None:
    p, q = (np.array(side) / sum(side) for side in zip(*pairs, strict=True))
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p), abs=1e-12)
    assert jensen_shannon(p, p) == 0
    assert 0 <= jensen_shannon(p, q) <= 1


def one(values: list) -> statistics_pb2.FeatureNameStatistics:
    batch = pa.RecordBatch.from_arrays([column(values, pa.float32())], ["x"])
    return generate_statistics_in_memory(batch, tfdv.StatsOptions()).datasets[0].features[0]


@pytest.mark.parametrize("seed", range(3))
def test_two_samples_of_one_heavy_tailed_distribution_are_close_where_tfdv_says_they_drifted(seed: int) -> None:
    a, b = (np.random.default_rng(s).lognormal(8, 3, ROWS).tolist() for s in (seed, 100 + seed))
    batches = [pa.RecordBatch.from_arrays([column(v, pa.float32())], ["x"]) for v in (a, b)]
    first, second = (generate_statistics_in_memory(batch, tfdv.StatsOptions()) for batch in batches)
    schema = tfdv.infer_schema(first)
    schema.feature[0].drift_comparator.jensen_shannon_divergence.threshold = 0.1
    found = tfdv.validate_statistics(second, schema, previous_statistics=first).drift_skew_info[0]
    assert found.drift_measurements[0].value > 0.1
    assert numeric_distance(second.datasets[0].features[0], first.datasets[0].features[0])[0] < 0.005


def test_the_distance_of_shifted_normals_is_the_analytic_one() -> None:
    a, b = (one(np.random.default_rng(s).normal(mean, 1, 50_000).tolist()) for s, mean in ((0, 0.0), (1, 1.0)))
    # JS(N(0,1), N(1,1)) = 0.1610 bits, by numerical integration on a grid of 1/1000.
    x = np.arange(-8, 9, 0.001)
    p, q = (np.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) * 0.001 for m in (0, 1))
    exact = jensen_shannon(p / p.sum(), q / q.sum())
    assert exact == pytest.approx(0.161, abs=0.001)
    assert exact - 0.015 < numeric_distance(b, a)[0] < exact


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5])
def test_two_samples_of_a_binary_number_are_close(share: float) -> None:
    a, b = (one((np.random.default_rng(s).random(2000) < share).astype(float).tolist()) for s in (0, 1))
    assert numeric_distance(a, b)[0] < 0.002


def test_a_column_that_vanishes_is_at_distance_one() -> None:
    assert numeric_distance(None, one([1.0, 2.0, 3.0]))[0] == 1.0


# --- the gate -------------------------------------------------------------------------------------------------------


def test_another_sample_of_the_same_leads_opens_the_gate() -> None:
    report = gate(table(1), BASELINE)
    assert report.opened and not report.stops and not report.warnings
    assert max(d.value for d in report.drift) < 0.03
    assert [d.column for d in report.drift] == ["age", "income", "state", "zip", "note"]


def test_unknown_categories_are_named_with_their_share() -> None:
    states = [b"XX"] * 200 + [b"CA"] * 2000 + [b"NY"] * 1080 + [b"TX"] * 720
    report = gate(table(1, state=states))
    assert report.stops == ("state: 5.0 % of values are not in the 3 known ones: 'XX' (5.0 %)",)
    with pytest.raises(GateClosed) as closed:
        report.raise_if_closed()
    assert closed.value.details == list(report.stops) and closed.value.exit_code == 3


def test_missing_values_are_counted_against_what_is_allowed() -> None:
    assert gate(table(1, age=[None] * 2400 + ages()[:1600])).stops == ("age: 60.0 % missing, at most 10.0 % allowed",)


def test_values_out_of_range_are_named_with_the_share_the_histograms_prove() -> None:
    high, low = (gate(table(1, age=[v] * 400 + ages()[400:])).stops for v in (999.0, -1000.0))
    # TFDV's histograms are approximate: 10.1 % where 10.0 % would be exact.
    assert high[0].startswith("age: max 999 above 110 in about 10.") and len(high) == 1
    assert low[0].startswith("age: min -1000 below 18 in about 10.") and len(low) == 1


def test_not_a_number_and_infinity_close_the_gate() -> None:
    (line,) = gate(table(1, income=[float("inf")] * 4 + table_income()[4:])).stops
    assert line.startswith("income: ")


def table_income() -> list:
    return np.random.default_rng(1).lognormal(10.5, 1.5, ROWS).tolist()


def test_new_and_lost_columns_close_the_gate() -> None:
    assert gate(table(1, agent=[b"a"] * ROWS)).stops == ("agent: is not in the schema",)
    assert "state: is in the schema but not in the data" in gate(table(1, state=[])).stops


def test_a_wrong_label_closes_the_gate() -> None:
    assert gate(table(1, converted=[2] * 40 + [0, 1] * 1980)).stops == ("converted: max 2 above 1 in 1.0 %",)


def test_open_vocabularies_and_text_do_not_close_the_gate() -> None:
    report = gate(table(1, zip=[b"9%04d" % i for i in range(ROWS)], note=[b"brand new %d" % i for i in range(ROWS)]))
    assert report.opened


def test_drift_says_how_far_against_what_and_which_way() -> None:
    older = [min(a + 20, 110.0) for a in ages()]
    (line,) = gate(table(1, age=older), BASELINE).stops
    assert line.startswith("age: drift 0.3")
    assert line.endswith("(Jensen-Shannon) above 0.10 against span 1: mean 44.87 before, 64.94 now")
    texans = [b"TX"] * 2400 + [b"CA"] * 800 + [b"NY"] * 800
    (line,) = gate(table(1, state=texans), BASELINE).stops
    assert line.startswith("state: drift 0.4") and "'TX' 2" in line and line.endswith("60.0 % now")


def test_warnings_do_not_close_the_gate_and_off_does_not_look() -> None:
    texans = [b"TX"] * 2400 + [b"XX"] * 1600
    report = gate(table(1, state=texans), BASELINE, anomalies_mode="warn", drift_mode="warn")
    assert report.opened and len(report.warnings) == 2
    quiet = gate(table(1, state=texans), BASELINE, anomalies_mode="off", drift_mode="off")
    assert quiet.opened and not quiet.warnings and not quiet.drift


def test_a_feature_has_its_own_threshold_and_none_means_no_limit() -> None:
    texans = table(1, state=[b"TX"] * 2400 + [b"CA"] * 1600).datasets[0]
    own = [f.model_copy(update={"max_drift": 0.5}) if f.name == "state" else f for f in DATASET.features]

    def drifted(**changed) -> list[str]:
        every = columns(DATASET.model_copy(update=changed))
        return [d.column for d in distances(texans, BASELINE.datasets[0], every) if d.drifted]

    assert drifted() == ["state"]
    assert drifted(features=tuple(own)) == []
    assert drifted(max_drift=None) == []


def test_splits_are_named_when_a_finding_is_not_about_all_of_them() -> None:
    good, bad = table(1), table(2, age=[None] * 2400 + ages()[:1600])
    report = inspect(
        {"train": tfdv.validate_statistics(good, SCHEMA), "test": tfdv.validate_statistics(bad, SCHEMA)},
        {"train": good.datasets[0], "test": bad.datasets[0]},
        SCHEMA,
        DATASET,
    )
    assert report.stops == ("age: 60.0 % missing, at most 10.0 % allowed (test)",)
    skew = {d.column: d.value for d in report.skew}
    assert skew["age"] > 0.3 > 0.01 > skew["income"]


def test_share_beyond_is_exact_where_bucket_edges_allow() -> None:
    numbers = one([float(v) for v in range(10)] * 10).num_stats
    low, high = share_beyond(numbers, 4.0, above=True)
    assert low <= 0.5 <= high


# --- the schema -----------------------------------------------------------------------------------------------------


def test_the_curated_schema_states_the_feature_table() -> None:
    by_name = {f.name: f for f in SCHEMA.feature}
    age = by_name["age"]
    assert (age.float_domain.min, age.float_domain.max) == (18, 110)
    assert age.presence.min_fraction == 0.9
    assert age.drift_comparator.jensen_shannon_divergence.threshold == 0.1
    assert by_name["state"].drift_comparator.infinity_norm.threshold == 0.1
    assert [list(d.value) for d in SCHEMA.string_domain] == [["CA", "NY", "TX"]]
    assert by_name["zip"].WhichOneof("domain_info") is None and by_name["note"].WhichOneof("domain_info") is None
    assert (by_name["converted"].int_domain.min, by_name["converted"].int_domain.max) == (0, 1)
    assert not any(by_name[f.name].HasField("shape") for f in DATASET.features)
    assert not any(by_name[n].HasField("drift_comparator") for n in ("converted", "lead_id", "created"))


def test_the_schema_survives_its_text_form_and_accepts_the_table_it_came_from() -> None:
    again = text_format.Parse(text_format.MessageToString(SCHEMA), schema_pb2.Schema())
    assert again == SCHEMA
    assert not tfdv.validate_statistics(BASELINE, again).anomaly_info


def test_a_category_seen_in_one_split_only_is_known_and_an_inferred_schema_serves_as_well() -> None:
    other = table(2, state=[b"AK"] * ROWS)
    assert list(curate_schema([BASELINE, other], DATASET).string_domain[0].value) == ["AK", "CA", "NY", "TX"]
    assert curate_schema(tfdv.infer_schema(BASELINE), DATASET).string_domain == SCHEMA.string_domain


def test_a_vocabulary_the_statistics_hold_only_in_part_stays_open() -> None:
    many = table(1, state=[b"s%04d" % i for i in range(ROWS)])
    schema = curate_schema(many, DATASET)
    assert not schema.string_domain
    assert next(line for line in describe_schema(schema) if line.startswith("state")).split(", ")[1] == "any value"


def test_a_limit_that_no_float32_holds_does_not_refuse_its_own_value() -> None:
    dataset = Dataset(
        name="d", files=("d",), label=Label(column="y"), features=(Feature(name="x", kind=Kind.NUMERIC, max=0.1),)
    )
    batch = pa.RecordBatch.from_arrays([column([0.1] * 20, pa.float32())], ["x"])
    statistics = generate_statistics_in_memory(batch, tfdv.StatsOptions())
    assert "x" not in tfdv.validate_statistics(statistics, curate_schema(statistics, dataset)).anomaly_info


def test_descriptions_and_differences_are_for_people() -> None:
    lines = describe_schema(SCHEMA)
    assert lines[0] == "age        number, from 18 to 110, at most 10 % missing, drift at most 0.1 (Jensen-Shannon)"
    assert lines[2] == "state      words, 3 values: 'CA', 'NY', 'TX', required, drift at most 0.1 (L-infinity)"
    after = schema_pb2.Schema()
    after.CopyFrom(SCHEMA)
    after.feature[0].float_domain.max = 120
    after.string_domain[0].value.append("AK")
    del after.feature[1]
    assert diff_schema(SCHEMA, after) == [
        "~ age: from 18 to 110 -> from 18 to 120",
        "~ state: 1 new: 'AK'",
        "- income: number, drift at most 0.1 (Jensen-Shannon)",
    ]
    assert diff_schema(SCHEMA, SCHEMA) == []
