"""`run_fn` on a Transform graph and raw examples, as TFX's Trainer calls it.

One model of two networks is looked at by all tests. Its training was killed and continued.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import journey_examples
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from modules import progress
from modules.convergence import Curves
from modules.errors import ConfigError, DataError
from modules.journeys import names
from modules.journeys.dataset import Outcome
from modules.recommendation import ensemble, trainer
from modules.recommendation.calibration import Calibration
from modules.recommendation.devices import Plan, plan
from modules.recommendation.manifest import Manifest
from modules.recommendation.model import build_network
from modules.recommendation.predict import predict
from modules.recommendation.read import decisions, read_sequences
from modules.recommendation.settings import PolicySettings, RecommendationSettings
from modules.recommendation.trainer import run_fn
from modules.recommendation.transform_layout import JourneyTransformConfig
from modules.recommendation.transform_layout import layout as layout_of
from tests.modules import sessions

SETTINGS = RecommendationSettings(
    embedding_dim=8,
    num_heads=2,
    hidden_layers=(8,),
    text_words=3,
    epochs=2,
    batch_size=128,
    learning_rate=0.01,
    ensemble=2,
)
DATASET = journey_examples.DATASET.model_copy(update={"outcome": Outcome(action="visit")})


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> str:
    return journey_examples.transformed(tmp_path_factory)[0]


@pytest.fixture(scope="module")
def examples(graph, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trainer") / "data"
    for seed, split in enumerate(("train", "validation", "calibration")):
        journey_examples.write_examples(root, journey_examples.random_rows(120, seed), split)
    return root


def arguments(graph, examples, out, settings=SETTINGS, dataset=DATASET, **custom):
    config = JourneyTransformConfig(dataset=dataset, model=settings)
    return SimpleNamespace(
        train_files=[f"{examples}/Split-train/*"],
        eval_files=[f"{examples}/Split-validation/*", f"{examples}/Split-calibration/*"],
        transform_graph_path=graph,
        serving_model_dir=str(out / "model"),
        model_run_dir=str(out / "run"),
        base_model=None,
        hyperparameters=None,
        custom_config={
            **config.to_custom_config(),
            "configuration": json.dumps({"model": "as set"}),
            "configuration_hash": "c0ffee",
            "dataset_version": "d1",
            "model_type": "recommendation",
            **custom,
        },
    )


@pytest.fixture(scope="module")
def trained(graph, examples, tmp_path_factory):
    """Killed in the last epoch of the last network, then run again."""
    out = tmp_path_factory.mktemp("trained")
    fn_args = arguments(graph, examples, out, checkpoint_dir=str(out / "checkpoints"))
    found, heard = [], []

    def train(*args, **kwargs):
        # Operation by operation: a few steps take less time than building a graph.
        tf.config.run_functions_eagerly(True)
        try:
            members = ensemble.train(*args, **kwargs)
        finally:
            tf.config.run_functions_eagerly(False)
        found.extend(members)
        return members

    def killed(done: int, total: int, text: str) -> None:
        if text.startswith("network 2 of 2, train: ") and done == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "train", train)
        try:
            progress.set_listener(killed)
            with pytest.raises(KeyboardInterrupt):
                run_fn(fn_args)
            (folder,) = (out / "checkpoints").iterdir()
            left = {path.name for path in folder.iterdir()}
            progress.set_listener(lambda *step: heard.append(step))
            run_fn(fn_args)
        finally:
            progress.set_listener(None)
    return SimpleNamespace(
        out=out,
        model=out / "model",
        manifest=Manifest.load(out / "model"),
        session=sessions.GraphSession(out / "model"),
        heard=heard,
        left=left,
        members=found,
    )


def test_manifest_tells_what_was_trained_on_what(trained, graph, examples):
    manifest = trained.manifest
    assert (manifest.model_type, manifest.configuration_hash, manifest.dataset_version) == (
        "recommendation",
        "c0ffee",
        "d1",
    )
    assert manifest.configuration == {"model": "as set"}
    assert manifest.dataset == "toy"
    assert manifest.rows["calibration"] == 120
    rows = journey_examples.random_rows(120, 0)
    assert manifest.rows["train"] == sum(row[names.TRAINING_POSITIONS] > 0 for row in rows)
    assert manifest.epochs == (2, 2) and {1, 2} >= set(manifest.best_epoch) and not manifest.refit
    assert manifest.parameters == 2 * trained.members[0].network.count_params() > 2000
    assert manifest.decisions_per_second > 0
    assert (manifest.dtype_policy, manifest.replicas) == ("float32", 1)
    assert set(manifest.seconds) == {"transform", "fit", "calibrate", "baselines", "compile"}
    assert set(manifest.libraries) >= {"tensorflow", "keras"}
    output = tf_output(graph)
    assert manifest.layout == layout_of(JourneyTransformConfig(dataset=DATASET, model=SETTINGS), output)


def tf_output(graph):
    import tensorflow_transform as tft

    return tft.TFTransformOutput(graph)


def test_metrics_are_those_of_the_model_that_is_served(trained, graph, examples):
    session = trained.session
    rows = journey_examples.random_rows(120, 2)
    records = np.array([journey_examples.example(row) for row in rows], object)
    label = session("evaluation_features", examples=records)
    tables = session("distribution", examples=records)
    known = label["label"] >= 0
    action, p = label["label"][known], tables["probabilities"][known]
    metrics = trained.manifest.metrics["calibration"]
    assert trained.manifest.decisions["calibration"] == known.sum()
    assert metrics["accuracy"] == pytest.approx((p.argmax(axis=1) == action).mean())
    assert metrics["log_loss"] == pytest.approx(-np.log(p[np.arange(len(p)), action]).mean(), rel=1e-4)
    for name in ("majority", "last_action", "prefix"):
        assert metrics[f"{name}_accuracy"] == pytest.approx((label[name][known] == action).mean())
    outcome = np.array([np.nan if row[names.OUTCOME] is None else row[names.OUTCOME] for row in rows])[known]
    seen = ~np.isnan(outcome)
    value = tables["conversion"][known][np.arange(len(p)), action][seen].astype(float)
    loss = -np.where(outcome[seen] > 0, np.log(value), np.log(1 - value)).mean()
    assert metrics["conversion_log_loss"] == pytest.approx(loss, rel=1e-4)
    calibration = Calibration.model_validate_json((trained.model / "assets.extra" / "calibration.json").read_text())
    assert (calibration.decisions, calibration.outcomes) == (known.sum(), seen.sum())


def test_curves_hold_the_loss_of_every_epoch_and_tensorboard_too(trained):
    found = Curves.read(trained.model).trainings
    assert [(t.name, t.seed, t.unit, t.steps, t.patience) for t in found] == [
        ("network 1", 0, "epoch", 2, 10),
        ("network 2", 1_000_000, "epoch", 2, 10),
    ]
    manifest = Manifest.load(trained.model)
    for number, training in enumerate(found, 1):
        first, second = training.values("train", "loss")
        assert first > second
        for part in ("train", "validation"):
            assert np.isfinite(training.values(part, "action_loss")).all()
        assert training.used == training.best == manifest.best_epoch[number - 1]
        assert len(training.seconds) == 2
        assert list((trained.out / "run" / f"network_{number}" / "validation").glob("events*"))


def test_progress_names_each_stage(trained):
    texts = [text for _, _, text in trained.heard]
    assert texts[:3] == ["reading train", "reading validation", "reading calibration"]
    assert [text.split(": ")[0] for text in texts[3:-1]] == ["network 2 of 2, train"]  # only what was missing
    assert texts[-1] == "calibrating"


def test_checkpoints_are_gone_after_success(trained):
    assert list((trained.out / "checkpoints").iterdir()) == []


def test_a_killed_run_leaves_a_folder_for_each_network_and_continues_there(trained):
    """That the weights are those of a run that was not killed, test_ensemble.py shows."""
    assert trained.left == {"network_1", "network_2"}
    assert sum("train: " in text for _, _, text in trained.heard) == 1


def test_what_is_served_is_the_calibrated_mean_of_the_networks(trained, graph, examples):
    config = JourneyTransformConfig(dataset=DATASET, model=SETTINGS)
    output = tf_output(graph)
    sequences = decisions([f"{examples}/Split-calibration/*"], output, layout_of(config, output))
    known = sequences.take(sequences.next_action >= 0)
    alone = [predict([member.network], known) for member in trained.members]
    assert np.abs(alone[0].action_logits - alone[1].action_logits).max() > 0.01
    mean = np.mean([special.softmax(one.action_logits, axis=1) for one in alone], axis=0)
    calibration = Calibration.model_validate_json((trained.model / "assets.extra" / "calibration.json").read_text())
    wanted = special.softmax(np.log(mean) / calibration.temperature, axis=1)
    records = [journey_examples.example(row) for row in journey_examples.random_rows(120, 2)]
    found = trained.session("distribution", examples=np.array(records, object)[sequences.next_action >= 0])
    by_length = np.argsort(known.length, kind="stable")
    np.testing.assert_allclose(found["probabilities"][by_length], wanted, atol=1e-6)


def test_a_policy_that_the_data_do_not_know_stops_before_training(graph, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "train", None)
    settings = SETTINGS.model_copy(update={"policy": PolicySettings(allow=("cal",))})
    with pytest.raises(ConfigError) as caught:
        run_fn(arguments(graph, examples, tmp_path, settings))
    assert "policy.allow: 'cal' (did you mean 'call'?)" in caught.value.details


def test_a_split_without_examples_is_refused_by_name(graph, examples, tmp_path):
    fn_args = arguments(graph, examples, tmp_path)
    fn_args.eval_files = [f"{examples}/Split-validation/*", f"{tmp_path}/Split-calibration/*"]
    with pytest.raises(DataError, match=r"no examples at .*Split-calibration"):
        run_fn(fn_args)


def test_predictions_of_journeys_and_of_their_decisions_are_the_same(graph, examples):
    config = JourneyTransformConfig(dataset=DATASET, model=SETTINGS)
    output = tf_output(graph)
    layout = layout_of(config, output)
    network = build_network(layout, SETTINGS)
    sequences = read_sequences([f"{examples}/Split-train/*"], output, layout, causal=True)
    found = predict([network], sequences)
    answers = sequences.answers()
    assert found.decisions == (answers >= 0).sum()
    row = int(np.argmax(sequences.length))
    slot = int(np.flatnonzero(answers[row] >= 0)[0])
    logits = network(sequences.inputs(np.array([row])), training=False)["action_logits"][0, slot].numpy()
    assert np.abs(found.action_logits - logits).max(axis=1).min() < 1e-5
    assert predict([network], sequences, max_logits=10 * len(layout.actions)).decisions <= 15
    nothing = decisions([f"{examples}/Split-train/*"], output, layout).take(np.zeros(0, int))
    assert predict([network], nothing).decisions == 0


@pytest.mark.parametrize(
    ("settings", "gpus", "wanted"),
    [
        ({}, [(9, 0)] * 2, Plan()),
        ({"mixed_precision": True}, [(9, 0)], Plan("mixed_bfloat16")),
        ({"mixed_precision": True}, [(7, 5)], Plan("mixed_float16")),
        ({"multi_device": True}, [(9, 0)] * 4, Plan(replicas=4)),
        ({"mixed_precision": True, "multi_device": True}, [(8, 0), (7, 0)], Plan("mixed_float16", 2)),
    ],
)
def test_devices_are_used_as_asked_for(settings, gpus, wanted):
    assert plan(SETTINGS.model_copy(update=settings), gpus) == wanted


def test_what_is_not_there_is_said_and_training_goes_on():
    asked = SETTINGS.model_copy(update={"mixed_precision": True, "multi_device": True})
    found = plan(asked, [])
    assert (found.dtype_policy, found.replicas) == ("float32", 1)
    assert found.notes == (
        "mixed_precision: there is no GPU on this machine; training in float32",
        "multi_device: there is no GPU on this machine; training on one device",
    )
    assert plan(asked, [(9, 0)]).notes == ("multi_device: there is one GPU on this machine; training on one device",)
    assert not tf.config.list_physical_devices("GPU") or plan(asked, [(9, 0)] * 2).replicas == 2
