"""The exported SavedModel: what it answers, in both loaders, and how that follows from its parts.

One model of two networks is looked at by nearly all tests, since each SavedModel takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import journey_examples
import numpy as np
import policy_reference
import pytest
from journey_examples import DATASET, LENGTH, example, random_rows
from scipy import special

from modules.features import Kind
from modules.journeys import names
from modules.journeys.dataset import Outcome
from modules.recommendation import baselines
from modules.recommendation.calibration import Calibration
from modules.recommendation.export import RecommendationModel, column_specs
from modules.recommendation.model import build_network
from modules.recommendation.predict import predict
from modules.recommendation.read import decisions, read_sequences
from modules.recommendation.settings import ActionRule, PolicySettings, RecommendationSettings
from modules.recommendation.transform_layout import layout as layout_of
from modules.saved_model import save
from tests.modules import sessions

OUTCOMES = DATASET.model_copy(update={"outcome": Outcome(action="visit")})
SETTINGS = RecommendationSettings(
    embedding_dim=16, num_heads=2, num_layers=2, hidden_layers=(16,), text_words=3, seed=4
)
POLICY = PolicySettings(
    kind="mix",
    floor=0.1,
    rules=(
        ActionRule(forbid=("call",), after={"channel": ("fax",)}),
        ActionRule(
            forbid=("visit", "text"), after={"action": ("email",), "channel": ("web", "")}, last_event_only=True
        ),
        ActionRule(forbid=("email",), where={"source": ("portal", "")}),
    ),
)
CALIBRATION = Calibration(temperature=0.7, slope=1.5, bias=-0.5, decisions=9, outcomes=9)


@dataclass(frozen=True)
class Exported:
    model: RecommendationModel
    path: Path
    session: sessions.GraphSession
    rows: list[dict[str, Any]]
    records: np.ndarray
    actions: tuple[str, ...]

    def __call__(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        return self.session(signature, **inputs)


def requests(n: int, seed: int) -> list[dict[str, Any]]:
    """Random decisions, some with a list of allowed actions; only in examples may a list end in ''."""
    rng = np.random.default_rng(seed)
    rows = random_rows(n, seed)
    for row in rows:
        if rng.random() < 0.3:
            known = [*journey_examples.ACTIONS, b"", b"unheard of"]
            row[names.ALLOWED_ACTIONS] = [known[i] for i in rng.integers(0, len(known), rng.integers(0, 5))]
        if row[names.HISTORY_ACTION] and not row[names.HISTORY_ACTION][-1]:
            row[names.HISTORY_ACTION][-1] = b"call"
    return rows


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Transform graph, and networks of two and of one block with random weights that tell inputs apart."""
    graph, output, _ = journey_examples.transformed(tmp_path_factory)
    layout = layout_of(journey_examples.CONFIG, output)
    networks = [build_network(layout, SETTINGS.model_copy(update={"num_layers": layers})) for layers in (2, 1)]
    for seed, network in enumerate(networks):
        rng = np.random.default_rng(seed)
        network.set_weights([w + rng.normal(0, 0.3, w.shape).astype(w.dtype) for w in network.get_weights()])
    examples = [str(Path(graph).parent / "data" / "Split-train" / "*")]
    learned = baselines.learn(read_sequences(examples, output, layout, causal=True), len(layout.actions), layout.length)
    return output, layout, networks, learned, examples


@pytest.fixture(scope="module")
def exported(parts, tmp_path_factory) -> Exported:
    output, layout, networks, learned, _ = parts
    model = RecommendationModel(output, networks, layout, OUTCOMES, POLICY, CALIBRATION, learned)
    path = tmp_path_factory.mktemp("export") / "model"
    save(model, model.serving_functions, path, {"note.txt": "beside"})
    rows = requests(64, 11)
    records = np.array([example(row) for row in rows], object)
    return Exported(model, path, sessions.GraphSession(path), rows, records, layout.actions)


@pytest.fixture(scope="module")
def native(exported) -> Iterator[sessions.NativeSession]:
    session = sessions.NativeSession(exported.path)
    yield session
    session.close()


def columns_of(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The inputs of predict_columns, padded."""
    found: dict[str, np.ndarray] = {}
    for name, spec in column_specs(OUTCOMES).items():
        kind = spec.dtype.as_numpy_dtype
        missing = b"" if spec.dtype.name == "string" else np.nan if spec.dtype.is_floating else 0
        values = [row.get(name) for row in rows]
        if len(spec.shape) == 1:
            found[name] = np.array([missing if v is None else v for v in values], kind)
        else:
            width = max((len(v or ()) for v in values), default=0)
            cells = [[*(v or ()), *[missing] * (width - len(v or ()))] for v in values]
            found[name] = np.array(cells, kind).reshape(len(rows), width)
    return found


def by_action(found: dict[str, np.ndarray], row: int) -> dict[bytes, tuple[float, float]]:
    cells = zip(*(found[name][row].tolist() for name in ("actions", "probabilities", "priorities")), strict=True)
    return {action: (p, v) for action, p, v in cells if action}


def test_what_is_served_follows_from_the_distribution_rules_and_ranking(exported):
    found = exported("serving_default", examples=exported.records)
    tables = exported("distribution", examples=exported.records)
    for row, request in enumerate(exported.rows):
        allowed = policy_reference.allowed_one(POLICY, exported.actions, request)
        shares = policy_reference.renormalised(tables["probabilities"][row].tolist(), allowed)
        wanted = policy_reference.rank_one(POLICY, shares, tables["conversion"][row].tolist(), allowed)
        k, rest = len(wanted), len(exported.actions) - len(wanted)
        assert found["actions"][row].tolist() == [exported.actions[i].encode() for i, _, _ in wanted] + [b""] * rest
        assert found["next_best_action"][row] == (found["actions"][row][0] if k else b"")
        np.testing.assert_allclose(found["probabilities"][row][:k], [p for _, p, _ in wanted], rtol=1e-5)
        np.testing.assert_allclose(found["priorities"][row][:k], [v for _, _, v in wanted], rtol=1e-5)
        assert not found["probabilities"][row][k:].any() and not found["priorities"][row][k:].any()
    # The draw holds what the test is about.
    shown = (found["actions"] != b"").sum(axis=1)
    assert {0, len(exported.actions)} < set(shown.tolist()) and len(set(shown.tolist())) > 4


def test_the_distribution_is_the_calibrated_mean_of_the_networks_on_transformed_decisions(parts, exported, tmp_path):
    output, layout, networks, _, _ = parts
    rows = [row for row in exported.rows if row[names.NEXT_ACTION] in journey_examples.ACTIONS]
    records = journey_examples.write_examples(tmp_path, rows, "test")
    sequences = decisions([f"{tmp_path}/Split-test/*"], output, layout)
    found = predict(networks, sequences)
    alone = [predict([network], sequences) for network in networks]
    mean = np.mean([special.softmax(one.action_logits, axis=1) for one in alone], axis=0)
    np.testing.assert_allclose(special.softmax(found.action_logits, axis=1), mean, atol=1e-5)
    mean = np.mean([special.expit(one.conversion_logits) for one in alone], axis=0)
    np.testing.assert_allclose(special.expit(found.conversion_logits), mean, atol=1e-6)
    tables = exported("distribution", examples=np.array(records, object))
    assert tables["probabilities"].dtype == tables["conversion"].dtype == np.float32
    by_length = np.argsort([min(len(r[names.HISTORY_ACTION] or ()), LENGTH) for r in rows], kind="stable")
    np.testing.assert_allclose(
        tables["probabilities"][by_length], CALIBRATION.probabilities(found.action_logits), atol=1e-6
    )
    taken = tables["conversion"][by_length][np.arange(len(rows)), found.action]
    np.testing.assert_allclose(taken, CALIBRATION.conversion(found.conversion_logits), atol=1e-6)
    np.testing.assert_allclose(tables["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert tables["probabilities"].std(axis=0).max() > 0.02  # the network does tell decisions apart


def test_the_library_of_tensorflow_serving_gives_the_same_answers(exported, native):
    for signature in ("serving_default", "distribution", "evaluation_features"):
        found, wanted = native(signature, examples=exported.records), exported(signature, examples=exported.records)
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_array_equal(found[name], value)
    columns = columns_of(exported.rows)
    found, wanted = native("predict_columns", **columns), exported("predict_columns", **columns)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("rows", [0, 1, 7, 64])
def test_a_decision_does_not_depend_on_the_batch_it_travels_with(exported, rows):
    whole = exported("serving_default", examples=exported.records)
    part = exported("serving_default", examples=exported.records[:rows])
    tables = exported("distribution", examples=exported.records[:rows])
    assert part["actions"].shape == (rows, len(exported.actions)) == tables["conversion"].shape
    assert part["next_best_action"].tolist() == whole["next_best_action"][:rows].tolist()
    for row in range(rows):
        found, wanted = by_action(part, row), by_action(whole, row)
        assert found.keys() == wanted.keys()
        for action, (p, v) in wanted.items():
            assert found[action] == (pytest.approx(p, abs=1e-5), pytest.approx(v, abs=1e-3))


def test_columns_and_examples_give_the_same_answers(exported):
    found = exported("predict_columns", **columns_of(exported.rows))
    wanted = exported("serving_default", examples=exported.records)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
    empty = exported("predict_columns", **columns_of([]))
    assert empty["actions"].shape == (0, len(exported.actions)) and empty["next_best_action"].shape == (0,)


def test_lists_of_columns_may_differ_in_width(exported):
    rows = exported.rows[:8]
    columns = columns_of(rows)
    wanted = exported("predict_columns", **columns)
    padding = {b"": "history_channel", 0: names.HISTORY_TIME}
    for missing, name in padding.items():
        more = np.full((len(rows), 3), missing, columns[name].dtype)
        columns[name] = np.concatenate([columns[name], more], axis=1)
    columns[names.ALLOWED_ACTIONS] = np.concatenate([np.full((8, 1), b"", object), columns[names.ALLOWED_ACTIONS]], 1)
    found = exported("predict_columns", **columns)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_request_may_be_empty_or_hold_only_unknown_words(exported):
    unknown = {names.HISTORY_ACTION: [b"levitate"] * 2, "source": b"moon", "never seen": [1.0, 2.0]}
    records = np.array([b"", example(unknown), example({names.HISTORY_ACTION: []})], object)
    found = exported("serving_default", examples=records)
    assert by_action(found, 0) == by_action(found, 2) != by_action(found, 1)
    # POLICY forbids email where the source is missing.
    assert set(by_action(found, 0)) == {a.encode() for a in exported.actions} - {b"email"}
    assert set(by_action(found, 1)) == {a.encode() for a in exported.actions}
    assert sum(p for p, _ in by_action(found, 0).values()) == pytest.approx(1, abs=1e-5)


def test_of_a_long_history_the_network_sees_the_end_and_the_rules_everything(exported):
    start = 1_700_000_000
    actions = [b"visit"] + [b"text"] * (LENGTH + 2)
    channels = [b"fax"] + [b"phone"] * (LENGTH + 2)
    times = [start + 60 * i for i in range(len(actions))]

    def request(last: int) -> bytes:
        lists = {names.HISTORY_ACTION: actions, names.HISTORY_TIME: times, names.history("channel"): channels}
        return example({k: v[-last:] for k, v in lists.items()} | {names.JOURNEY_START: start})

    records = np.array([request(len(actions)), request(LENGTH)], object)
    tables = exported("distribution", examples=records)
    np.testing.assert_allclose(tables["probabilities"][0], tables["probabilities"][1], atol=1e-6)
    found = exported("serving_default", examples=records)
    assert b"call" not in by_action(found, 0) and b"call" in by_action(found, 1)


def test_only_allowed_actions_come_back(exported):
    row = {"source": b"friend", names.ALLOWED_ACTIONS: [b"visit", b"call", b"unheard of"]}
    none = {"source": b"portal", names.ALLOWED_ACTIONS: [b"email"]}
    found = exported("serving_default", examples=np.array([example(row), example(none)], object))
    assert set(by_action(found, 0)) == {b"visit", b"call"}
    assert sum(p for p, _ in by_action(found, 0).values()) == pytest.approx(1)
    assert by_action(found, 1) == {} and found["next_best_action"][1] == b""


def test_the_evaluation_gets_labels_and_naive_predictions(parts, exported):
    output, layout, _, learned, examples = parts
    sequences = decisions(examples, output, layout)
    records = np.array([example(row) for row in random_rows(400)], object)
    found = exported("evaluation_features", examples=records)
    assert {name: value.dtype for name, value in found.items()} == dict.fromkeys(found, np.dtype(np.int64))
    wanted = learned(sequences.event_codes[:, :, 0], sequences.length)
    for name in baselines.NAMES:
        np.testing.assert_array_equal(found[name], wanted[name])
    words = {a.encode(): i for i, a in enumerate(layout.actions)}
    assert found["label"].tolist() == [words.get(row[names.NEXT_ACTION] or b"?", -1) for row in random_rows(400)]
    unknown = exported("evaluation_features", examples=np.array([example({names.NEXT_ACTION: b"levitate"})], object))
    assert unknown["label"].tolist() == [-1]
    assert exported("evaluation_features", examples=records[:0])["prefix"].shape == (0,)


def test_without_outcomes_priorities_are_zero_and_top_k_cuts(parts, tmp_path):
    """In a model of one network."""
    output, layout, networks, learned, examples = parts
    policy = PolicySettings(kind="likelihood", top_k=3, allow=("call", "email", "visit", "text"))
    calibration = Calibration(temperature=1.0, decisions=9)
    model = RecommendationModel(output, networks[1:], layout, DATASET, policy, calibration, learned)
    save(model, model.serving_functions, tmp_path / "model", {})
    session = sessions.GraphSession(tmp_path / "model")
    found = session("serving_default", examples=np.array([b"", b""], object))
    assert found["actions"].shape == (2, 3)
    assert set(found["actions"][0].tolist()) < {b"call", b"email", b"visit", b"text"}
    assert (np.diff(found["probabilities"], axis=1) <= 0).all() and found["probabilities"].sum(axis=1).max() < 1
    assert not found["priorities"].any()
    sequences = decisions(examples, output, layout)
    known = sequences.take(sequences.next_action >= 0)
    records = np.array([example(row) for row in random_rows(400)], object)[sequences.next_action >= 0]
    tables = session("distribution", examples=records)
    assert not tables["conversion"].any()
    logits = predict(networks[1:], known).action_logits
    found = tables["probabilities"][np.argsort(known.length, kind="stable")]
    np.testing.assert_allclose(found, special.softmax(logits, axis=1), atol=1e-5)


def test_only_stock_ops_and_every_asset_inside(parts, exported):
    ops = {n.op for n in exported.session.graph_def.node}
    for function in exported.session.graph_def.library.function:
        ops |= {n.op for n in function.node_def}
    assert not {op for op in ops if op in ("PyFunc", "PyFuncStateless", "EagerPyFunc") or "Decode" in op}
    assert not {op for op in ops if op.startswith(("StatelessRandom", "Random"))}  # no dropout left
    assert (exported.path / "assets.extra" / "note.txt").read_text() == "beside"
    content = b"".join(p.read_bytes() for p in exported.path.rglob("*") if p.is_file())
    assert str(Path(parts[4][0]).parents[2]).encode() not in content


def test_signatures_have_the_shapes_and_types_of_the_contract(exported):
    inputs = {
        name: {k: (v.dtype, len(v.tensor_shape.dim)) for k, v in signature.inputs.items()}
        for name, signature in exported.session.signatures.items()
        if signature.inputs
    }
    text, number, integer = 7, 1, 9
    one = {"examples": (text, 1)}
    assert {k: v for k, v in inputs.items() if k != "predict_columns"} == {
        "serving_default": one,
        "distribution": one,
        "evaluation_features": one,
        "explain": one,
    }
    wanted = {f.name: (number if f.kind is Kind.NUMERIC else text, 1) for f in DATASET.features}
    wanted |= {names.history(f.name): (number if f.kind is Kind.NUMERIC else text, 2) for f in DATASET.events.features}
    wanted |= {names.HISTORY_ACTION: (text, 2), names.HISTORY_TIME: (integer, 2), names.ALLOWED_ACTIONS: (text, 2)}
    wanted |= {names.HISTORY_LENGTH: (integer, 1), names.JOURNEY_START: (integer, 1)}
    assert inputs["predict_columns"] == wanted


def test_one_decision_takes_a_few_milliseconds(exported, native):
    times = []
    for _ in range(60):
        start = time.perf_counter()
        native("serving_default", examples=exported.records[:1])
        times.append(time.perf_counter() - start)
    assert np.median(times[10:]) < 0.02
