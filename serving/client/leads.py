"""Leads as plain dicts -> requests, by what the model itself says of its features.

A missing value is None, NaN, or a key that is not there. In a tensor a missing number is NaN and a missing string is
empty; in a tf.Example the feature is absent. A date or datetime becomes ISO 8601 text, which is how models take dates.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
import numbers as abstract
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from modules import iso
from modules.journeys import names
from modules.native.protos import Example, SignatureDef, TensorProto
from serving.client import tensors
from serving.client.errors import ClientError, LeadError
from serving.client.tensors import BOOL, FLOATS, INTEGERS, STRING

Lead = Mapping[str, object]
Columns = Mapping[str, Sequence[object]]

NAN = math.nan

HISTORY, CREATED = "history", "created"
"""What a lead may have beside the features of a model that reads journeys: its events, and when it came in."""

_SHOWN = 60
_MAY_BE_MISSING = (float, dt.date)


@dataclass(frozen=True, slots=True)
class Feature:
    """A raw feature of a model.

    dtype: TF_DataType. many: the value is a list (a history), not a single value.
    """

    name: str
    dtype: int
    many: bool = False

    @property
    def kind(self) -> str:
        """What a value is, in words."""
        one = "text" if self.dtype == STRING else "true or false" if self.dtype == BOOL else "a number"
        if self.dtype in INTEGERS:
            one = "a whole number"
        return f"a list, each entry {one}" if self.many else one

    @property
    def gaps(self) -> bool:
        """Entries of the list may be missing, as attributes of an event may be."""
        return self.name.startswith(names.HISTORY_PREFIX) and self.name not in names.RESERVED

    def encode(self, values: Sequence[object], first: int = 0) -> array | list[bytes]:
        """One value per lead as the model takes it.

        Args:
          values: a column of single values, or what this method returned before.
          first: index of the first lead, for errors.

        Raises:
          LeadError: a value of another type or out of range.
        """
        if isinstance(values, array) and values.typecode == tensors.typecode(self.dtype):
            return values
        types = set(map(type, values))
        try:
            if self.dtype == STRING and types <= {bytes}:
                return list(values)  # type: ignore[arg-type]
            if self.dtype == STRING and types <= {str}:
                return [value.encode() for value in values]  # type: ignore[attr-defined]
            if self.dtype in FLOATS and types <= {float, int}:
                column = tensors.numbers(self.dtype, values)  # type: ignore[arg-type]
                if not any(map(math.isinf, column)):
                    return column
        except (OverflowError, UnicodeEncodeError):
            pass  # found, and named, below
        convert = _CONVERT[self.dtype]
        result = []
        for i, value in enumerate(values):
            try:
                result.append(convert(value))
            except ValueError as error:
                raise LeadError(first + i, self.name, f"expected {self.kind}, {error}") from None
        if self.dtype == STRING:
            return result
        try:
            return tensors.numbers(self.dtype, result)
        except OverflowError:
            largest = max(range(len(result)), key=lambda i: abs(result[i]))
            raise LeadError(first + largest, self.name, f"{result[largest]} is too large for the model") from None

    def encode_list(self, value: object, index: int) -> array | list[bytes]:
        """The entries of one lead's list; a single value is a list of one, a missing one is empty.

        In the list of an attribute of events an entry may be missing: a number is NaN then and a text empty.
        """
        if is_missing(value):
            value = ()
        elif isinstance(value, str | bytes) or not isinstance(value, Sequence):
            value = (value,)
        if not self.gaps:
            for i, entry in enumerate(value):
                if is_missing(entry):
                    reason = "expected a list without gaps, received a missing entry"
                    raise LeadError(index, f"{self.name}[{i}]", reason)
        try:
            return Feature(self.name, self.dtype).encode(value) if len(value) else []
        except LeadError as error:
            raise LeadError(index, f"{self.name}[{error.index}]", error.reason) from None


class Features:
    """All raw features of a model, by its signature `predict_columns`."""

    def __init__(self, rows: Iterable[Feature]) -> None:
        self._rows = {row.name: row for row in sorted(rows, key=lambda row: row.name)}

    @classmethod
    def of(cls, signature: SignatureDef, model: str) -> Features:
        """Reads a signature.

        Raises:
          ClientError: an input of a type that raw features never have.
        """
        rows = []
        for name, info in signature.inputs.items():
            if info.dtype not in _CONVERT:
                raise ClientError(
                    f"{model}: feature {name!r} is of type {tensors.dtype_name(info.dtype)}; "
                    "expected numbers, text or true/false"
                )
            rows.append(Feature(name, info.dtype, many=len(info.tensor_shape.dim) > 1))
        return cls(rows)

    def __iter__(self):
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> Feature:
        return self._rows[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._rows)

    @property
    def flat(self) -> bool:
        """No feature is a list."""
        return not any(row.many for row in self)

    @property
    def journeys(self) -> bool:
        """Leads may have a `history` of events."""
        return names.HISTORY_ACTION in self and HISTORY not in self

    def columns(self, leads: Sequence[Lead], first: int = 0, ignore: Collection[str] | bool = ()) -> Columns:
        """One column per feature.

        Args:
          leads: a mapping each.
          first: index of the first lead, for errors.
          ignore: keys that leads may have although the model does not know them; True for any.

        Raises:
          LeadError: a lead that is no mapping, or a key that is no feature.
        """
        known = self._rows.keys()
        for i, lead in enumerate(leads):
            if not isinstance(lead, Mapping):
                raise LeadError(first + i, None, f"expected a mapping of features, received {shown(lead)}")
            if ignore is not True and not lead.keys() <= known:
                allowed = ignore if ignore else ()
                for key in lead:
                    if key not in known and key not in allowed:
                        raise LeadError(first + i, None, self.unknown(key))
        return {name: [lead.get(name) for lead in leads] for name in self._rows}

    def unknown(self, key: object) -> str:
        """What to say of a key that is no feature."""
        known = (*self.names, HISTORY, CREATED) if self.journeys else self.names
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"the model's features: {', '.join(known)}"
        return f"unknown feature {key!r}; {hint} Name it in ignore= to leave it out."

    def tensors(self, columns: Columns, rows: int, first: int = 0) -> dict[str, TensorProto]:
        """Inputs of `predict_columns`; a feature without a column is missing everywhere.

        Raises:
          LeadError: a wrong value.
        """
        absent = [None] * rows
        return {
            feature.name: tensors.vector(feature.dtype, feature.encode(columns.get(feature.name, absent), first))
            for feature in self
        }

    def examples(self, columns: Columns, rows: int, first: int = 0) -> list[bytes]:
        """Serialized tf.Examples, one per lead.

        Raises:
          LeadError: a wrong value.
        """
        result = []
        used = [(feature, columns[feature.name]) for feature in self if feature.name in columns]
        for i in range(rows):
            example = Example()
            features = example.features.feature
            for feature, column in used:
                value = column[i]
                if is_missing(value) or (isinstance(value, str | bytes) and not value):
                    continue
                values = feature.encode_list(value, first + i) if feature.many else feature.encode((value,), first + i)
                if feature.dtype == STRING:
                    features[feature.name].bytes_list.value.extend(values)
                elif feature.dtype in FLOATS:
                    features[feature.name].float_list.value.extend(values)
                else:
                    features[feature.name].int64_list.value.extend(values)
            result.append(example.SerializeToString())
        return result


def is_missing(value: object) -> bool:
    """None or NaN."""
    # pandas writes a missing string as NaN, and a missing datetime as something that is not itself either.
    return value is None or (isinstance(value, _MAY_BE_MISSING) and value != value)


def _number(value: Any) -> float:
    if is_missing(value):
        return NAN
    if isinstance(value, bool) or not isinstance(value, abstract.Real | Decimal):
        raise ValueError(f"received {shown(value)}{_written_as_text(value)}")
    try:
        number = tensors.numbers(tensors.FLOAT, [float(value)])[0]
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise ValueError(f"received {shown(value)}, which is infinite or too large for 32 bits")
    return float(value)


def _integer(value: Any) -> int:
    if is_missing(value):
        raise ValueError("received a missing value, which the model has no way to take here")
    number = float(_number(value))
    if number != math.floor(number):
        raise ValueError(f"received {shown(value)}")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"received {shown(value)}")
    return value


def _text(value: Any) -> bytes:
    if is_missing(value):
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dt.date):
        try:
            return iso.date_text(value).encode()
        except OverflowError:
            raise ValueError(f"received {shown(value)}, which is not in the years 1 to 9999") from None
    if not isinstance(value, str):
        hint = f"; write it as text: {str(value)!r}" if type(value) in (int, float) else ""
        raise ValueError(f"received {shown(value)}{hint}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"received {shown(value)}, which is not valid Unicode") from None


_CONVERT: dict[int, Callable[[Any], Any]] = {
    **dict.fromkeys(FLOATS, _number),
    **dict.fromkeys(INTEGERS, _integer),
    BOOL: _flag,
    STRING: _text,
}


def _written_as_text(value: object) -> str:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return ""
        return "; write it without quotes"
    return ""


def shown(value: object) -> str:
    """A value and its type, for errors."""
    text = repr(value)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f"{text} ({type(value).__name__})"
