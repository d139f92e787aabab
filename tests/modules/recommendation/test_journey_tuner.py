"""`tuner_fn` of the recommendation model on raw examples, as TFX's Tuner calls it."""

from __future__ import annotations

import json
import math
import pickle
from types import SimpleNamespace

import journey_examples
import pytest
import tensorflow as tf

from modules.errors import ConfigError, DataError
from modules.journeys.dataset import Outcome
from modules.recommendation import trials as trials_module
from modules.recommendation.devices import Plan
from modules.recommendation.ensemble import train
from modules.recommendation.fit import Epoch, Fitted
from modules.recommendation.read import read_sequences
from modules.recommendation.settings import RecommendationSettings
from modules.recommendation.transform_layout import JourneyTransformConfig
from modules.recommendation.transform_layout import layout as layout_of
from modules.recommendation.trials import JourneyTrials
from modules.recommendation.tuner import tuner_fn
from modules.tuning.objective import Stopped

SETTINGS = RecommendationSettings(
    embedding_dim=8, num_heads=2, hidden_layers=(8,), text_words=3, epochs=2, batch_size=64, learning_rate=0.01
)
SPACE = {"learning_rate": {"low": 0.003, "high": 0.03, "log": True}, "hidden_layers": {"choices": [[4], [8], [8, 4]]}}
DATASET = journey_examples.DATASET.model_copy(update={"outcome": Outcome(action="visit")})


@pytest.fixture(scope="module", autouse=True)
def eagerly():
    # Operation by operation: a few steps take less time than building a graph.
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    graph, output, _ = journey_examples.transformed(tmp_path_factory)
    root = tmp_path_factory.mktemp("journey-tuner") / "data"
    for seed, split in enumerate(("train", "validation", "calibration")):
        journey_examples.write_examples(root, journey_examples.random_rows(80, seed), split)
    return SimpleNamespace(graph=graph, output=output, root=root)


def arguments(data, out, settings=SETTINGS, **tuning):
    config = JourneyTransformConfig(dataset=DATASET, model=settings)
    return SimpleNamespace(
        working_dir=str(out),
        train_files=[f"{data.root}/Split-train/*"],
        eval_files=[f"{data.root}/Split-{split}/*" for split in ("validation", "calibration")],
        schema_path=None,
        transform_graph_path=data.graph,
        custom_config={
            **config.to_custom_config(),
            "dataset_version": "d1",
            "tuning": json.dumps({"trials": 3, "space": SPACE, **tuning}),
            "tuning_dir": str(out / "kept"),
        },
    )


def found(fn_args):
    tuner = tuner_fn(fn_args).tuner
    tuner.search()
    return tuner.report


def test_the_configured_settings_score_what_the_trainer_measures(data, tmp_path):
    report = found(arguments(data, tmp_path, trials=1))
    layout = layout_of(JourneyTransformConfig(dataset=DATASET, model=SETTINGS), data.output)
    parts = [
        read_sequences([f"{data.root}/Split-{split}/*"], data.output, layout, causal=True)
        for split in ("train", "validation")
    ]
    (member,) = train(layout, SETTINGS, Plan(), parts[0].with_beginnings(), parts[1])
    losses = [epoch.action_loss for epoch in member.fitted.epochs]
    assert report.baseline.scores == pytest.approx((min(losses),))
    assert report.baseline.curve == pytest.approx(tuple(min(losses[: i + 1]) for i in range(len(losses))))


@pytest.mark.slow
def test_trials_are_repeatable_and_kept(data, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 1})
    first = found(arguments(data, tmp_path / "a", settings, trials=2))
    assert (first.objective, first.direction, first.folds) == ("action_loss", "minimize", 1)
    assert [t.state for t in first.trials] == ["complete"] * 2, [t.error for t in first.trials]
    assert first.baseline.parameters == {"learning_rate": 0.01, "hidden_layers": [8]}
    again = found(arguments(data, tmp_path / "b", settings, trials=2))
    assert [(t.parameters, t.curve) for t in again.trials] == [(t.parameters, t.curve) for t in first.trials]
    kept = found(arguments(data, tmp_path / "a", settings, trials=2))
    assert (kept.resumed, kept.trials) == (2, first.trials)


class Training:
    """Stands for the training loop: three epochs, the second is kept."""

    def __init__(self, accuracy=0.6):
        self.accuracy, self.settings, self.told = accuracy, [], 0

    def __call__(self, network, settings, train, validation, on_epoch):
        self.settings.append(settings)
        epochs = [
            Epoch(k + 1, 1.0, 1.0, loss, accuracy, conversion_loss=math.nan)
            for k, (loss, accuracy) in enumerate([(0.9, 0.5), (0.7, self.accuracy), (0.8, 0.7)])
        ]
        for epoch in epochs:
            self.told += 1
            on_epoch(epoch)
        return Fitted(tuple(epochs), 2)


def test_a_trial_is_scored_by_the_epoch_that_is_kept(data, tmp_path, monkeypatch):
    training = Training()
    monkeypatch.setattr(trials_module, "fit", training)
    settings = SETTINGS.model_copy(update={"ensemble": 3, "refit": True})
    report = found(arguments(data, tmp_path, settings, trials=2, objective="accuracy"))
    assert report.direction == "maximize"
    assert report.baseline.scores == (0.6,)
    assert report.baseline.curve == (0.5, 0.6, 0.7)
    used = training.settings[1]
    assert (used.ensemble, used.refit, used.resume) == (1, False, False)
    assert used.learning_rate == report.trials[1].parameters["learning_rate"] != settings.learning_rate


def test_epochs_prune_a_trial(data, monkeypatch):
    training = Training()
    monkeypatch.setattr(trials_module, "fit", training)

    def enough(value):
        raise Stopped

    with pytest.raises(Stopped):
        trials_of(data, "action_loss")({}, 0, enough)
    assert training.told == 1


def test_what_cannot_be_measured_is_no_objective(data, monkeypatch):
    monkeypatch.setattr(trials_module, "fit", Training())
    with pytest.raises(DataError, match="conversion_loss of the validation part is nan"):
        trials_of(data, "conversion_loss")({}, 0, lambda value: None)


def trials_of(data, metric):
    config = JourneyTransformConfig(dataset=DATASET, model=SETTINGS)
    files = {split: [f"{data.root}/Split-{split}/*"] for split in ("train", "validation")}
    return JourneyTrials(files, data.graph, config, metric)


def test_workers_read_the_journeys_for_themselves(data):
    trials = trials_of(data, "action_loss")
    trials._journeys()
    sent = pickle.dumps(trials)
    assert len(sent) < 20_000
    again = pickle.loads(sent)
    assert again._read is None
    assert len(again._journeys()[1]) == len(trials._journeys()[1])


def test_without_journeys_held_out_there_is_nothing_to_tune_on(data, tmp_path):
    settings = SETTINGS.model_copy(update={"validation_split": 0.0})
    with pytest.raises(ConfigError, match=r"set model\.validation_split above 0"):
        tuner_fn(arguments(data, tmp_path, settings))
