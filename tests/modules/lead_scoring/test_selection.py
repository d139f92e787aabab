from __future__ import annotations

import numpy as np
import pytest

from benchmarks.selection import make_table
from modules.encoding.columns import TransformedFeature
from modules.errors import ConfigError, DataError
from modules.lead_scoring.matrix import Spool
from modules.lead_scoring.selection import of_base, select
from modules.lead_scoring.settings import LeadScoringSettings, SelectionSettings

N = 1500


def column(name, source=None, monotone=0):
    return TransformedFeature(name, source or name, "numeric", 0, monotone=monotone, raw=(source or name,))


def choose(tmp_path, columns, labels=None, monotone=None, **settings):
    """Selection from columns by name; `feature:word` comes from the row `feature`."""
    matrix = np.column_stack(list(columns.values())).astype(np.float32)
    labels = np.arange(len(matrix)) % 2 if labels is None else labels
    spool = Spool(tmp_path / "train", [{"features": matrix, "label": labels}], range(matrix.shape[1]))
    features = [column(n, n.split(":")[0], (monotone or {}).get(n, 0)) for n in columns]
    return select(spool, features, LeadScoringSettings(selection=SelectionSettings(**settings), nthread=2))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    strong, weak, noise = rng.normal(size=(3, N))
    words = rng.random((N, 3)) < 0.3
    odds = 2 * strong + 0.8 * weak + 2 * words[:, 0]
    labels = (rng.random(N) < 1 / (1 + np.exp(-odds))).astype(int)
    columns = {"strong": strong, "noise": noise, "weak": weak}
    return columns | {f"text:{w}": words[:, k] for k, w in enumerate("abc")}, labels


def test_nothing_is_selected_unless_asked_for(tmp_path):
    assert select(None, [column("a")], LeadScoringSettings()) is None


def test_useless_columns_go_with_the_reason(tmp_path):
    rng = np.random.default_rng(0)
    a, rare = rng.normal(size=200), np.where(np.arange(200) < 3, 1.0, np.nan)
    columns = {"a": a, "one": np.full(200, 7.0), "rare": rare, "copy": a, "cents": 100 * a, "falling": -a, "b": a**2}
    columns |= {"empty": np.full(200, np.nan), "flag": np.where(np.arange(200) < 3, np.nan, 1.0)}
    found = choose(tmp_path, columns, shadows=False, max_missing=0.98)
    assert found.kept == ("a", "b", "flag")
    assert [(d.name, d.reason, d.like, d.figures) for d in found.dropped] == [
        ("one", "constant", None, {"value": 7.0}),
        ("rare", "missing", None, {"share": 0.985}),
        ("copy", "duplicate", "a", {}),
        ("cents", "duplicate", "a", {}),
        ("falling", "duplicate", "a", {}),
        ("empty", "missing", None, {"share": 1.0}),
    ]
    assert found.dropped_features == ("one", "rare", "copy", "cents", "falling", "empty")
    assert (found.ranking, found.rounds, found.threshold) == ((), 0, None)


def test_a_column_with_a_constraint_of_its_own_is_no_duplicate(tmp_path):
    a = np.arange(50.0)
    found = choose(tmp_path, {"a": a, "b": a, "c": a}, monotone={"b": 1, "c": 1}, shadows=False)
    assert found.kept == ("a", "b")
    assert found.dropped[0].like == "b"


def test_what_does_not_beat_the_shadows_goes(tmp_path, data):
    found = choose(tmp_path, *data)
    assert found.kept == ("strong", "weak", "text:a", "text:b", "text:c")
    (noise,) = found.dropped
    assert (noise.name, noise.reason) == ("noise", "shadows")
    assert noise.figures["hits"] < found.needed == 6
    assert [unit.name for unit in found.ranking] == ["strong", "text", "weak", "noise"]
    assert [unit.kept for unit in found.ranking] == [True, True, True, False]
    assert found.ranking[1].columns == ("text:a", "text:b", "text:c")
    assert found.ranking[2].score > found.threshold > found.ranking[3].score
    assert found.rows == N


def test_columns_can_be_judged_one_by_one(tmp_path, data):
    found = choose(tmp_path, *data, unit="column")
    assert found.kept == ("strong", "weak", "text:a")
    assert found.dropped_features == ("noise",)  # of the text a column is left


def test_top_k_keeps_the_strongest_rows_of_the_feature_table(tmp_path, data):
    found = choose(tmp_path, *data, top_k=2)
    assert found.kept == ("strong", "text:a", "text:b", "text:c")
    assert [(d.name, d.reason) for d in found.dropped] == [("noise", "top_k"), ("weak", "top_k")]


def test_what_must_stay_stays(tmp_path, data):
    assert choose(tmp_path, *data, always=("noise",)).dropped == ()
    with pytest.raises(ConfigError, match=r"always: 'nois' is no row of the feature table; the rows are strong, noise"):
        choose(tmp_path, *data, always=("nois",))


def test_the_strongest_stays_even_if_all_is_noise(tmp_path):
    rng = np.random.default_rng(1)
    found = choose(tmp_path, {f"n{k}": rng.normal(size=400) for k in range(4)}, rng.integers(0, 2, 400))
    assert len(found.kept) == 1
    assert found.kept[0] == found.ranking[0].name


def test_no_column_at_all_is_an_error(tmp_path):
    with pytest.raises(DataError, match="all 2 columns of the training part are constant or missing"):
        choose(tmp_path, {"a": np.ones(10), "b": np.full(10, np.nan)})


def test_the_sample_is_capped_and_seeded(tmp_path, data):
    first, second = (choose(tmp_path, *data, max_rows=500) for _ in range(2))
    assert first == second
    assert first.rows == 500


def test_selection_survives_its_file(tmp_path, data):
    found = choose(tmp_path, *data)
    assert type(found).model_validate_json(found.to_json()) == found


def test_the_summary_names_what_went_and_why(tmp_path, data):
    columns, labels = data
    more = {"copy": columns["strong"], "one": np.ones(N), "empty": np.full(N, np.nan), "text:d": columns["text:a"]}
    assert choose(tmp_path, columns | more, labels).lines() == [
        "selected   5 of 10 columns; ranked in 20 rounds against random shadows, 1,500 rows",
        "dropped    no better than random: noise; repeats another: copy; one value only: one; "
        "nearly always missing: empty; 1 column of text",
    ]
    many = choose(tmp_path, {f"n{k}": np.full(9, float(k)) for k in range(10)} | {"a": np.arange(9)}, shadows=False)
    assert many.lines() == [
        "selected   1 of 11 columns",
        "dropped    one value only: n0, n1, n2, n3, n4, n5, n6, n7 and 2 more",
    ]


def test_a_continued_booster_keeps_its_columns():
    features = [column("a[0]"), column("b"), column("c")]
    names = ["a(0)", "b", "c"]
    found = of_base(features, names, ["a(0)", "c"])
    assert found.kept == ("a[0]", "c")
    assert [(d.name, d.reason) for d in found.dropped] == [("b", "base_model")]
    assert of_base(features, names, names) is None
    with pytest.raises(ConfigError, match="knows columns that this run does not have: z"):
        of_base(features, names, ["b", "z"])


@pytest.mark.slow
def test_useless_columns_of_the_marketplace_go_and_the_ten_strongest_features_stay(tmp_path):
    table = make_table(20_000, 1)
    assert len(table.useless) == 25
    spool = table.spool(tmp_path / "train", slice(0, 13_000))
    found = select(spool, table.features, LeadScoringSettings(selection=SelectionSettings(), nthread=2))
    gone = set(found.dropped_features)
    assert len(gone & table.useless) >= 0.9 * 25
    assert not gone & set(table.strongest)
    by_reason = {
        reason: {d.source for d in found.dropped if d.reason == reason} for reason in ("duplicate", "constant")
    }
    assert by_reason == {"duplicate": {"copy", "other_unit", "other_name"}, "constant": {"constant"}}
