"""MonitoringConfig in text format."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors import Code, ServingError
from serving.monitoring_config import read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('prometheus_config { enable: true path: "/metrics" }', (True, "/metrics")),
        ("prometheus_config { enable: true }", (True, "/monitoring/prometheus/metrics")),
        ('prometheus_config: {\n  enable: true,\n  path: "/monitoring/prometheus/metrics" # usual\n}',
         (True, "/monitoring/prometheus/metrics")),
        ('prometheus_config { path: "/metrics" }', (False, "/metrics")),
        ("", (False, "/monitoring/prometheus/metrics")),
    ],
)  # fmt: skip
def test_a_file_says_whether_and_where(tmp_path: Path, text: str, expected: tuple[bool, str]) -> None:
    path = tmp_path / "monitoring.config"
    path.write_text(text)
    assert read(path) == expected


def test_without_a_file_there_are_no_metrics() -> None:
    assert read("") == (False, "/monitoring/prometheus/metrics")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('prometheus_config { enabled: true }', 'no field named "enabled"'),
        ("prometheus_config { enable: yes }", "1:29"),
        ('prometheus_config { enable: true path: "metrics" }', "must begin with '/'; was 'metrics'"),
        ("prometheus_config {", "Invalid protobuf file"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "monitoring.config"
    path.write_text(text)
    with pytest.raises(ServingError) as caught:
        read(path)
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert message in caught.value.message
    assert str(path) in caught.value.message


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "monitoring.config"
    path.write_bytes(b"prometheus_config \xff")
    with pytest.raises(ServingError, match="not UTF-8: invalid start byte at byte 18"):
        read(path)
