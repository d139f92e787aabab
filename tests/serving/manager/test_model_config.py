"""ModelServerConfig: text format, TensorFlow Serving's refusals, a config made from a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors import Code, ServingError
from serving.manager.config import ModelServerConfig, discover, local_path, read_config, single, validate


def refusal(text: str, tmp_path: Path) -> ServingError:
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(ServingError) as caught:
        read_config(file)
    return caught.value


def test_a_config_file_is_read_with_policies_and_labels(tmp_path):
    file = tmp_path / "models.config"
    file.write_text(
        """model_config_list { config {
            name: "a" base_path: "/models/a" model_platform: "tensorflow"
            model_version_policy { specific { versions: 3 versions: 5 } }
            version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 5 }
        } config { name: "b" base_path: "file:///models/b" model_type: TENSORFLOW } }"""
    )
    a, b = read_config(file).model_config_list.config
    assert list(a.model_version_policy.specific.versions) == [3, 5]
    assert dict(a.version_labels) == {"stable": 3, "canary": 5}
    assert local_path(b) == Path("/models/b")


ENTRY = 'config {{ name: "{}" base_path: "{}" model_platform: "{}" }}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY.format("x", "/a", "tensorflow") * 2, "Illegal to list model x multiple times in config list"),
        (
            ENTRY.format("x", "a/b", "tensorflow"),
            "Expected model x to have an absolute path or URI; got base_path()=a/b",
        ),
        (ENTRY.format("x", "/a", "torch"), "Model x requests unsupported platform torch"),
        (
            ENTRY.format("x", "/a", ""),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform.",
        ),
        (
            'config { name: "x" base_path: "/a" model_platform: "tensorflow" model_type: TENSORFLOW }',
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform.",
        ),
        (
            'config { name: "x" base_path: "/a" model_type: OTHER }',
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
        (ENTRY.format("", "/a", "tensorflow"), "Expected every model to have a name; got none for base_path()=/a"),
    ],
)
def test_a_list_that_cannot_be_served_is_refused_in_upstreams_words(text, message, tmp_path):
    error = refusal(f"model_config_list {{ {text} }}", tmp_path)
    assert (error.code, error.message) == (Code.INVALID_ARGUMENT, message)


def test_a_remote_file_system_is_not_implemented(tmp_path):
    error = refusal(f"model_config_list {{ {ENTRY.format('x', 'gs://bucket/x', 'tensorflow')} }}", tmp_path)
    assert error.code == Code.UNIMPLEMENTED
    assert "'gs' not implemented" in error.message


def test_text_that_is_no_config_is_refused_with_its_place(tmp_path):
    error = refusal("model_config_list {\n  config { nam: 'x' }\n}", tmp_path)
    assert error.code == Code.INVALID_ARGUMENT
    assert error.message.startswith(f"Invalid protobuf file: '{tmp_path / 'models.config'}'")
    assert "2:12" in error.message


def test_a_missing_config_file_is_not_found(tmp_path):
    with pytest.raises(ServingError) as caught:
        read_config(tmp_path / "none.config")
    assert caught.value.code == Code.NOT_FOUND


def test_a_custom_config_is_refused():
    config = ModelServerConfig()
    config.custom_model_config.SetInParent()
    with pytest.raises(ServingError, match="does not yet support custom model config"):
        validate(config)


def test_single_makes_a_relative_path_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (model,) = single("m", "models/m").model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("m", str(tmp_path / "models/m"), "tensorflow")


def test_discover_lists_every_folder_with_a_version(tmp_path):
    for folder in ("b/1", "a/0007", "notes", "c/draft", ".staging/4", "d/5.tmp"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "3").write_text("a file is no version")
    config = discover(tmp_path)
    assert [(m.name, m.base_path) for m in config.model_config_list.config] == [
        ("a", str(tmp_path / "a")),
        ("b", str(tmp_path / "b")),
    ]


def test_discover_in_an_empty_folder_is_an_empty_list(tmp_path):
    config = discover(tmp_path)
    assert config.WhichOneof("config") == "model_config_list"
    assert not config.model_config_list.config


def test_discover_in_a_missing_folder_is_not_found(tmp_path):
    with pytest.raises(ServingError) as caught:
        discover(tmp_path / "none")
    assert caught.value.code == Code.NOT_FOUND
