"""MonitoringConfig: whether, and where, Prometheus finds the metrics (--monitoring_config_file).

Reference: tensorflow_serving/config/monitoring_config.proto, tensorflow_serving/util/prometheus_exporter.cc.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from serving import textproto
from serving.errors import invalid

DEFAULT_PATH = "/monitoring/prometheus/metrics"


class Monitoring(NamedTuple):
    """enabled: whether metrics are served; path: of the URL."""

    enabled: bool
    path: str


def read(path: str | Path | None) -> Monitoring:
    """What a file in protocol buffer text format says.

    Args:
      path: the file; empty for none, which serves no metrics.

    Raises:
      ServingError: NOT_FOUND, there is no such file; INVALID_ARGUMENT, it is no MonitoringConfig or its path does not
        begin with a slash.
    """
    if not path:
        return Monitoring(False, DEFAULT_PATH)
    config = textproto.read(path, textproto.new("MonitoringConfig")).prometheus_config
    if config.path and not config.path.startswith("/"):
        raise invalid(f"prometheus_config.path in {path} must begin with '/'; was '{config.path}'")
    return Monitoring(config.enable, config.path or DEFAULT_PATH)
