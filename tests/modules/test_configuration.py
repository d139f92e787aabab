"""Configuration files: what fits is frozen, what does not is explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from modules.configuration import configuration_hash, load, parse_override
from modules.dataset import Dataset
from modules.errors import ConfigError
from pipeline.config import PROJECT, LeadScoringConfig, load_dataset, load_run

MINIMAL = """\
name: mine
files: [leads.csv]
label: {column: won}
features:
  - {name: age, kind: numeric}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_minimal_dataset_gets_the_documented_defaults(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, MINIMAL), Dataset)
    assert dataset.max_bad_rows == 0.001
    assert dataset.split.method == "hash"
    assert dataset.id_feature == "row_id"
    assert dataset.label_feature == "won"
    assert dataset.time_feature is None


def test_a_loaded_configuration_cannot_be_changed(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, MINIMAL), Dataset)
    with pytest.raises(ValidationError):
        dataset.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "max_bad_row: 0.1\n", "mine.yaml:6: unknown key 'max_bad_row'; did you mean 'max_bad_rows'?"),
        (
            MINIMAL + "max_bad_rows: 2\n",
            "max_bad_rows: Input should be less than or equal to 1; received 2",
        ),
        (MINIMAL + "split:\n  method: tim\n", "mine.yaml:7: split.method: Input should be 'hash', 'time'"),
        (MINIMAL.replace("numeric", "numerical"), "mine.yaml:5: features.0.kind: Input should be 'numeric'"),
        (MINIMAL.replace("kind:", "kynd:"), "unknown key 'features.0.kynd'; did you mean 'kind'?"),
        (MINIMAL.replace("label:", "lable:"), "key 'label' is missing"),
        (MINIMAL + "label_maturity_days: 90\n", "label_maturity_days needs `time`"),
        (MINIMAL + "leave_out: [{column: age, reason: leak}]\n", "column 'age' is both a feature and left out"),
        (MINIMAL + "personal_data: [{column: age}]\n", "column 'age' is personal data and cannot be a feature"),
        (MINIMAL + "  - {name: age, kind: text}\n", "feature 'age' is listed twice"),
        ("a: [1,\n", "not valid YAML"),
        ("- 1\n", "expected a mapping of settings, received list"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_expectation(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), Dataset)
    assert expected in "\n".join([str(caught.value), *caught.value.details])
    assert caught.value.exit_code == 4


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "mein.yaml", Dataset)
    assert "no such file" in str(caught.value)
    assert any("mine.yaml" in line for line in caught.value.details)


def test_overrides_are_read_as_yaml_and_laid_over_nested_keys(tmp_path: Path) -> None:
    assert parse_override("split.test=0.3") == ("split.test", 0.3)
    assert parse_override("files=[a.csv, b.csv]") == ("files", ["a.csv", "b.csv"])
    dataset = load(write(tmp_path, MINIMAL), Dataset, {"split.test": 0.3})
    assert dataset.split.test == 0.3


def test_a_mistaken_override_names_the_option_and_not_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set split\.tst: unknown key 'split\.tst'; did you mean 'test'"):
        load(write(tmp_path, MINIMAL), Dataset, {"split.tst": 0.3})
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_override("split.test")


def test_the_hash_changes_with_a_setting_and_not_with_the_root() -> None:
    config = PROJECT / "configs" / "lead_scoring.yaml"
    one = load_run(config, root="a")
    assert one.hash == load_run(config, root="b").hash
    assert one.hash != load_run(config, root="a", overrides={"model.max_depth": 4}).hash
    assert configuration_hash({"a": 1, "b": 2}) == configuration_hash({"b": 2, "a": 1})


def test_model_defaults_are_those_of_the_design() -> None:
    model = LeadScoringConfig(name="x", dataset="y").model
    assert (model.learning_rate, model.max_depth, model.num_rounds, model.early_stopping_rounds) == (0.01, 6, 1000, 50)
    assert model.validation_split == 0.2


def test_another_dataset_is_served_under_another_name() -> None:
    config = PROJECT / "configs" / "lead_scoring.yaml"
    assert load_run(config).servable == "lead-scoring"
    assert load_run(config, dataset="aiqleads").servable == "lead-scoring"
    assert load_run(config, dataset="bank_marketing").servable == "lead-scoring-bank-marketing"


def test_an_unknown_dataset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(PROJECT / "configs" / "lead_scoring.yaml", dataset="bank")
    assert "there is: bank_marketing" in caught.value.details


def test_every_dataset_file_of_the_project_is_valid() -> None:
    files = sorted((PROJECT / "configs" / "datasets").glob("*.yaml"))
    assert len(files) >= 2
    for path in files:
        assert load_dataset(str(path)).name == path.stem
