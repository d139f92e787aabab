"""ModelServerConfig: reading, checking, and making one from a folder.

Reference: tensorflow_serving/model_servers/server_core.cc, server.cc.
"""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path
from typing import TypeAlias

from modules.native.protos import model_server_config_pb2
from serving import textproto
from serving.errors import Code, ServingError, invalid
from serving.manager.source import version_number

ModelConfig: TypeAlias = model_server_config_pb2.ModelConfig
ModelServerConfig: TypeAlias = model_server_config_pb2.ModelServerConfig

PLATFORM = "tensorflow"
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")


def read_config(path: str | Path) -> ModelServerConfig:
    """A config file in protocol buffer text format, checked.

    Raises:
      ServingError: INVALID_ARGUMENT, the text is not a ModelServerConfig (with line and column) or `validate` refuses
        it; NOT_FOUND, there is no such file.
    """
    config = textproto.read(path, ModelServerConfig())
    validate(config)
    return config


def single(name: str, base_path: str | Path) -> ModelServerConfig:
    """One model, its latest version, as `--model_name` and `--model_base_path` ask for."""
    config = ModelServerConfig()
    _add(config, name, base_path)
    return config


def discover(root: Path) -> ModelServerConfig:
    """Every folder in `root` that holds at least one version: `<root>/<name>/<integer>/`. Hidden folders are left out.

    Raises:
      ServingError: NOT_FOUND, `root` is no readable directory.
    """
    config = ModelServerConfig()
    # An empty list is a configuration too: it serves nothing until a model appears.
    config.model_config_list.SetInParent()
    try:
        folders = sorted(p for p in root.iterdir() if not p.name.startswith(".") and p.is_dir())
        for folder in folders:
            if any(version_number(child.name) is not None and child.is_dir() for child in folder.iterdir()):
                _add(config, folder.name, folder)
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{error.filename}; {error.strerror}") from error
    return config


def validate(config: ModelServerConfig) -> None:
    """Refuses what can never be served.

    Raises:
      ServingError: INVALID_ARGUMENT in TensorFlow Serving's words, UNIMPLEMENTED for a remote file system.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise invalid("ModelServer does not yet support custom model config.")
    seen: set[str] = set()
    for model in config.model_config_list.config:
        if model.name in seen:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
        if not model.name:
            raise invalid(f"Expected every model to have a name; got none for base_path()={model.base_path}")
        local_path(model)
        if platform(model) != PLATFORM:
            raise invalid(f"Model {model.name} requests unsupported platform {platform(model)}")


def platform(model: ModelConfig) -> str:
    """The model's platform, also from the deprecated `model_type`.

    Raises:
      ServingError: INVALID_ARGUMENT, both or neither are set, or an unknown type.
    """
    if model.model_type:
        if model.model_platform:
            raise invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        if model.model_type != model_server_config_pb2.TENSORFLOW:
            raise invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return PLATFORM
    if not model.model_platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    return model.model_platform


def local_path(model: ModelConfig) -> Path:
    """The base path as a directory of this machine; `file://` is taken.

    Raises:
      ServingError: INVALID_ARGUMENT, a relative path; UNIMPLEMENTED, another file system.
    """
    scheme = _SCHEME.match(model.base_path)
    if scheme is not None:
        if scheme[1].lower() != "file":
            message = f"File system scheme '{scheme[1]}' not implemented (file: '{model.base_path}')"
            raise ServingError(Code.UNIMPLEMENTED, message)
        return Path(urllib.parse.urlsplit(model.base_path).path)
    path = Path(model.base_path)
    if not path.is_absolute():
        raise invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}")
    return path


def _add(config: ModelServerConfig, name: str, base_path: str | Path) -> None:
    config.model_config_list.config.add(name=name, base_path=str(Path(base_path).absolute()), model_platform=PLATFORM)
