"""Executor of InfraCheck: starts `python -m modules.serving_check` and turns its report into an InfraBlessing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

import modules
from modules.serving_check.settings import ServingCheckSettings

MODEL_KEY = "model"
EXAMPLES_KEY = "examples"
BLESSING_KEY = "blessing"
SETTINGS_KEY = "settings"
MODEL_NAME_KEY = "model_name"
SPLIT_KEY = "split"

# What InfraValidator writes and Pusher reads (tfx/components/infra_validator/executor.py).
BLESSED_PROPERTY = "blessed"
HAS_MODEL_PROPERTY = "has_model"
BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"

REPORT_FILE = "report.json"
TIMEOUT_SECONDS = 600

Artifacts = dict[str, list[types.Artifact]]


class Executor(base_executor.BaseExecutor):
    """See `InfraCheck`."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """Writes the blessing. A candidate that fails, crashes or hangs is not blessed; that is no error."""
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        model_path = path_utils.serving_model_path(model.uri)
        split = Path(artifact_utils.get_split_uri([examples], exec_properties[SPLIT_KEY]))
        files = sorted(str(f) for f in split.iterdir() if f.is_file() and not f.name.startswith((".", "_")))
        with tempfile.TemporaryDirectory() as folder:
            warmup = Path(folder) / "warmup"
            settings, model_name = exec_properties[SETTINGS_KEY], exec_properties[MODEL_NAME_KEY]
            report = _check(model_path, files, settings, model_name, warmup, Path(folder))
            uri = Path(blessing.uri)
            stamped = path_utils.stamped_model_path(blessing.uri)
            if report["ok"]:
                io_utils.copy_dir(model_path, stamped)
                io_utils.copy_file(str(warmup), path_utils.warmup_file_path(stamped), overwrite=True)
                if ServingCheckSettings.model_validate_json(settings).through_server:
                    _through_server(report, Path(stamped), model_name)
            latency = report.get("latency_ms", {}).get("serving_default", {})
            for key in ("p50", "p99"):
                if key in latency:
                    blessing.set_float_custom_property(f"{key}_ms", float(latency[key]))
            if report["ok"]:
                blessing.set_int_custom_property(HAS_MODEL_PROPERTY, 1)
                io_utils.write_string_file(str(uri / BLESSED_FILE), "")
                blessing.set_int_custom_property(BLESSED_PROPERTY, 1)
            else:
                # Nobody shall push what was not blessed.
                shutil.rmtree(stamped, ignore_errors=True)
                reasons = [f"{name}: {fault}" for name, fault in report["failed"].items()]
                for reason in reasons:
                    logging.warning("infrastructure check: %s", reason)
                io_utils.write_string_file(str(uri / NOT_BLESSED_FILE), "\n".join(reasons))
                blessing.set_string_custom_property("reason", "; ".join(reasons)[:2000])
                blessing.set_int_custom_property(BLESSED_PROPERTY, 0)
            io_utils.write_string_file(str(uri / REPORT_FILE), json.dumps(report, indent=2))


def _check(
    model_path: str, files: list[str], settings: str, model_name: str, warmup: Path, folder: Path
) -> dict[str, Any]:
    """The report of `modules.serving_check` in a process of its own; its death is a failed check."""
    report = folder / REPORT_FILE
    root = str(Path(modules.__file__ or "").resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    command = [
        *(sys.executable, "-m", "modules.serving_check", "--model", model_path, "--model-name", model_name),
        *("--settings", settings, "--report", str(report), "--warmup", str(warmup), "--examples", *files),
    ]
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return _failed(f"no answer within {TIMEOUT_SECONDS} s")
    logging.info("serving check: %s", process.stderr)
    if process.returncode or not report.is_file():
        last = process.stderr.strip().splitlines()[-1:] or ["no output"]
        return _failed(f"exit code {process.returncode}: {last[0]}")
    return json.loads(report.read_text())


def _through_server(report: dict[str, Any], stamped: Path, model_name: str) -> None:
    """Adds to the report what the model server, over real sockets, makes of the warm-up requests."""
    from serving.probe import probe

    found = probe(stamped, model_name)
    report["server"] = found.as_dict()
    report["failed"] |= {f"model server: {name}": fault for name, fault in found.failed.items()}
    report["ok"] = report["ok"] and found.ok
    if found.ok:
        report["passed"] = [*report["passed"], "the model server answers over gRPC and REST, and the same"]


def _failed(reason: str) -> dict[str, Any]:
    return {"ok": False, "passed": [], "failed": {"process": reason}}
