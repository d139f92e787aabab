"""The space of a search: checked against the model's settings, in Optuna's terms and in keras_tuner's.

Values that neither of the two can hold in a choice (lists, null, mixed types) travel as JSON text.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from modules.tuning.models import Tunable
from modules.tuning.settings import Parameter, TuningSettings

if TYPE_CHECKING:
    import keras_tuner
    from optuna.distributions import BaseDistribution

Space = dict[str, Parameter]


def resolve(settings: TuningSettings, model: Tunable) -> Space:
    """The space to search, in the order of the model file; the model's default if that names none.

    Raises:
      ValueError: a name that is no setting, or one that cannot be searched; a value of the wrong type or out of the
        setting's range.
    """
    return {name: _checked(name, parameter, model) for name, parameter in (settings.space or model.space).items()}


def check(settings: TuningSettings, model: Tunable) -> None:
    """Whether space and objective fit the model.

    Raises:
      ValueError: see `resolve`; or the objective is none of the model's.
    """
    resolve(settings, model)
    if settings.objective is not None and settings.objective not in model.objectives:
        near = difflib.get_close_matches(settings.objective, model.objectives, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(model.objectives)}"
        raise ValueError(f"objective: a {model.kind} model is not measured by {settings.objective!r}; {hint}")


def tunes(model: Tunable) -> Callable[[TuningSettings | None], TuningSettings | None]:
    """A validator of pydantic for the `tuning` section of a model file; see `check`."""

    def validator(settings: TuningSettings | None) -> TuningSettings | None:
        if settings is not None:
            check(settings, model)
        return settings

    return validator


def contains(parameter: Parameter, value: Any) -> bool:
    """Whether a search of the parameter could give the value."""
    if parameter.choices is not None:
        return _text(value) in map(_text, parameter.choices)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    assert parameter.low is not None and parameter.high is not None
    if not parameter.low <= value <= parameter.high:
        return False
    steps = 0.0 if parameter.step is None else (value - parameter.low) / parameter.step
    return abs(steps - round(steps)) < 1e-9


def encode(parameter: Parameter, value: Any) -> Any:
    """A value of the settings as Optuna and keras_tuner hold it."""
    if parameter.choices is None:
        return float(value) if isinstance(parameter.low, float) else int(value)
    return value if _plain(parameter.choices) else _text(value)


def decode(parameter: Parameter, value: Any) -> Any:
    """The inverse of `encode`."""
    if parameter.choices is None or _plain(parameter.choices):
        return value
    return json.loads(value)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space as Optuna samples it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for name, p in space.items():
        if p.choices is not None:
            found[name] = CategoricalDistribution([encode(p, choice) for choice in p.choices])
        elif isinstance(p.low, float):
            assert p.high is not None
            found[name] = FloatDistribution(p.low, float(p.high), log=p.log, step=p.step)
        else:
            assert p.low is not None and p.high is not None
            found[name] = IntDistribution(p.low, int(p.high), log=p.log, step=int(p.step or 1))
    return found


def hyperparameters(space: Space, values: Mapping[str, Any]) -> keras_tuner.HyperParameters:
    """The space and one point of it, as keras_tuner describes them.

    Args:
      space: what was searched.
      values: value by name; where one lies outside its range, it is held as it is.
    """
    import keras_tuner

    found = keras_tuner.HyperParameters()
    for name, p in space.items():
        if p.choices is not None:
            found.Choice(name, [encode(p, choice) for choice in p.choices])
        else:
            sampling = "log" if p.log else "linear"
            kind = found.Float if isinstance(p.low, float) else found.Int
            step = p.step if isinstance(p.low, float) or p.log else int(p.step or 1)
            kind(name, p.low, p.high, step=step, sampling=sampling)
    for name, value in values.items():
        simple = isinstance(value, bool | int | float | str)
        found.values[name] = encode(space[name], value) if contains(space[name], value) else (
            value if simple else _text(value)
        )  # fmt: skip
    return found


def _checked(name: str, parameter: Parameter, model: Tunable) -> Parameter:
    where = f"space.{name}"
    fields = model.settings.model_fields
    possible = [n for n in fields if n not in model.fixed and not _is_group(fields[n].annotation)]
    if name not in fields:
        near = difflib.get_close_matches(name, possible, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(possible)}"
        raise ValueError(f"{where}: a {model.kind} model has no such setting; {hint}")
    if name not in possible:
        why = model.fixed.get(name, "it is a group of settings")
        raise ValueError(f"{where}: cannot be searched: {why}")
    field = fields[name]
    kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(kind)  # type: ignore[arg-type]
    if parameter.choices is not None:
        valid = tuple(_valid(adapter, choice, f"{where}: choice") for choice in parameter.choices)
        if len(set(map(_text, valid))) < len(valid):
            raise ValueError(f"{where}: the choices are not different: {', '.join(map(_text, valid))}")
        return Parameter(choices=valid)
    number = _number(field.annotation)
    if number is None:
        raise ValueError(f"{where}: is no number, so it needs choices instead of low and high")
    low, high = (_as(number, value, where) for value in (parameter.low, parameter.high))
    _valid(adapter, low, f"{where}: low")
    _valid(adapter, high, f"{where}: high")
    step = None if parameter.step is None else _as(number, parameter.step, f"{where}: step")
    return Parameter(low=low, high=high, log=parameter.log, step=step)


def _as(number: type[int] | type[float], value: Any, where: str) -> int | float:
    if number is int and value != int(value):
        raise ValueError(f"{where}: expected a whole number; received {value}")
    return number(value)


def _valid(adapter: TypeAdapter[Any], value: Any, where: str) -> Any:
    """The value as JSON knows it, if the setting takes it."""
    try:
        return json.loads(json.dumps(adapter.dump_python(adapter.validate_python(value), mode="json")))
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {message}; received {value!r}") from None


def _parts(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _number(annotation: Any) -> type[int] | type[float] | None:
    parts = _parts(annotation)
    return float if float in parts else int if int in parts else None


def _is_group(annotation: Any) -> bool:
    return any(isinstance(part, type) and issubclass(part, BaseModel) for part in _parts(annotation))


def _plain(choices: tuple[Any, ...]) -> bool:
    kinds = {type(choice) for choice in choices}
    return len(kinds) == 1 and kinds <= {bool, int, float, str}


def _text(value: Any) -> str:
    return json.dumps(value)
