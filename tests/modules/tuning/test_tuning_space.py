from __future__ import annotations

import json

import keras_tuner
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from modules.configuration import load
from modules.errors import ConfigError
from modules.lead_scoring.settings import LeadScoringSettings
from modules.recommendation.settings import RecommendationSettings
from modules.tuning.hyperparameters import overlay, tuned
from modules.tuning.models import LEAD_SCORING, MODELS, RECOMMENDATION
from modules.tuning.settings import Parameter, TuningSettings
from modules.tuning.space import contains, decode, distributions, encode, hyperparameters, resolve
from pipeline.config import LeadScoringConfig, RecommendationConfig

SPACE = {
    "learning_rate": {"low": 0.005, "high": 0.3, "log": True},
    "max_depth": {"low": 2, "high": 8},
    "max_leaves": {"low": 0, "high": 64, "step": 16},
    "grow_policy": {"choices": ["depthwise", "lossguide"]},
    "early_stopping_rounds": {"choices": [None, 50]},
    "scale_pos_weight": {"choices": [1, "balanced"]},
}


def space(**parameters):
    return TuningSettings.model_validate({"space": parameters})


def configured(tmp_path, text, kind=LeadScoringConfig):
    file = tmp_path / "model.yaml"
    file.write_text(f"name: m\ndataset: d\n{text}")
    return load(file, kind)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("  space: {lerning_rate: {low: 0.01, high: 0.1}}", "space.lerning_rate: .*did you mean 'learning_rate'?"),
        ("  space: {zzz: {low: 0.01, high: 0.1}}", "has no such setting; there are: learning_rate, max_depth"),
        ("  space: {max_depth: {low: 2, high: 13}}", "space.max_depth: high: .*less than or equal to 12; received 13"),
        ("  space: {max_depth: {low: 2.5, high: 8}}", "space.max_depth: expected a whole number; received 2.5"),
        ("  space: {subsample: {choices: [0.5, 1.5]}}", "choice: .*less than or equal to 1; received 1.5"),
        ("  space: {grow_policy: {choices: [deepwise]}}", "choice: .*'depthwise' or 'lossguide'; received 'deepwise'"),
        ("  space: {grow_policy: {low: 1, high: 2}}", "is no number, so it needs choices"),
        ("  space: {max_depth: {choices: [3, 3.0]}}", "the choices are not different: 3, 3"),
        ("  space: {calibration: {choices: [1]}}", "cannot be searched: it is a group of settings"),
        ("  space: {text_words: {low: 0, high: 100}}", "cannot be searched: it decides what Transform makes"),
        ("  space: {seed: {low: 0, high: 100}}", "cannot be searched: it would be tuned to luck"),
        ("  space: {max_depth: {low: 3}}", r"tuning.space.max_depth: expected low and high, or choices"),
        ("  space: {max_depth: {low: 3, high: 3}}", "low must be below high; received low 3, high 3"),
        ("  space: {gamma: {low: 0, high: 3, log: true}}", "log needs a low above 0; received 0"),
        ("  space: {gamma: {low: 1, high: 3, log: true, step: 1}}", "log and step exclude each other"),
        ("  space: {gamma: {low: 1, choices: [1]}}", "expected either choices, or low and high"),
        ("  space: {gamma: {low: 1, hihg: 3}}", "unknown key 'tuning.space.gamma.hihg'"),
        ("  objective: aucc", "is not measured by 'aucc'; did you mean 'auc'?"),
        ("  trials: 0", "tuning.trials: .*greater than or equal to 1"),
        ("  sampler: cma", "tuning.sampler: .*'tpe' or 'random'"),
        ("  trial: 3", "unknown key 'tuning.trial'; did you mean 'trials'?"),
    ],
)
def test_a_space_that_does_not_fit_the_model_is_refused_at_load(tmp_path, lines, message):
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, f"tuning:\n{lines}\n")


def test_the_model_of_journeys_has_settings_of_its_own(tmp_path):
    good = "kind: recommendation\ntuning: {objective: accuracy, space: {hidden_layers: {choices: [[64], [128, 64]]}}}"
    assert configured(tmp_path, good, RecommendationConfig).tuning.objective == "accuracy"
    with pytest.raises(ConfigError, match="a recommendation model has no such setting"):
        configured(
            tmp_path, "kind: recommendation\ntuning: {space: {max_depth: {low: 1, high: 2}}}", RecommendationConfig
        )
    with pytest.raises(ConfigError, match=r"choice: .*tuple.*received 64"):
        wrong = "kind: recommendation\ntuning: {space: {hidden_layers: {choices: [64]}}}"
        configured(tmp_path, wrong, RecommendationConfig)


def test_no_section_is_no_search_and_an_empty_one_searches_the_default_space(tmp_path):
    assert configured(tmp_path, "").tuning is None
    settings = configured(tmp_path, "tuning: {}").tuning
    assert settings.trials == 30
    assert list(resolve(settings, LEAD_SCORING)) == list(LEAD_SCORING.space)


def test_one_override_is_enough_for_a_search(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text("name: m\ndataset: d\ntuning: null\n")
    assert load(file, LeadScoringConfig, {"tuning.trials": 20}).tuning == TuningSettings(trials=20)


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.kind)
def test_default_spaces_hold_only_settings_that_the_model_takes(model):
    for name, parameter in resolve(TuningSettings(), model).items():
        for value in parameter.choices or (parameter.low, parameter.high):
            effective = overlay(model.settings(), {name: encode(parameter, value)})
            assert effective.model_dump(mode="json")[name] == value
    assert set(model.fixed) <= set(model.settings.model_fields)
    assert not set(model.fixed) & set(model.space)


def test_numbers_take_the_type_of_the_setting():
    found = resolve(space(**SPACE), LEAD_SCORING)
    assert distributions(found) == {
        "learning_rate": FloatDistribution(0.005, 0.3, log=True),
        "max_depth": IntDistribution(2, 8),
        "max_leaves": IntDistribution(0, 64, step=16),
        "grow_policy": CategoricalDistribution(["depthwise", "lossguide"]),
        "early_stopping_rounds": CategoricalDistribution(["null", "50"]),
        "scale_pos_weight": CategoricalDistribution(["1.0", '"balanced"']),
    }
    whole = resolve(space(reg_lambda={"low": 1, "high": 10}), LEAD_SCORING)
    assert distributions(whole) == {"reg_lambda": FloatDistribution(1.0, 10.0)}


@pytest.mark.parametrize(
    ("parameter", "value", "inside"),
    [
        ({"low": 2, "high": 8}, 8, True),
        ({"low": 2, "high": 8}, 9, False),
        ({"low": 2, "high": 8}, None, False),
        ({"low": 2, "high": 8}, True, False),
        ({"low": 0, "high": 64, "step": 16}, 48, True),
        ({"low": 0, "high": 64, "step": 16}, 50, False),
        ({"low": 0.1, "high": 0.7, "step": 0.2}, 0.3, True),
        ({"choices": [[64], [128, 64]]}, (64,), True),
        ({"choices": [[64], [128, 64]]}, (32,), False),
        ({"choices": [None, 50]}, None, True),
    ],
)
def test_whether_a_search_could_give_a_value(parameter, value, inside):
    assert contains(Parameter.model_validate(parameter), value) == inside


def test_values_come_through_keras_tuner_as_they_were():
    values = {
        "learning_rate": 0.02, "max_depth": 3, "max_leaves": 32, "grow_policy": "lossguide",
        "early_stopping_rounds": None, "scale_pos_weight": "balanced",
    }  # fmt: skip
    found = resolve(space(**SPACE), LEAD_SCORING)
    assert {n: decode(found[n], encode(found[n], v)) for n, v in values.items()} == values
    config = json.loads(json.dumps(hyperparameters(found, values).get_config()))
    again = keras_tuner.HyperParameters.from_config(config)
    assert again.get("learning_rate") == 0.02
    assert [p.name for p in again.space] == list(SPACE)
    settings, named = tuned(LeadScoringSettings(), config)
    assert named == values
    assert settings == LeadScoringSettings(**values)


def test_lists_and_what_lies_outside_the_space_come_through_too():
    found = resolve(space(hidden_layers={"choices": [[64], [128, 64]]}, epochs={"low": 2, "high": 5}), RECOMMENDATION)
    for values in ({"hidden_layers": [128, 64], "epochs": 3}, {"hidden_layers": [8], "epochs": 100}):
        config = json.loads(json.dumps(hyperparameters(found, values).get_config()))
        settings, named = tuned(RecommendationSettings(), config)
        assert named == values
        assert settings.hidden_layers == tuple(values["hidden_layers"])


def test_without_a_tuner_the_settings_stay():
    assert tuned(LeadScoringSettings(max_depth=3), None) == (LeadScoringSettings(max_depth=3), {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_dept": 3}, "LeadScoringSettings has no setting 'max_dept'; did you mean 'max_depth'?"),
        ({"max_depth": 99}, "max_depth: .*less than or equal to 12"),
        ({"max_depth": "deep"}, "max_depth: .*valid integer"),
    ],
)
def test_hyperparameters_that_are_none_of_the_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        tuned(LeadScoringSettings(), {"space": [], "values": values})
    with pytest.raises(ConfigError, match=r"expected the configuration of keras_tuner\.HyperParameters"):
        tuned(LeadScoringSettings(), {"max_depth": 3})


def test_settings_that_only_together_are_wrong_are_refused():
    with pytest.raises(ConfigError, match="embedding_dim 30 must be a multiple of num_heads 4"):
        overlay(RecommendationSettings(), {"embedding_dim": 30})
