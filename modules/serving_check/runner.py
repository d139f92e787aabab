"""All demands on a candidate in order, as a report of passed and failed checks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modules.journeys.names import ALLOWED_ACTIONS
from modules.serving_check import c_session, checks, ranking
from modules.serving_check.loaders import EagerModel, LoadedModel, Outputs, SessionModel
from modules.serving_check.requests import (
    Feeds,
    build_feeds,
    feature_names,
    takes_lists,
    with_words,
    without_features,
)
from modules.serving_check.settings import ServingCheckSettings
from modules.serving_check.signatures import Signature, read_signatures

DEFAULT = "serving_default"
C_LIBRARY = "equal in TensorFlow's C library"
OTHER_REQUESTS = 30
"""Timed requests of signatures beside the default one; their latency is reported, not judged."""
ROUNDS = 3
"""Rounds of timing before a candidate counts as too slow: a busy moment of the machine is not the model's fault."""
SHOWN_SECONDS = 0.05
"""Steps that take less are not listed in the report."""


class ServingCheck:
    """One candidate under test.

    Attributes:
      passed: names of the checks that passed.
      failed: name of a check -> what is wrong.
      latency_ms: signature -> {"p50", "p99", "max"} of single-row requests.
      seconds: step -> wall time.
    """

    def __init__(self, model_dir: str | Path, records: Sequence[bytes], settings: ServingCheckSettings) -> None:
        """
        Args:
          model_dir: SavedModel.
          records: serialized tf.Examples, repeated as often as the batch sizes need.
          settings: the demands.
        """
        self.model_dir = Path(model_dir)
        self.settings = settings
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}
        self.latency_ms: dict[str, dict[str, float]] = {}
        self.seconds: dict[str, float] = {}
        self.signatures: dict[str, Signature] = {}
        self.raw = list(records)
        self.records = without_features(self.raw, settings.ignored_features)
        self.names = feature_names(self.raw)

    @property
    def ok(self) -> bool:
        return bool(self.passed) and not self.failed

    @property
    def served(self) -> list[Signature]:
        """Signatures that callers ask."""
        return [s for n, s in self.signatures.items() if n not in self.settings.evaluation_signatures]

    def run(self) -> ServingCheck:
        """Runs every check; a model that cannot be loaded fails at once."""
        if not self.records:
            self.failed["requests"] = "there are no examples to build requests from"
            return self
        signatures = self._attempt("signatures", lambda: read_signatures(self.model_dir))
        if signatures is None:
            return self
        self.signatures = signatures
        if DEFAULT not in signatures:
            self.failed["signatures"] = f"expected a signature {DEFAULT!r}, received {sorted(signatures)}"
            return self
        # The C library runs in a process of its own, so nothing need wait for it; timing does.
        with ThreadPoolExecutor(max_workers=1) as pool:
            c_library = pool.submit(self._ask_c_library)
            session = self._attempt("load in a session", lambda: SessionModel(self.model_dir))
            eager = self._attempt("load as the Evaluator does", lambda: EagerModel(self.model_dir))
            if session is None:
                return self
            answers = self._answers(session)
            self._values(answers)
            self._agreement(answers)
            self._batching(answers)
            self._absent(session)
            self._ignored(session)
            self._lists(session)
            self._allowed(session)
            if eager is not None:
                self._same_as("equal to what the Evaluator sees", eager, answers)
            self._same_in_c_library(c_library.result(), answers)
        self._latency(session)
        return self

    def report(self) -> dict[str, Any]:
        """Everything as JSON."""
        return {
            "ok": self.ok,
            "passed": self.passed,
            "failed": self.failed,
            "latency_ms": self.latency_ms,
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "signatures": {n: [t.key for t in s.outputs] for n, s in self.signatures.items()},
        }

    def _attempt(self, name: str, action: Callable[[], Any]) -> Any:
        """The action's result; None, and a failed check, when it raises. A candidate's faults must not end the run."""
        start = time.perf_counter()
        try:
            result = action()
        except Exception as error:
            self.failed[name] = _said(error)
            return None
        finally:
            seconds = time.perf_counter() - start
            if seconds >= SHOWN_SECONDS:
                self.seconds[name] = seconds
        self._judge(name, None)
        return result

    def _judge(self, name: str, fault: str | None) -> None:
        if fault:
            self.failed.setdefault(name, fault)
        elif name not in self.passed:
            self.passed.append(name)

    def _rows(self, count: int, records: Sequence[bytes] | None = None) -> list[bytes]:
        source = self.records if records is None else records
        return [source[i % len(source)] for i in range(count)]

    def _feeds(self, signature: Signature, count: int) -> Feeds:
        return build_feeds(signature, self._rows(count), self.names)

    def _ask(self, model: LoadedModel, signature: Signature, count: int) -> Outputs:
        return model.run(signature, self._feeds(signature, count))

    def _answers(self, model: LoadedModel) -> dict[tuple[str, int], Outputs]:
        result: dict[tuple[str, int], Outputs] = {}
        for name, signature in self.signatures.items():
            for size in self.settings.batch_sizes:
                check = f"{name} answers {size} rows"
                outputs = self._attempt(check, partial(self._ask, model, signature, size))
                if outputs is not None:
                    fault = checks.batch_fault(outputs, size)
                    self._replace(check, fault)
                    if not fault:
                        result[name, size] = outputs
        return result

    def _values(self, answers: Mapping[tuple[str, int], Outputs]) -> None:
        for (name, size), outputs in answers.items():
            if not size:
                continue
            finite = {key: value for key, value in outputs.items() if key not in self.settings.may_be_missing}
            self._judge(f"{name} is finite", checks.finite_fault(finite))
            self._judge(f"{name} is in range", checks.range_fault(outputs, self.settings.ranges))
            if ranking.ACTIONS in outputs:
                self._judge(f"{name} ranks its actions", ranking.order_fault(outputs))
            for signature, key in self.settings.sums_to_one:
                if signature == name and key in outputs:
                    self._judge(f"{name}:{key} sums to one", ranking.sum_fault(outputs[key], self.settings.tolerance))
            for keys in self.settings.ascending:
                if all(key in outputs for key in keys):
                    fault = checks.ascending_fault(outputs, keys, self.settings.tolerance)
                    self._judge(f"{name} has {' <= '.join(keys)}", fault)

            for parts, base, whole in self.settings.adds_up:
                if {parts, base, whole} <= outputs.keys():
                    fault = checks.sum_fault(outputs, parts, base, whole, self.settings.adds_up_tolerance)
                    self._judge(f"{name}: {base} and {parts} add up to {whole}", fault)

    def _agreement(self, answers: Mapping[tuple[str, int], Outputs]) -> None:
        tolerance = self.settings.tolerance
        for size in self.settings.batch_sizes:
            results = {name: outputs for (name, rows), outputs in answers.items() if rows == size}
            for a, b in self.settings.same_outputs:
                if a in results and b in results:
                    self._judge(f"{a} equals {b}", ranking.difference_fault(results[a], results[b], tolerance))
            for a, b in self.settings.equal_outputs:
                signature, _, output = b.partition(":")
                if size and a.partition(":")[0] in results and output.partition("[")[0] in results.get(signature, {}):
                    try:
                        left, right = checks.pick(results, a), checks.pick(results, b)
                        assert left is not None and right is not None
                        fault = checks.array_fault(left, right, tolerance)
                    except ValueError as error:
                        fault = str(error)
                    self._judge(f"{a} equals {b}", fault)

    def _batching(self, answers: Mapping[tuple[str, int], Outputs]) -> None:
        """A row's answer does not depend on the rows it travels with: the server merges requests."""
        sizes = sorted(s for s in self.settings.batch_sizes if s)
        for name in self.signatures:
            for small, large in itertools.pairwise(sizes):
                if (name, small) in answers and (name, large) in answers:
                    cut = {key: value[:small] for key, value in answers[name, large].items()}
                    fault = ranking.difference_fault(cut, answers[name, small], self.settings.tolerance, True)
                    self._judge(f"{name} does not depend on the batch", fault)

    def _absent(self, session: SessionModel) -> None:
        """A request may lack any feature, so also all of them."""
        signature = self.signatures[DEFAULT]
        outputs = self._attempt(
            "answers an example without features",
            lambda: session.run(signature, build_feeds(signature, [b"", *self._rows(1)], self.names)),
        )
        if outputs is not None:
            fault = checks.finite_fault(outputs) or checks.range_fault(outputs, self.settings.ranges)
            self._judge("an example without features has a finite answer in range", fault)
        for a, b in self.settings.same_outputs:
            if a != DEFAULT or b not in self.signatures or outputs is None:
                continue
            feeds = build_feeds(self.signatures[b], [b"", *self._rows(1)], self.names)
            columns = self._attempt(
                f"{b} answers a row without values", partial(session.run, self.signatures[b], feeds)
            )
            if columns is not None:
                fault = ranking.difference_fault(outputs, columns, self.settings.tolerance)
                self._judge(f"{a} equals {b}", fault and f"a row without values: {fault}")

    def _ignored(self, session: SessionModel) -> None:
        """The label, the id and the time must not change an answer."""
        if self.raw == self.records:
            return
        signature = self.signatures[DEFAULT]
        size = max(self.settings.batch_sizes)
        answers = []
        for records in (self.raw, self.records):
            feeds = build_feeds(signature, self._rows(size, records), self.names)
            answers.append(self._attempt("answers the records as they are", partial(session.run, signature, feeds)))
        if all(a is not None for a in answers):
            fault = ranking.difference_fault(answers[0], answers[1], self.settings.tolerance)
            self._judge(f"does not read {', '.join(self.settings.ignored_features)}", fault)

    def _lists(self, session: SessionModel) -> None:
        """Lists in a request are as long as its longest one: a row's answer does not depend on that."""
        for name, signature in self.signatures.items():
            if not takes_lists(signature):
                continue
            rows = self._rows(min(7, max(self.settings.batch_sizes)))
            bare = build_feeds(signature, [b""] * 2, self.names)
            none = {key: value[:, :0] if value.ndim == 2 else value for key, value in bare.items()}
            padded = build_feeds(signature, rows, self.names, padding=3)
            for check, feeds, other in (
                ("does not depend on padding", padded, build_feeds(signature, rows, self.names)),
                ("takes empty lists", none, bare),
            ):
                answers = [self._attempt(f"{name} {check}", partial(session.run, signature, f)) for f in (feeds, other)]
                if all(a is not None for a in answers):
                    fault = ranking.difference_fault(answers[0], answers[1], self.settings.tolerance)
                    self._replace(f"{name} {check}", fault)

    def _allowed(self, session: SessionModel) -> None:
        """What is not allowed never comes back, and nothing does if nothing is allowed."""
        if not any(t.key == ALLOWED_ACTIONS for s in self.signatures.values() for t in s.inputs):
            return
        signature, rows = self.signatures[DEFAULT], self._rows(min(7, max(self.settings.batch_sizes)))
        check = "recommends only what is allowed"

        def ask(records: Sequence[bytes]) -> Outputs:
            return session.run(signature, build_feeds(signature, records, self.names))

        free = self._attempt(check, partial(ask, rows))
        if free is None or ranking.ACTIONS not in free:
            return
        # The last action that each row may have; the first row may have none.
        last = [next((a for a in reversed(actions) if a), b"") for actions in free[ranking.ACTIONS].tolist()]
        allowed = [b"", *last[1:]]
        asked = with_words(rows, ALLOWED_ACTIONS, [[a or b"\0"] for a in allowed])
        bound = self._attempt(check, partial(ask, asked))
        if bound is not None:
            self._replace(check, ranking.allowed_fault(bound, allowed, self.settings.tolerance))

    def _replace(self, name: str, fault: str | None) -> None:
        """Judges what has been attempted under the same name."""
        if fault and name in self.passed:
            self.passed.remove(name)
        self._judge(name, fault)

    def _same_as(self, check: str, other: LoadedModel, answers: Mapping[tuple[str, int], Outputs]) -> None:
        start = time.perf_counter()
        for (name, size), outputs in answers.items():
            signature = self.signatures[name]
            try:
                fault = ranking.difference_fault(
                    other.run(signature, self._feeds(signature, size)), outputs, self.settings.tolerance
                )
            except Exception as error:
                fault = _said(error)
            self._judge(check, fault and f"{name}, {size} rows: {fault}")
        self.seconds[check] = time.perf_counter() - start

    def _ask_c_library(self) -> dict[tuple[str, int], Outputs] | str:
        """What TensorFlow's C library answers, in a process without the Python package, or what was wrong."""
        start = time.perf_counter()
        sizes = [size for size in self.settings.batch_sizes if size in (0, 7)] or list(self.settings.batch_sizes)
        keys = [(name, size) for name in self.signatures for size in sizes]
        try:
            requests = [(self.signatures[name], self._feeds(self.signatures[name], size)) for name, size in keys]
            return dict(zip(keys, c_session.ask(self.model_dir, requests), strict=True))
        except Exception as error:
            return _said(error)
        finally:
            self.seconds[C_LIBRARY] = time.perf_counter() - start

    def _same_in_c_library(
        self, received: Mapping[tuple[str, int], Outputs] | str, answers: Mapping[tuple[str, int], Outputs]
    ) -> None:
        if isinstance(received, str):
            self._judge(C_LIBRARY, received)
            return
        for (name, size), outputs in received.items():
            if (name, size) in answers:
                fault = ranking.difference_fault(outputs, answers[name, size], self.settings.tolerance)
                self._judge(C_LIBRARY, fault and f"{name}, {size} rows: {fault}")

    def _latency(self, session: SessionModel) -> None:
        for signature in self.served:
            name = signature.name
            count = self.settings.requests if name == DEFAULT else min(OTHER_REQUESTS, self.settings.requests)
            distinct = [
                build_feeds(signature, [record], self.names) for record in self.records[: min(count, len(self.records))]
            ]
            feeds: list[Mapping[str, np.ndarray]] = [distinct[i % len(distinct)] for i in range(count)]
            best: dict[str, float] | None = None
            for _ in range(ROUNDS if name == DEFAULT else 1):
                times = self._attempt(f"{name} answers single rows", partial(session.time, signature, feeds))
                if times is None:
                    break
                p50, p99 = (float(np.quantile(times, q, method="higher")) for q in (0.5, 0.99))
                if best is None or p99 < best["p99"]:
                    best = {"p50": p50, "p99": p99, "max": float(times.max())}
                if p99 <= self.settings.p99_ms:
                    break
            if best is None:
                continue
            self.latency_ms[name] = {key: round(value, 3) for key, value in best.items()}
            if name == DEFAULT:
                slow = best["p99"] > self.settings.p99_ms
                fault = f"p99 {best['p99']:.2f} ms, at most {self.settings.p99_ms:g} ms allowed" if slow else None
                self._judge("latency is within the budget", fault)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
