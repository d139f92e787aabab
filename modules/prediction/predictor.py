"""A published model in a session of TensorFlow's C library, answering columns."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from modules.errors import ConfigError
from modules.native.library import NativeError
from modules.native.session import Session
from modules.native.tensor import STRING
from modules.prediction.versions import Signature

# The forest works in chunks of 512 rows; with 2048 rows a run's own cost hardly shows, and its intermediate values stay
# in the cache. It must not depend on the machine: TensorFlow's elementwise functions treat the last rows of a run
# apart, and the last bit of an answer with them.
RUN_ROWS = 2048


class Predictor:
    """Runs a signature of a SavedModel over columns; threads share the session.

    Args:
      model_dir: the SavedModel.
      signature: what to feed and fetch.
      threads: how many runs go on at once.
      vectors: outputs may hold several values per lead, [rows, k].

    Raises:
      ConfigError: the model cannot be loaded.
    """

    def __init__(self, model_dir: str | Path, signature: Signature, threads: int = 1, vectors: bool = False) -> None:
        self.signature = signature
        self._vectors = vectors
        self.threads = threads
        try:
            session = Session(model_dir)
            self._function = session.function(
                [(e.tensor, e.dtype) for e in signature.inputs], [e.tensor for e in signature.outputs]
            )
        except NativeError as e:
            raise ConfigError(f"the model in {model_dir} cannot be loaded: {e}") from e
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict") if threads > 1 else None
        weakref.finalize(self, session.close).atexit = False

    def __call__(self, columns: Mapping[str, pa.Array], rows: int) -> dict[str, np.ndarray]:
        """The outputs of the signature for some leads.

        Args:
          columns: feature -> float32 or large_binary [rows], null for missing, as `TypedBlock.columns`.
          rows: number of leads, 0 or more.

        Returns:
          Output -> [rows].

        Raises:
          NativeError: the run failed.
          ConfigError: an output does not have one value per lead.
        """
        runs = range(0, max(rows, 1), RUN_ROWS)

        def run(start: int) -> list[np.ndarray]:
            count = min(RUN_ROWS, rows - start)
            return self._function([feed(columns[e.name].slice(start, count), e.dtype) for e in self.signature.inputs])

        parts = list(self._pool.map(run, runs)) if self._pool and len(runs) > 1 else [run(start) for start in runs]
        found = {}
        for i, endpoint in enumerate(self.signature.outputs):
            values = parts[0][i] if len(parts) == 1 else np.concatenate([part[i] for part in parts])
            if values.shape[:1] != (rows,) or (values.ndim > 1 and not self._vectors):
                raise ConfigError(
                    f"output {endpoint.name!r} has shape {list(values.shape)} for {rows} leads; expected [{rows}]"
                )
            found[endpoint.name] = values
        return found


def feed(column: pa.Array, dtype: int) -> np.ndarray:
    """A column as the signature takes it: missing numbers are NaN, missing strings empty."""
    if dtype == STRING:
        return (column.fill_null(b"") if column.null_count else column).to_numpy(zero_copy_only=False)
    return column.to_numpy(zero_copy_only=False)


_early: dict[tuple[str, Signature, int], Future[Predictor]] = {}


def load_early(model_dir: Path, signature: Signature, threads: int) -> None:
    """Begins to load a model in a thread, for the `load` of the same model that is going to follow."""
    future: Future[Predictor] = Future()

    def work() -> None:
        try:
            future.set_result(Predictor(model_dir, signature, threads))
        except BaseException as e:  # whoever asks for it meets it
            future.set_exception(e)

    _early[str(model_dir), signature, threads] = future
    threading.Thread(target=work, name="load model", daemon=True).start()


def load(model_dir: Path, signature: Signature, threads: int) -> Predictor:
    """The model, from `load_early` if that was called in this process; see `Predictor`."""
    early = _early.pop((str(model_dir), signature, threads), None)
    return early.result() if early else Predictor(model_dir, signature, threads)
