"""A version's signatures: looked up, checked for their feeds, and prepared once per version."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from modules.native.protos import DataType, model_pb2
from serving import tensors
from serving.errors import ServingError, invalid
from serving.servable import Feed, Servable

# tensorflow/cc/saved_model/signature_constants.h
DEFAULT_SIGNATURE = "serving_default"
PREDICT, CLASSIFY, REGRESS = "tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress"

Prepared = TypeVar("Prepared")
_prepared: WeakKeyDictionary[Servable, dict[tuple[Any, str], Any]] = WeakKeyDictionary()


def prepared(servable: Servable, name: str, prepare: Callable[[Servable, str], Prepared]) -> Prepared:
    """`prepare(servable, name)`, computed once as long as the servable lives; failures are not kept."""
    of_servable = _prepared.get(servable)
    if of_servable is None:
        of_servable = _prepared.setdefault(servable, {})
    found = of_servable.get((prepare, name))
    if found is None:
        found = of_servable[prepare, name] = prepare(servable, name)
    return found


def check_types(feeds: Iterable[Feed], expected: Iterable[int]) -> None:
    """Refuses a feed of another type than the signature's, in the words of TensorFlow's session.

    Args:
      feeds: sorted by tensor name, as the session counts them.
      expected: TF_DataType of each; DT_INVALID leaves the check to the session.

    Raises:
      ServingError: INVALID_ARGUMENT, `Expects arg[0] to be float but int64 is provided`.
    """
    for i, (feed, dtype) in enumerate(zip(feeds, expected, strict=True)):
        if feed.dtype != dtype and dtype:
            wanted, given = tensors.type_name(dtype), tensors.type_name(feed.dtype)
            raise invalid(f"Expects arg[{i}] to be {wanted} but {given} is provided")


def name_version(spec: model_pb2.ModelSpec, servable: Servable, signature_name: str) -> None:
    """Says in a response who answered."""
    spec.name = servable.id.name
    spec.version.value = servable.id.version
    spec.signature_name = signature_name


def shape_text(shape: Iterable[int]) -> str:
    """TensorShape::DebugString, `[2,3]`."""
    return "[" + ",".join(map(str, shape)) + "]"


def enum_name(dtype: int) -> str:
    """DataType_Name, `DT_FLOAT`."""
    return DataType.Name(dtype)


def wrong_method(kind: str, expected: str, found: str) -> ServingError:
    """INVALID_ARGUMENT of a signature that serves something else (classifier.cc, regressor.cc)."""
    return invalid(f"Expected {kind} signature method_name to be {expected}. Was: {found}")
