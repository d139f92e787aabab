from pathlib import Path

import pytest

from modules.errors import ConfigError, NotBlessed
from modules.prediction.versions import find_version


def folder(base: Path, *names: str) -> Path:
    for name in names:
        (base / name).mkdir(parents=True)
        (base / name / "saved_model.pb").write_bytes(b"")
    return base


def test_the_largest_number_answers_whatever_else_lies_there(tmp_path):
    base = folder(tmp_path, "9", "10", ".publishing-11-1", "latest")
    assert find_version("m", base).version == 10
    assert find_version("m", base, 9).path == base / "9"


def test_nothing_published_says_what_to_do(tmp_path):
    with pytest.raises(NotBlessed) as error:
        find_version("m", tmp_path / "absent")
    assert "aiqleads run" in error.value.details[0]


def test_an_unknown_version_lists_those_there_are(tmp_path):
    with pytest.raises(ConfigError) as error:
        find_version("m", folder(tmp_path, "3", "4"), 5)
    assert error.value.details == ["versions there are: 3, 4"]


def test_a_saved_model_stands_for_itself(tmp_path):
    base = folder(tmp_path, "candidate", "7")
    assert find_version("m", base / "7").version == 7
    assert find_version("m", base / "candidate").version is None
    with pytest.raises(ConfigError, match="version 8"):
        find_version("m", base / "7", 8)


def test_a_version_without_a_model_is_named(tmp_path):
    (tmp_path / "5").mkdir()
    with pytest.raises(ConfigError, match="no SavedModel"):
        find_version("m", tmp_path)
