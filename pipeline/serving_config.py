"""Configuration of the real tensorflow_model_server, all files from one: configs/serving/serving.yaml.

Flags: tensorflow_serving/model_servers/main.cc. Messages: config/model_server_config.proto,
config/monitoring_config.proto, servables/tensorflow/session_bundle_config.proto.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from modules.configuration import load
from modules.errors import ConfigError
from modules.publishing import versions
from pipeline.serving_manifests import CONFIG_DIR, METRICS_PATH, compose, kubernetes, to_yaml

FROZEN = ConfigDict(frozen=True, extra="forbid")
FOLDER = Path(__file__).resolve().parent.parent / "configs" / "serving"
SOURCE = "serving.yaml"

MODELS, BATCHING, MONITORING, COMPOSE, KUBERNETES = (
    "models.config",
    "batching.config",
    "monitoring.config",
    "compose.yaml",
    "kubernetes.yaml",
)
_WRITTEN = f"# Written by `aiqleads serving-config` from {SOURCE}; change that file and run it again.\n"


class ServedModel(BaseModel):
    """A model and which of its versions are loaded."""

    model_config = FROZEN
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    latest: int = Field(default=1, ge=1, description="how many of the newest versions")
    specific: tuple[int, ...] = Field(default=(), description="these versions instead of the newest ones")
    labels: dict[str, int] = Field(default_factory=dict, description="names for versions, e.g. stable and canary")

    @model_validator(mode="after")
    def _labels_name_versions(self) -> ServedModel:
        for label, version in self.labels.items():
            if version not in self.specific:
                raise ValueError(
                    f"label {label!r} names version {version}, which `specific` does not list: the server refuses a "
                    "label for a version that is not loaded"
                )
        return self


class Batching(BaseModel):
    """BatchingParameters."""

    model_config = FROZEN
    max_batch_size: int = Field(default=1024, ge=1, description="rows; a larger request is refused")
    batch_timeout_micros: int = Field(default=0, ge=0, description="how long a request may wait for others")
    max_enqueued_batches: int = Field(default=128, ge=1, description="more waiting than this is UNAVAILABLE")
    num_batch_threads: int = Field(default=2, ge=1, description="batches computed at the same time")
    allowed_batch_sizes: tuple[int, ...] = Field(default=(), description="batches are padded to one of these sizes")

    @model_validator(mode="after")
    def _sizes_end_at_the_largest(self) -> Batching:
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != self.max_batch_size):
            raise ValueError(f"allowed_batch_sizes must ascend and end with max_batch_size {self.max_batch_size}")
        return self


class Kubernetes(BaseModel):
    """Deployment and Service."""

    model_config = FROZEN
    replicas: int = Field(default=2, ge=1)
    claim: str = Field(default="aiqleads-models", description="PersistentVolumeClaim with the models")
    cpu: str = "2"
    memory: str = "2Gi"
    start_seconds: int = Field(default=300, ge=10, description="how long loading and warming up may take")
    drain_seconds: int = Field(default=15, ge=0, description="between leaving the Service and SIGTERM")


class ServingConfig(BaseModel):
    """configs/serving/serving.yaml."""

    model_config = FROZEN
    image: str = Field(description="image of tensorflow_model_server, with its tag")
    models_dir: str = Field(default="/models", description="holds a folder per model")
    host_models_dir: str = Field(default="../../build/serving", description="compose: the same on the host")
    grpc_port: int = Field(default=8500, ge=1, le=65535)
    rest_port: int = Field(default=8501, ge=1, le=65535)
    rest_timeout_ms: int = Field(default=30_000, ge=1)
    poll_seconds: int = Field(default=5, ge=1, description="between looks for new versions")
    config_poll_seconds: int = Field(default=60, ge=1, description="between looks at models.config")
    models: tuple[ServedModel, ...] = Field(min_length=1, description="the first one decides whether a pod is ready")
    only_pushed: bool = Field(
        default=False,
        description="leave out models without a version under host_models_dir: the server opens no port before every "
        "model it lists has one",
    )
    batching: Batching = Batching()
    kubernetes: Kubernetes = Kubernetes()

    @field_validator("models")
    @classmethod
    def _once_each(cls, models: tuple[ServedModel, ...]) -> tuple[ServedModel, ...]:
        names = [model.name for model in models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"model {name!r} is listed twice")
        return models

    @property
    def flags(self) -> tuple[str, ...]:
        """Command line of tensorflow_model_server; ours takes the same."""
        return (
            f"--port={self.grpc_port}",
            f"--rest_api_port={self.rest_port}",
            f"--rest_api_timeout_in_ms={self.rest_timeout_ms}",
            f"--model_config_file={CONFIG_DIR}/{MODELS}",
            f"--model_config_file_poll_wait_seconds={self.config_poll_seconds}",
            f"--file_system_poll_wait_seconds={self.poll_seconds}",
            "--enable_batching=true",
            f"--batching_parameters_file={CONFIG_DIR}/{BATCHING}",
            f"--monitoring_config_file={CONFIG_DIR}/{MONITORING}",
            "--enable_grpc_healthcheck_service=true",
        )


def load_serving_config(path: Path | str, overrides: dict[str, Any] | None = None) -> ServingConfig:
    """
    Raises:
      ConfigError: see `modules.configuration.load`.
    """
    return load(path, ServingConfig, overrides)


def listed(config: ServingConfig, folder: Path) -> ServingConfig:
    """The configuration without the models that are left out, see `only_pushed`.

    Args:
      config: what the source says.
      folder: of the generated files; a relative `host_models_dir` is relative to it.

    Raises:
      ConfigError: no model has been pushed.
    """
    if not config.only_pushed:
        return config
    base = folder / config.host_models_dir
    models = tuple(model for model in config.models if versions(base / model.name))
    if not models:
        names = ", ".join(model.name for model in config.models)
        raise ConfigError(f"{base}: no version of {names}", ["push one with `aiqleads run`, or set host_models_dir"])
    return config.model_copy(update={"models": models})


def render(config: ServingConfig) -> dict[str, str]:
    """Content by file name."""
    texts = {
        MODELS: _WRITTEN + models_text(config),
        BATCHING: _WRITTEN + batching_text(config.batching),
        MONITORING: _WRITTEN + _message("prometheus_config", {"enable": True, "path": METRICS_PATH}),
    }
    return {
        **texts,
        COMPOSE: _WRITTEN + to_yaml(compose(config)),
        KUBERNETES: _WRITTEN + "---\n".join(to_yaml(part) for part in kubernetes(config, texts)),
    }


def write(config: ServingConfig, folder: Path) -> list[Path]:
    """Writes every file; returns those that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in render(config).items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def check(config: ServingConfig, folder: Path) -> None:
    """
    Raises:
      ConfigError: a file is missing or says something else, with the lines that differ.
    """
    lines: list[str] = []
    for name, text in render(config).items():
        path = folder / name
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
        differences = difflib.unified_diff(found.splitlines(), text.splitlines(), str(path), SOURCE, lineterm="", n=0)
        lines += list(differences)
    if lines:
        raise ConfigError(f"{folder} does not agree with {SOURCE}; run `aiqleads serving-config`", lines)


def serving_config(file: Path | None, out: Path | None, only_check: bool, overrides: dict[str, Any]) -> int:
    """`aiqleads serving-config`: writes the files beside their source, or checks them."""
    source = file or FOLDER / SOURCE
    folder = out or source.parent
    config = listed(load_serving_config(source, overrides), folder)
    if only_check:
        check(config, folder)
        print(f"{folder} agrees with {source}")
        return 0
    changed = write(config, folder)
    for path in changed:
        print(f"wrote {path}")
    if not changed:
        print(f"{folder} is up to date")
    return 0


def models_text(config: ServingConfig) -> str:
    """ModelServerConfig as text."""
    from google.protobuf import text_format

    from modules.native.protos import model_server_config_pb2

    message = model_server_config_pb2.ModelServerConfig()
    for model in config.models:
        entry = message.model_config_list.config.add(
            name=model.name, base_path=f"{config.models_dir}/{model.name}", model_platform="tensorflow"
        )
        if model.specific:
            entry.model_version_policy.specific.versions.extend(model.specific)
        else:
            entry.model_version_policy.latest.num_versions = model.latest
        for label, version in sorted(model.labels.items()):
            entry.version_labels[label] = version
    return text_format.MessageToString(message)


def batching_text(batching: Batching) -> str:
    """BatchingParameters as text; its numbers are wrapped, its list is not."""
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    wrapped = "".join(_message(name, {"value": getattr(batching, name)}) for name in names)
    return wrapped + "".join(f"allowed_batch_sizes: {size}\n" for size in batching.allowed_batch_sizes)


def _message(name: str, fields: Mapping[str, Any]) -> str:
    lines = "".join(f"  {key}: {_scalar(value)}\n" for key, value in fields.items())
    return f"{name} {{\n{lines}}}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
