"""MLServer with its XGBoost runtime, in an environment of its own, serving the version's native booster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving_peers.processes import Started, free_ports, started

PROJECT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = PROJECT / "build" / "peers" / "mlserver"
REQUIREMENTS = Path(__file__).with_name("mlserver-requirements.txt")


class NotInstalled(RuntimeError):
    """MLServer's environment cannot be made, e.g. without a package index."""


@dataclass(frozen=True)
class Settings:
    """A way to run MLServer.

    Attributes:
      server: entries of settings.json beside host and ports.
      model: entries of model-settings.json beside name and implementation.
      environment: variables.
      raw: whether requests carry their numbers as bytes.
    """

    server: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    raw: bool = False


# One process instead of two, without access log and metrics, and one thread a prediction: XGBoost's threads cost more
# than they bring for one row.
_LEAN: dict[str, Any] = {"parallel_workers": 0, "debug": False, "metrics_endpoint": None}
_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SETTINGS: dict[str, Settings] = {
    "defaults": Settings(),
    "in process, lean": Settings(server=_LEAN, environment=_ONE_THREAD, raw=True),
    "in process, lean, adaptive batching": Settings(
        server=_LEAN, model={"max_batch_size": 32, "max_batch_time": 0.001}, environment=_ONE_THREAD, raw=True
    ),
}


def install() -> Path:
    """Makes the environment unless it is there.

    Returns:
      The `mlserver` command.

    Raises:
      NotInstalled: with the installer's last words.
    """
    command = ENVIRONMENT / "bin" / "mlserver"
    stamp = ENVIRONMENT / "requirements.txt"
    if command.exists() and stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return command
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    python = str(ENVIRONMENT / "bin" / "python")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
    if uv:
        steps = [
            [uv, "venv", "--no-config", "--python", sys.executable, str(ENVIRONMENT)],
            [uv, "pip", "install", "--no-config", "--no-deps", "--python", python, "-r", str(REQUIREMENTS)],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(ENVIRONMENT)],
            [python, "-m", "pip", "install", "--no-deps", "-r", str(REQUIREMENTS)],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise NotInstalled(f"{Path(step[0]).name} {' '.join(step[1:3])}: exit {done.returncode}: {last}")
    shutil.copy(REQUIREMENTS, stamp)
    return command


def start(command: Path, work: Path, booster: Path, model: str, settings: Settings) -> Started:
    """Starts MLServer on free ports of the loopback.

    Args:
      command: the `mlserver` command.
      work: directory to create, MLServer's working directory.
      booster: the model, XGBoost's universal binary JSON.
      model: name to serve it by.
      settings: how to run it.
    """
    work.mkdir(parents=True)
    http, grpc, metrics = free_ports(3)
    ports = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (work / "settings.json").write_text(json.dumps(ports | settings.server))
    folder = work / model
    folder.mkdir()
    shutil.copy(booster, folder / "model.ubj")
    described = {
        "name": model,
        "implementation": "mlserver_xgboost.XGBoostModel",
        "parameters": {"uri": "./model.ubj"},
    }
    (folder / "model-settings.json").write_text(json.dumps(described | settings.model))

    def ready() -> dict[str, int] | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/v2/models/{model}/ready", timeout=2) as answer:
                return {"grpc": grpc, "rest": http} if answer.status == 200 else None
        except OSError:
            return None

    return started([str(command), "start", "."], work, {**os.environ, **settings.environment}, ready)
