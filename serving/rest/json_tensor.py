"""The tensors of a predict request, in rows (`instances`) or columns (`inputs`).

Reference: tensorflow_serving/util/json_tensor.cc (FillPredictRequestFromJson, FillTensorMapFromInstancesList,
FillTensorMapFromInputsMap).
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from serving.errors import ServingError, invalid
from serving.rest.json_array import fast_array, first_shape, is_base64, to_array, walk
from serving.rest.json_document import quote
from serving.servable import Servable

Tensors = dict[str, tuple[int, np.ndarray]]

_input_types_of: WeakKeyDictionary[Servable, dict[str, dict[str, int]]] = WeakKeyDictionary()


def is_row_format(document: Mapping[str, Any]) -> bool:
    """Whether the answer comes in rows too.

    Raises:
      ServingError: INVALID_ARGUMENT: neither or both of the keys, or `instances` is no list with values.
    """
    if "instances" not in document:
        if "inputs" not in document:
            raise invalid("Missing 'inputs' or 'instances' key")
        return False
    if "inputs" in document:
        raise invalid(
            f"JSON Value: {quote(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if type(document["instances"]) is not list:
        raise invalid(f"JSON Value: {quote(document)} Excepting 'instances' to be an list/array")
    if not document["instances"]:
        raise invalid(f"JSON Value: {quote(document)} No values in 'instances' array")
    return True


def predict_inputs(document: Mapping[str, Any], servable: Servable, signature: str) -> tuple[str, bool, Tensors]:
    """The tensors of a predict request.

    Args:
      document: the body.
      servable: the version that will answer.
      signature: its name; empty means serving_default.

    Returns:
      The signature's name; whether the request is in row format; alias -> (TF_DataType, array).

    Raises:
      ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a type that JSON cannot express.
    """
    signature = signature or "serving_default"
    dtypes = _input_types(servable, signature)
    if is_row_format(document):
        return signature, True, _from_instances(document["instances"], dtypes)
    return signature, False, _from_inputs(document["inputs"], dtypes)


def _input_types(servable: Servable, signature: str) -> dict[str, int]:
    known = _input_types_of.setdefault(servable, {})
    dtypes = known.get(signature)
    if dtypes is None:
        definition = servable.signatures.get(signature)
        if definition is None:
            raise invalid(f'Serving signature name: "{signature}" not found in signature def')
        dtypes = {alias: definition.inputs[alias].dtype for alias in sorted(definition.inputs)}
        if not dtypes:
            raise invalid(f"Failed to get input map for signature: {signature}")
        known[signature] = dtypes
    return dtypes


def _from_instances(instances: list, dtypes: dict[str, int]) -> Tensors:
    first = instances[0]
    if _is_named(first):
        columns = _columns(instances, dtypes)
    elif len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    else:
        columns = {next(iter(dtypes)): instances}
    tensors: Tensors = {}
    for alias, column in (columns or {}).items():
        array = fast_array(column, dtypes[alias])
        if array is None:
            columns = None
            break
        tensors[alias] = (dtypes[alias], array)
    if columns is None:
        _explain_instances(instances, dtypes)
        raise invalid("Failed to process 'instances' list")
    return tensors


def _from_inputs(value: Any, dtypes: dict[str, int]) -> Tensors:
    if not _is_named(value):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        ((alias, dtype),) = dtypes.items()
        return {alias: (dtype, to_array(value, dtype))}
    tensors: Tensors = {}
    for alias, dtype in dtypes.items():
        if alias not in value:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        tensors[alias] = (dtype, to_array(value[alias], dtype))
    return tensors


def _columns(instances: list, dtypes: dict[str, int]) -> dict[str, list] | None:
    """Rows of objects as lists by name; None if a row is no object or has other keys."""
    count = len(dtypes)
    if set(map(type, instances)) != {dict} or set(map(len, instances)) != {count}:
        return None
    try:
        if count == 1:
            (alias,) = dtypes
            values = list(map(itemgetter(alias), instances))
            return None if alias == "b64" and str in set(map(type, values)) else {alias: values}
        rows = map(itemgetter(*dtypes), instances)
        return dict(zip(dtypes, map(list, zip(*rows, strict=True)), strict=True))
    except KeyError:
        return None


def _is_named(value: Any) -> bool:
    return type(value) is dict and not is_base64(value)


def _explain_instances(instances: list, dtypes: dict[str, int]) -> None:
    """Raises for the first row that does not fit (FillTensorMapFromInstancesList)."""
    named = _is_named(instances[0])
    seen: dict[str, tuple[int, list[int]]] = {}
    for row, item in enumerate(instances):
        if named and not _is_named(item):
            raise invalid(f"Expecting object but got list at item {row} of input list")
        if not named and _is_named(item):
            raise invalid(f"Expecting value/list but got object at item {row} of input list")
        for alias, value in (item if named else {next(iter(dtypes)): item}).items():
            try:
                _explain_item(alias, value, dtypes, seen)
            except ServingError as error:
                key = f" key: {alias}" if named else ""
                raise invalid(
                    f"Failed to process element: {row}{key} of 'instances' list. Error: {error.code.name}: "
                    f"{error.message}"
                ) from None
        if named and item.keys() != dtypes.keys():
            raise invalid(
                f"Failed to process element: {row} of 'instances' list. JSON object: {quote(item)} keys must be "
                f"equal to: {','.join(dtypes)}"
            )


def _explain_item(alias: str, value: Any, dtypes: dict[str, int], seen: dict[str, tuple[int, list[int]]]) -> None:
    if alias not in dtypes:
        raise invalid(f"JSON object: does not have named input: {alias}")
    shape = first_shape(value)
    size = walk(value, 0, shape, dtypes[alias])
    first_size, expected = seen.setdefault(alias, (size, shape))
    if size != first_size:
        raise invalid(f"Expecting tensor size: {first_size} but got: {size}")
    if shape != expected:
        raise invalid(f"Expecting shape {_bracketed(expected)} but got: {_bracketed(shape)}")


def _bracketed(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
