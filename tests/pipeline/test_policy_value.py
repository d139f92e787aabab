"""PolicyValue through its executor: a small SavedModel, hand-made decisions, figures a person can check."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import tensorflow as tf
from tfx import types
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts

from modules.errors import DataError
from modules.journeys.dataset import EventTable, JourneyDataset, Outcome
from modules.off_policy.replay import value_of
from modules.off_policy.report import ActionShare, PolicyValueReport
from modules.off_policy.settings import PolicyValueSettings
from pipeline.components.policy_value.component import PolicyValue
from pipeline.components.policy_value.executor import Executor

ACTIONS = ("call", "email", "wait")
CONVERSION = {"portal": (0.2, 0.1, 0.3), "referral": (0.1, 0.4, 0.2)}
LIKELIHOOD = {"portal": (0.5, 0.3, 0.2), "referral": (0.25, 0.5, 0.25)}


class Recommender(tf.Module):
    """Knows a lead's source only; by value wait is best for `portal`, email for `referral`; nothing goes for others.

    `best` replaces the next best action.
    """

    def __init__(self, best: str | None = None) -> None:
        super().__init__()
        self.actions = tf.Variable(list(ACTIONS), trainable=False)
        self.best = best

    def rows(self, examples):
        parsed = tf.io.parse_example(
            examples,
            {
                "source": tf.io.FixedLenFeature([], tf.string, ""),
                "next_action": tf.io.FixedLenFeature([], tf.string, ""),
            },
        )
        sources = tf.constant(list(CONVERSION))
        index = tf.argmax(tf.cast(parsed["source"][:, None] == sources[None], tf.int32), axis=1)
        known = tf.reduce_any(parsed["source"][:, None] == sources[None], axis=1)
        tables = (tf.gather(tf.constant(list(t.values())), index) for t in (CONVERSION, LIKELIHOOD))
        return known, parsed["next_action"], *tables

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serving_default(self, examples):
        known, _, conversion, likelihood = self.rows(examples)
        order = tf.argsort(conversion, direction="DESCENDING")
        actions = tf.where(known[:, None], tf.gather(self.actions, order), "")
        mask = tf.cast(known, tf.float32)[:, None]
        return {
            "actions": actions,
            "probabilities": tf.gather(likelihood, order, batch_dims=1) * mask,
            "priorities": 100 * tf.gather(conversion, order, batch_dims=1) * mask,
            "next_best_action": actions[:, 0] if self.best is None else tf.fill(tf.shape(actions)[:1], self.best),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def distribution(self, examples):
        _, _, conversion, likelihood = self.rows(examples)
        return {"probabilities": likelihood, "conversion": conversion}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def evaluation_features(self, examples):
        _, action, _, _ = self.rows(examples)
        hit = tf.cast(action[:, None] == self.actions[None], tf.int64)
        label = tf.where(tf.reduce_any(hit > 0, axis=1), tf.argmax(hit, axis=1), -1)
        return {"label": label}


def save(folder: Path, model: Recommender, names: tuple[str, ...] = ()) -> Path:
    names = names or ("serving_default", "distribution", "evaluation_features")
    tf.saved_model.save(model, str(folder), signatures={name: getattr(model, name) for name in names})
    return folder


def example(lead: str, source: str, action: str, outcome: int | None = None, propensity: float | None = None) -> bytes:
    values: dict[str, tf.train.Feature] = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        for name, value in (("lead_id", lead), ("source", source), ("next_action", action))
    }
    if outcome is not None:
        values["outcome"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[outcome]))
    if propensity is not None:
        values["propensity"] = tf.train.Feature(float_list=tf.train.FloatList(value=[propensity]))
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString(deterministic=True)


# The new policy waits with A (portal) and mails B (referral); for C everything is forbidden.
DECISIONS = [
    example("A", "portal", "wait", 1, 0.25),  # w = 4, w (y - q_hat) = 4 * 0.7
    example("A", "portal", "call", 1, 0.5),  # another action
    example("B", "referral", "email", 0, 0.5),  # w = 2, w (y - q_hat) = 2 * -0.4
    example("C", "walk_in", "call", 1, 0.125),  # does what was done: worth 1
    example("B", "referral", "fax", 0, 0.5),  # an action the model has never seen
    example("D", "portal", "wait", None, 0.25),
    example("A", "portal", "wait", 1),
    example("A", "portal", "wait", 1, 0.0),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recommender")
    return save(folder / "Format-Serving", Recommender()).parent


def write(folder: Path, rows: list[bytes], name: str = "data-0.gz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / name), "GZIP" if name.endswith(".gz") else "") as writer:
        for row in rows:
            writer.write(row)
    return folder


def dataset(propensity: str | None) -> JourneyDataset:
    return JourneyDataset(
        name="journeys",
        events=EventTable(files=("events.csv",), lead="lead_id", time="time", action="action", propensity=propensity),
        outcome=Outcome(action="sale"),
    )


def artifact(kind: type[types.Artifact], uri: Path) -> types.Artifact:
    result = kind()
    result.uri = str(uri)
    uri.mkdir(parents=True, exist_ok=True)
    return result


def value(
    model: Path, folder: Path, rows: list[bytes], propensity: str | None = "propensity", **settings: float | None
) -> tuple[types.Artifact, PolicyValueReport]:
    write(folder / "examples" / "Split-test", rows)
    examples = artifact(standard_artifacts.Examples, folder / "examples")
    examples.split_names = artifact_utils.encode_split_names(["train", "test"])
    output = artifact(simple_artifacts.Metrics, folder / "value")
    Executor().Do(
        {"examples": [examples], "model": [artifact(standard_artifacts.Model, model)]},
        {"policy_value": [output]},
        {
            "dataset": dataset(propensity).model_dump_json(),
            "settings": PolicyValueSettings.model_validate(settings).model_dump_json(),
            "split": "test",
        },
    )
    return output, PolicyValueReport.read(output.uri)


def test_logged_propensities_give_the_figures_by_hand(model: Path, tmp_path: Path) -> None:
    output, report = value(model, tmp_path, DECISIONS)
    assert (report.examples, report.without_outcome, report.without_propensity) == (8, 1, 2)
    assert (report.propensities, report.policy, report.without_recommendation) == ("logged", "next best action", 1)
    found = report.valuation
    assert found is not None and report.headline is not None
    assert (found.decisions, found.leads, found.level) == (5, 3, 0.95)
    assert found.logging.value == pytest.approx(3 / 5)
    # v_hat: 0.3, 0.3, 0.4, (C: its outcome) 1, 0.4
    assert found.estimates["dm"].value.value == pytest.approx(2.4 / 5)
    assert found.estimates["ips"].value.value == pytest.approx((4 + 1) / 5)
    assert found.estimates["snips"].value.value == pytest.approx((4 + 1) / 7)
    assert report.headline.value.value == pytest.approx((2.4 + 2.8 - 0.8) / 5)
    assert (found.weights.matched, found.weights.largest) == (3, 4)
    assert found.weights.agreement == pytest.approx((1 + 1 + 0.125) / 5)
    assert output.get_float_custom_property("value") == pytest.approx(0.88)
    assert output.get_float_custom_property("uplift") == pytest.approx(0.28)
    assert output.get_int_custom_property("decisions") == 5
    assert output.get_string_custom_property("propensities") == "logged"
    assert output.type_name == "Metrics"


def test_the_report_tells_what_was_done_and_what_is_recommended(model: Path, tmp_path: Path) -> None:
    _, report = value(model, tmp_path, DECISIONS)
    assert report.actions == (
        ActionShare("call", 2 / 5, 0.0),
        ActionShare("email", 1 / 5, 2 / 5),
        ActionShare("wait", 1 / 5, 2 / 5),
        ActionShare("fax", 1 / 5, 0.0),
    )
    # The model ranks what was done in three decisions: 0.3, 0.2 and 0.4 predicted; two of them converted.
    assert report.model.decisions == 3
    assert report.model.predicted == pytest.approx(0.3)
    assert report.model.observed == pytest.approx(2 / 3)


def test_lines_for_people(model: Path, tmp_path: Path) -> None:
    _, report = value(model, tmp_path, DECISIONS)
    lines = report.lines()
    assert lines[0].startswith("policy value  logging 0.600, next best action 0.880 (95 % ")
    assert ", doubly robust), +46.7% (" in lines[0]
    assert lines[1].strip() == ("3 of 5 decisions of 3 leads matched, effective sample 2, mean weight 1.40")
    assert lines[2].strip() == "inverse propensity 1.000, self-normalised 0.714, model alone 0.480"
    assert lines[3].strip() == "left out: 1 outcome not known, 2 propensity not logged"
    assert lines[4].strip().startswith("careful: effective sample of 2 decisions, fewer than 100")
    assert len(lines) == 5


def test_without_logged_propensities_the_models_own_likelihood_stands_in_and_weights_are_cut(
    model: Path, tmp_path: Path
) -> None:
    _, report = value(model, tmp_path, DECISIONS, propensity=None, max_estimated_weight=4)
    found = report.valuation
    assert found is not None
    # `fax` has no likelihood and is left out; the last two decisions need no logged propensity now.
    assert (report.propensities, report.without_outcome, report.without_propensity) == ("estimated", 1, 1)
    # wait 1 / 0.2 = 5, cut at 4, in three decisions; call 0; email 1 / 0.5 = 2; C 1
    assert found.max_weight == 4
    assert found.weights.largest == 4
    assert found.weights.cut == pytest.approx(3 / 6)
    assert found.weights.bias_bound == pytest.approx(3 / 6)
    assert found.estimates["ips"].value.value == pytest.approx((3 * 4 + 1) / 6)
    assert found.weights.mean.value == pytest.approx((3 * 5 + 2 + 1) / 6)
    assert report.lines()[1].endswith("mean weight 3.00, 50.0% of weights cut at 4, bias up to 0.500")
    assert report.lines()[3].strip() == "propensities estimated by the model, none were logged: take it as a hint"


def test_temperature_makes_the_new_policy_a_stochastic_one(model: Path, tmp_path: Path) -> None:
    _, report = value(model, tmp_path, [DECISIONS[0], DECISIONS[2]], temperature=0.1)
    found = report.valuation
    assert found is not None
    e = math.e
    wait = e**3 / (e**3 + e**2 + e)  # conversion 0.3, 0.2, 0.1
    email = e**4 / (e**4 + e**2 + e)  # 0.4, 0.2, 0.1
    assert report.policy == "priorities (temperature 0.1)"
    assert found.estimates["ips"].value.value == pytest.approx(4 * wait / 2, rel=1e-5)
    assert found.weights.mean.value == pytest.approx((4 * wait + 2 * email) / 2, rel=1e-5)
    v_portal = (0.3 * e**3 + 0.2 * e**2 + 0.1 * e) / (e**3 + e**2 + e)
    v_referral = (0.4 * e**4 + 0.2 * e**2 + 0.1 * e) / (e**4 + e**2 + e)
    assert found.estimates["dm"].value.value == pytest.approx((v_portal + v_referral) / 2, rel=1e-5)
    assert {a.action: a.recommended for a in report.actions}["wait"] > 0.3


def test_a_split_without_outcomes_is_reported_and_stops_nothing(model: Path, tmp_path: Path) -> None:
    output, report = value(model, tmp_path / "young", [DECISIONS[5]])
    assert report.valuation is None and report.headline is None
    assert report.lines() == [
        "policy value  not estimated: none of the 1 decisions of the test part can be used (1 outcome not known)"
    ]
    assert output.get_string_custom_property("propensities") == "logged"
    _, empty = value(model, tmp_path / "empty", [])
    assert (empty.examples, empty.valuation) == (0, None)


def test_batches_and_files_do_not_change_the_figures(model: Path, tmp_path: Path) -> None:
    write(tmp_path, DECISIONS[:3])
    write(tmp_path, DECISIONS[3:], "data-1")
    one, other = (
        value_of(
            model / "Format-Serving",
            [str(tmp_path / "data-*")],
            "lead_id",
            PolicyValueSettings(),
            logged=True,
            batch_rows=rows,
        )
        for rows in (1000, 2)
    )
    assert one == other


def test_a_report_survives_its_file_even_where_figures_cannot_be_known(model: Path, tmp_path: Path) -> None:
    _, report = value(model, tmp_path, [DECISIONS[1], DECISIONS[4]])
    assert report.valuation is not None
    assert math.isnan(report.valuation.estimates["dr"].value.value)
    assert "model alone), " in report.lines()[0]
    report.write(tmp_path)
    assert repr(PolicyValueReport.read(tmp_path)) == repr(report)
    with pytest.raises(DataError, match=r"expected value\.json in"):
        PolicyValueReport.read(tmp_path / "examples")


def test_a_model_that_breaks_the_contract_is_named(tmp_path: Path) -> None:
    examples = str(write(tmp_path / "examples", DECISIONS) / "*")
    half = save(tmp_path / "half", Recommender(), ("serving_default",))
    with pytest.raises(DataError, match="half has no signature distribution, evaluation_features"):
        value_of(half, [examples], "lead_id", PolicyValueSettings(), logged=False)
    stray = save(tmp_path / "stray", Recommender(best="fax"))
    with pytest.raises(DataError, match="next best action of 5 decisions is not, exactly once, among their ranked"):
        value_of(stray, [examples], "lead_id", PolicyValueSettings(), logged=True)
    with pytest.raises(DataError, match="no examples at nowhere"):
        value_of(half, ["nowhere/*"], "lead_id", PolicyValueSettings(), logged=True)


def test_the_component_fits_into_a_pipeline() -> None:
    node = PolicyValue(
        examples=types.Channel(type=standard_artifacts.Examples),
        model=types.Channel(type=standard_artifacts.Model),
        dataset=dataset("propensity"),
        settings=PolicyValueSettings(level=0.9),
    )
    assert node.outputs["policy_value"].type is simple_artifacts.Metrics
    assert JourneyDataset.model_validate_json(node.exec_properties["dataset"]) == dataset("propensity")
    assert PolicyValueSettings.model_validate_json(node.exec_properties["settings"]).level == 0.9
    assert node.exec_properties["split"] == "test"
