"""The client: leads in as plain dicts, scores and recommendations out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from modules.native.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from serving.client import answers
from serving.client.answers import LeadScore, ModelMetadata, Recommendation, VersionStatus
from serving.client.chunks import column_chunks, columns_of, in_order, input_for_examples
from serving.client.errors import ClientError, SettingError
from serving.client.explanations import ActionExplanation, LeadExplanation, action_explanations, lead_explanations
from serving.client.leads import Columns, Features, Lead
from serving.client.rows import COLUMNS, EXAMPLES, EXPLAIN, ExampleRows, Known, LeadRows, Rows, RowsToExplain
from serving.client.transport import Tls, Transport

EXPLAINED_ACTIONS = 32
"""Leads per request whose recommended actions are explained: each asks the network some hundred times."""

# tensorflow/core/kernels/batching_util: what a server with batching says of a request above its max_batch_size.
_TOO_LARGE = re.compile(r"larger than maximum input batch size (\d+)")

# What a server says when a request was built for another version's signature.
_STALE = ("INVALID_ARGUMENT", "FAILED_PRECONDITION")

T = TypeVar("T")


class Client:
    """Talks to a model server with TensorFlow Serving's API, ours or tensorflow_model_server. Safe for threads.

    >>> with Client("127.0.0.1:8500") as client:  # doctest: +SKIP
    ...     (answer,) = client.score([{"age": 42, "state": "CA", "visits": 3}])
    ...     answer.score
    71.4

    Args:
      address: gRPC address, `host:port` or `unix:path`.
      model: name of the served model.
      version: a version number; the newest one otherwise.
      label: a version label such as "stable", instead of a number.
      timeout: seconds for one request, retries included.
      token: bearer token, for a server that wants one.
      tls: None for plain text, True for the system's authorities, or `Tls(...)`.
      retries: further tries while the server is unavailable.
      backoff: seconds before the first further try; doubles each time, up to 2 s, with jitter.
      max_batch: leads per request; more are sent in several, answered in order. Comes down by itself to
        the max_batch_size of a server with batching.

    Raises:
      SettingError: settings that contradict each other, or files of `tls` that cannot be read.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8500",
        *,
        model: str = "lead-scoring",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 5.0,
        token: str | None = None,
        tls: Tls | bool | None = None,
        retries: int = 3,
        backoff: float = 0.1,
        max_batch: int = 512,
    ) -> None:
        if version is not None and label is not None:
            raise SettingError(f"expected a version or a label, received both: {version} and {label!r}")
        if max_batch < 1:
            raise SettingError(f"max_batch: expected at least 1, received {max_batch}")
        self.model, self.max_batch = model, max_batch
        self._transport = Transport(address, timeout, token, tls, retries, backoff)
        self._spec = model_pb2.ModelSpec(name=model)
        if version is not None:
            self._spec.version.value = version
        elif label is not None:
            self._spec.version_label = label
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._transport.channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._transport.channel)
        self._known: Known | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def score(self, leads: Iterable[Lead], *, ignore: Collection[str] | bool = ()) -> list[LeadScore]:
        """Scores leads.

        Args:
          leads: features by name; a missing value is None, NaN or not there.
          ignore: keys that are no features and are left out (id, label, time); True for all such keys.

        Returns:
          One score per lead, in order.

        Raises:
          LeadError: an unknown feature or a wrong value, with the lead's index.
          ClientError: the server cannot be reached or refuses, or is no lead-scoring model.
        """
        return list(itertools.chain.from_iterable(self._ask_leads(leads, ignore, answers.lead_scores)))

    def recommend(self, leads: Iterable[Lead], *, ignore: Collection[str] | bool = ()) -> list[Recommendation]:
        """Ranks the next actions for leads.

        >>> with Client(model="recommendation") as client:  # doctest: +SKIP
        ...     history = [{"action": "call", "time": "2026-03-01T09:30:00Z", "response": "no_answer"}]
        ...     (answer,) = client.recommend([{"state": "CA", "history": history}])
        ...     answer.next_best_action
        'text'

        Args:
          leads: features by name, a missing value as in `score`, and
            `history`: all events of the lead so far: `action`, `time` (datetime, ISO 8601 text or seconds since 1970;
            UTC without an offset) and the features of events; sorted by time here if they are not;
            `created`: when the lead came in, if known; its first event otherwise;
            `allowed_actions`: the only ones that may be recommended; all without the key;
            `history_length`: the number of all events, where `history` holds only the latest ones.
            Lists under the model's own names (history_action, ...) are taken instead of `history`.
          ignore: keys of leads and of events that are no features and are left out; True for all such keys.

        Returns:
          One answer per lead, in order.

        Raises:
          LeadError: an unknown feature or a wrong value, with the lead's index.
          ClientError: the server cannot be reached or refuses, or is no recommendation model.
        """
        return list(itertools.chain.from_iterable(self._ask_leads(leads, ignore, answers.recommendations)))

    def explain(self, leads: Iterable[Lead], *, ignore: Collection[str] | bool = ()) -> list[LeadExplanation]:
        """Scores leads and says why.

        >>> with Client() as client:  # doctest: +SKIP
        ...     (answer,) = client.explain([{"age": 42, "state": "CA", "visits": 3}])
        ...     str(answer.reasons[0])
        'visits raises the odds 1.84 times'

        Args:
          leads, ignore: as `score`.

        Returns:
          One explanation per lead, in order; the reasons of each by size.

        Raises:
          LeadError, ClientError: as `score`; a version that does not explain itself.
        """
        return list(itertools.chain.from_iterable(self._ask_leads(leads, ignore, lead_explanations, explain=True)))

    def explain_actions(self, leads: Iterable[Lead], *, ignore: Collection[str] | bool = ()) -> list[ActionExplanation]:
        """Says what the next best actions of leads rest on; takes some milliseconds per lead.

        Args:
          leads, ignore: as `recommend`.

        Returns:
          One explanation per lead, in order.

        Raises:
          LeadError, ClientError: as `recommend`; a version that does not explain itself.
        """
        asked = self._ask_leads(leads, ignore, action_explanations, explain=True, most=EXPLAINED_ACTIONS)
        return list(itertools.chain.from_iterable(asked))

    def explain_columns(self, chunks: Iterable[Columns]) -> Iterator[list[LeadExplanation]]:
        """As `score_columns`, with the reasons."""
        return in_order(map(RowsToExplain, column_chunks(chunks)), lambda chunk: self._ask(chunk, lead_explanations))

    def explain_examples(self, chunks: Iterable[Sequence[bytes]]) -> Iterator[list[ActionExplanation]]:
        """As `recommend_examples`, what the answers rest on; at most `EXPLAINED_ACTIONS` leads in a chunk are quick."""
        rows = (RowsToExplain(ExampleRows(chunk)) for chunk in chunks)
        return in_order(rows, lambda chunk: self._ask(chunk, action_explanations))

    def recommend_examples(self, chunks: Iterable[Sequence[bytes]]) -> Iterator[list[Recommendation]]:
        """Ranks the next actions for leads in chunks; reads and holds no more than a few at a time.

        Args:
          chunks: serialized tf.Examples (modules/journeys/names.py), at most `max_batch` in each.

        Yields:
          The answers of a chunk, in order.

        Raises:
          ClientError: as `recommend`.
        """
        return in_order(map(ExampleRows, chunks), lambda rows: self._ask(rows, answers.recommendations))

    def score_columns(self, chunks: Iterable[Columns]) -> Iterator[list[LeadScore]]:
        """Scores tables in chunks; reads and holds no more than a few at a time.

        Args:
          chunks: columns by feature name, all of the same length and at most `max_batch` long; a feature without
            column is missing, a column without feature is left out.

        Yields:
          The scores of a chunk, in order.

        Raises:
          LeadError: a wrong value; the index counts over all chunks.
          ClientError: as `score`.
        """
        return in_order(column_chunks(chunks), lambda chunk: self._ask(chunk, answers.lead_scores))

    def features(self) -> Features:
        """The raw features that the model takes; asked once and kept until the version changes.

        Raises:
          ClientError: as `score`, or the model has no signature that names its features.
        """
        return self._require().features

    def metadata(self) -> ModelMetadata:
        """Signatures of the version that answers.

        Raises:
          ClientError: the server cannot be reached or does not serve the model.
        """
        spec, signatures = self._signatures()
        return answers.metadata(spec.name, spec.version.value, signatures)

    def status(self) -> list[VersionStatus]:
        """State of every version of the model that the server knows, or of the one chosen.

        Raises:
          ClientError: the server cannot be reached or does not know the model.
        """
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec)
        return answers.statuses(self._transport.call(self._models.GetModelStatus, request, self.model))

    def _ask_leads(
        self,
        leads: Iterable[Lead],
        ignore: Collection[str] | bool,
        read: Callable[[predict_pb2.PredictResponse, int], list[T]],
        explain: bool = False,
        most: int | None = None,
    ) -> Iterator[list[T]]:
        source = iter(leads)

        def rows() -> Iterator[Rows]:
            first = 0
            while chunk := list(itertools.islice(source, min(self.max_batch, most or self.max_batch))):
                found = LeadRows(partial(columns_of, chunk, first, ignore), first, 0, len(chunk))
                yield RowsToExplain(found) if explain else found
                first += len(chunk)

        return in_order(rows(), lambda chunk: self._ask(chunk, read))

    def _ask(self, rows: Rows, read: Callable[[predict_pb2.PredictResponse, int], list[T]]) -> list[T]:
        if not len(rows):
            return []
        known = self._require()
        try:
            response = self._predict(known, rows)
        except ClientError as error:
            limit = _TOO_LARGE.search(str(error))
            if limit is not None and 0 < int(limit[1]) < len(rows):
                size = int(limit[1])
                self.max_batch = min(self.max_batch, size)
                parts = (self._ask(rows.part(s, s + size), read) for s in range(0, len(rows), size))
                return list(itertools.chain.from_iterable(parts))
            # A newer version may take other features; then the request is built again, once.
            if error.code is not None and error.code not in _STALE:
                raise
            self._known = None
            newer = self._require()
            if newer.version == known.version:
                raise
            response = self._predict(newer, rows)
        else:
            if response.model_spec.version.value != known.version:
                self._known = None
        return read(response, len(rows))

    def _predict(self, known: Known, rows: Rows) -> predict_pb2.PredictResponse:
        request = predict_pb2.PredictRequest(model_spec=self._spec)
        rows.fill(request, known)
        return self._transport.call(self._prediction.Predict, request, self.model)

    def _require(self) -> Known:
        known = self._known
        if known is not None:
            return known
        spec, signatures = self._signatures()
        where = f"{spec.name} version {spec.version.value}"
        if COLUMNS not in signatures:
            raise ClientError(
                f"{where} has no signature {COLUMNS!r}, which names its raw features; "
                f"it has: {', '.join(sorted(n for n in signatures if not n.startswith('__')))}"
            )
        features = Features.of(signatures[COLUMNS], where)
        examples, explains = (input_for_examples(signatures, name) for name in (EXAMPLES, EXPLAIN))
        if examples is None and not features.flat:
            raise ClientError(f"{where} has no signature {EXAMPLES!r} that takes tf.Examples, and features with lists")
        self._known = known = Known(spec.version.value, features, examples, explains)
        return known

    def _signatures(self) -> tuple[model_pb2.ModelSpec, dict]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        response = self._transport.call(self._prediction.GetModelMetadata, request, self.model)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return response.model_spec, dict(found.signature_def)
