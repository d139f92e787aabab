"""YAML files as frozen pydantic models, with errors that name file, line, key, what was expected and what is near."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from modules.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def load(
    path: Path | str,
    model: type[Model] | Callable[[dict[str, Any]], type[Model]],
    overrides: dict[str, Any] | None = None,
) -> Model:
    """Reads a YAML file into a pydantic model.

    Args:
      path: the file.
      model: the frozen pydantic model it must fit, or a function that chooses it by the file's values (a ValueError
        says that none fits).
      overrides: dotted key -> value, laid over the file (see `parse_override`).

    Raises:
      ConfigError: no such file, not YAML, an unknown key, a wrong type, or a value out of range.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", _neighbours(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        values = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, received {type(values).__name__}")
    for key, value in (overrides or {}).items():
        _lay_over(values, key, value)
    if not isinstance(model, type):
        try:
            model = model(values)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
    return validate(values, model, str(path), root, overrides)


def validate(
    values: dict[str, Any],
    model: type[Model],
    where: str,
    root: yaml.Node | None = None,
    overrides: dict[str, Any] | None = None,
) -> Model:
    """Fits a mapping to a model; `where` names its source in errors."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(e, model, where, root, overrides or {}) for e in error.errors()]
        raise ConfigError(lines[0], lines[1:]) from None


def parse_override(text: str) -> tuple[str, Any]:
    """`model.max_depth=4` -> ("model.max_depth", 4); the value is read as YAML."""
    key, sep, value = text.partition("=")
    if not sep or not key.strip():
        raise ConfigError(f"--set {text}: expected key=value, for example --set model.max_depth=4")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not valid YAML: {error}") from None


def configuration_hash(*parts: BaseModel | dict[str, Any] | str) -> str:
    """First 16 hex digits of the SHA-256 of the parts as canonical JSON (keys sorted)."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _lay_over(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        if not isinstance(inner, dict):
            inner = values[parent] = {}
        values = inner
    values[last] = value


def _neighbours(path: Path) -> list[str]:
    there = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=3, cutoff=0.5) or sorted(there)
    return [f"there is: {path.parent / n}" for n in near]


def _explain(error: Any, model: type[BaseModel], where: str, root: yaml.Node | None, overrides: dict[str, Any]) -> str:
    location = [part for part in error["loc"] if not _is_union_tag(part)]
    key = ".".join(str(part) for part in location) or "(top level)"
    source = f"{where}:{line}" if (line := _line(root, location)) else where
    if laid_over := next((o for o in overrides if key == o or key.startswith(f"{o}.")), None):
        source = f"--set {laid_over}"
    received = error.get("input")
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"{source}: unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"{source}: key {key!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(received, dict | list) and error["type"] == "value_error":
        return f"{source}: {key}: {message}"
    return f"{source}: {key}: {message}; received {_short(received)}"


def _is_union_tag(part: Any) -> bool:
    # pydantic adds the branch of a union ("float", "literal['balanced']") to the location.
    return isinstance(part, str) and (part in {"float", "int", "str", "bool", "none"} or "[" in part)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _line(root: yaml.Node | None, location: list[Any]) -> int | None:
    node, line = root, None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == str(part):
                    line, node = key_node.start_mark.line + 1, value_node
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _known_keys(model: type[BaseModel], location: list[Any]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(str(part))
        current = _model_of(field.annotation) if field else None
    return list(current.model_fields) if current else []


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for argument in typing.get_args(annotation):
            if found := _model_of(argument):
                return found
    return None
