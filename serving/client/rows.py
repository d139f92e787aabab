"""Rows of a request in the forms in which they come, and how each fills a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from modules.native.protos import predict_pb2
from serving.client import tensors
from serving.client.errors import ClientError
from serving.client.leads import Columns, Features

COLUMNS, EXAMPLES, EXPLAIN = "predict_columns", "serving_default", "explain"

FEW = 4
"""Up to this many leads go as tf.Examples, more as columns: one lead takes 0.85 of the time that way, 512 take 1.8."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a version: its features, and the inputs of `serving_default` and of `explain` that take
    examples, if any."""

    version: int
    features: Features
    examples: str | None
    explains: str | None = None


class Rows(Protocol):
    """Some rows of one request."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Rows:
        """Some of them."""
        ...

    def fill(self, request: predict_pb2.PredictRequest, known: Known) -> None:
        """Sets signature and inputs for a version.

        Raises:
          ClientError: a row that this version cannot take.
        """
        ...


@dataclass(frozen=True, slots=True)
class LeadRows:
    """Leads as columns, made when the features are known.

    columns: of all rows, which `start` and `stop` cut. first: index of the first row of all, for errors.
    """

    columns: Callable[[Features], Columns]
    first: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def part(self, start: int, stop: int) -> LeadRows:
        return LeadRows(self.columns, self.first, self.start + start, min(self.start + stop, self.stop))

    def _cut(self, known: Known) -> tuple[Columns, int, int]:
        """Columns of these rows, how many there are, and the index of the first one."""
        columns = {name: c[self.start : self.stop] for name, c in self.columns(known.features).items()}
        return columns, len(self), self.first + self.start

    def serialized(self, known: Known) -> Sequence[bytes]:
        """As tf.Examples."""
        return known.features.examples(*self._cut(known))

    def fill(self, request: predict_pb2.PredictRequest, known: Known) -> None:
        columns, rows, first = self._cut(known)
        if known.examples is not None and (rows <= FEW or not known.features.flat):
            request.model_spec.signature_name = EXAMPLES
            examples = known.features.examples(columns, rows, first)
            request.inputs[known.examples].CopyFrom(tensors.vector(tensors.STRING, examples))
        else:
            request.model_spec.signature_name = COLUMNS
            for name, tensor in known.features.tensors(columns, rows, first).items():
                request.inputs[name].CopyFrom(tensor)


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """Serialized tf.Examples."""

    examples: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.examples)

    def part(self, start: int, stop: int) -> ExampleRows:
        return ExampleRows(self.examples[start:stop])

    def serialized(self, _: Known) -> Sequence[bytes]:
        """As they are."""
        return self.examples

    def fill(self, request: predict_pb2.PredictRequest, known: Known) -> None:
        if known.examples is None:
            raise ClientError(f"version {known.version} has no signature {EXAMPLES!r} that takes tf.Examples")
        request.model_spec.signature_name = EXAMPLES
        request.inputs[known.examples].CopyFrom(tensors.vector(tensors.STRING, self.examples))


@dataclass(frozen=True, slots=True)
class RowsToExplain:
    """Rows that are to be explained, not only answered."""

    rows: LeadRows | ExampleRows

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> RowsToExplain:
        return RowsToExplain(self.rows.part(start, stop))

    def fill(self, request: predict_pb2.PredictRequest, known: Known) -> None:
        if not known.explains:
            raise ClientError(f"version {known.version} has no signature {EXPLAIN!r}: it does not explain its answers")
        request.model_spec.signature_name = EXPLAIN
        examples = self.rows.serialized(known)
        request.inputs[known.explains].CopyFrom(tensors.vector(tensors.STRING, examples))
