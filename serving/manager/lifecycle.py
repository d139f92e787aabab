"""The state machine: loads what is wanted, keeps serving what it replaces, unloads what nobody holds any more.

Reference: tensorflow_serving/core/aspired_versions_manager.cc, basic_manager.cc, loader_harness.cc.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from serving.errors import ServingError
from serving.manager import policies
from serving.manager.config import ModelConfig
from serving.manager.lease import Handle
from serving.manager.loading import Load, Workers, as_serving_error, give_memory_back, load_whole
from serving.manager.source import fingerprint
from serving.manager.versions import History, Model, State, Version
from serving.servable import ServableId

_LOG = logging.getLogger("serving.manager")

OnEvent = Callable[[ServableId, str, float], None]


@dataclass(frozen=True, slots=True)
class Serving:
    """What requests see of a model; replaced as a whole."""

    latest: int
    handles: Mapping[int, Handle]


class Lifecycle:
    """Models, their versions and the threads that load and unload them.

    `serving` is an immutable snapshot that may be read at any time; everything else is guarded by `changed`, which is
    notified whenever something happened.

    Args:
      load: makes a servable of a directory.
      threads: versions that load at the same time.
      retries: attempts after a first failure.
      retry_seconds: between two attempts.
      on_event: see ModelManager.
    """

    def __init__(self, load: Load, threads: int, retries: int, retry_seconds: float, on_event: OnEvent | None) -> None:
        self.changed = threading.Condition()
        self.models: dict[str, Model] = {}
        self.history = History()
        self.serving: Mapping[str, Serving] = MappingProxyType({})
        self.stopping = False
        # Called whenever a retry was put on the clock.
        self.retry_set: Callable[[], None] = lambda: None
        self._load = load
        self._retries = retries
        self._retry_seconds = retry_seconds
        self._on_event = on_event
        self._loaders: Workers[Version] = Workers(threads, "serving-load", self._do_load)
        self._unloader: Workers[Version] = Workers(1, "serving-unload", self._do_unload)

    def configure(self, configs: Iterable[ModelConfig]) -> None:
        """Takes these models and lets go of all others; what they are to serve, `aspire` says."""
        wanted = {config.name: config for config in configs}
        for name, model in self.models.items():
            if name not in wanted and not model.removed:
                model.removed, model.aspired = True, {}
                _LOG.info("%s is no longer configured", name)
        for name, config in wanted.items():
            copy = type(config)()
            copy.CopyFrom(config)
            model = self.models.setdefault(name, Model(copy))
            if model.config.base_path != copy.base_path:
                model.aspired = {}
            if model.config != copy or model.removed:
                model.config, model.removed = copy, False

    def aspire(self, model: Model, found: Mapping[int, Path]) -> None:
        """Says which version directories there are."""
        for version in model.versions:
            if found.get(version.id.version) != version.path:
                version.lost = True
        model.aspired = policies.aspired(model.config.model_version_policy, found)

    def try_again(self, version: Version, seen: str) -> None:
        """Loads a failed version once more if its files have changed and nobody is writing them any more.

        Args:
          version: that failed.
          seen: fingerprint of its files now.
        """
        if not version.failed or version.queued:
            return
        # The same at two polls in a row: whoever changed it has finished.
        if seen == version.changed_to and seen != version.loaded_from:
            _LOG.info("%s:%d has changed, loading it again", version.id.name, version.id.version)
            version.attempts, version.retry_at = 0, time.monotonic()
        version.changed_to = seen

    def manage(self) -> None:
        """Does whatever can be done now."""
        now = time.monotonic()
        for name, model in list(self.models.items()):
            self._begin_loads(model, now)
            leaving = self._leaving(model)
            for version in leaving:
                self._enter(version, State.UNLOADING, 0.0)
            # Published first, retired then: who meets a retired handle finds a better one in the snapshot.
            self._publish(name, model)
            for version in leaving:
                if version.handle is not None:
                    version.handle.retire()
            if model.removed and not model.versions:
                del self.models[name]
        self.changed.notify_all()

    def next_retry(self) -> float | None:
        """`time.monotonic()` of the next attempt that is due; None if there is none."""
        return min(
            (v.retry_at for m in self.models.values() for v in m.versions if v.retry_at is not None), default=None
        )

    def stop(self, deadline: float | None) -> bool:
        """Unloads everything; False if leases outlast the deadline."""
        with self.changed:
            self.stopping = True
            for model in self.models.values():
                model.removed, model.aspired = True, {}
            self.manage()
        self._loaders.stop(remaining(deadline))
        with self.changed:
            done = self.changed.wait_for(lambda: not self.models, remaining(deadline))
        # Otherwise whoever holds a lease beyond the deadline still gets it unloaded.
        if done:
            self._unloader.stop(remaining(deadline))
        return done

    def _leaving(self, model: Model) -> list[Version]:
        available = model.available
        superseded = sorted((v for v in available if not model.wants(v)), key=lambda v: v.id.version)
        if model.removed:
            return superseded
        numbers = [v.id.version for v in superseded]
        count = len(policies.evictable(numbers, len(model.aspired), len(available) - len(superseded)))
        return superseded[:count]

    def _begin_loads(self, model: Model, now: float) -> None:
        for version in [v for v in model.versions if not model.wants(v)]:
            # Loading ones are let through: until something newer serves, they are of use.
            if version.state is State.START or version.failed:
                self._end(model, version)
        present = {v.id.version: v for v in model.versions if model.wants(v) and v.state is not State.UNLOADING}
        for number, path in model.aspired.items():
            if number not in present:
                present[number] = Version(ServableId(model.config.name, number), path, retry_at=now)
                model.versions.append(present[number])
            version = present[number]
            if version.retry_at is not None and version.retry_at <= now:
                version.retry_at, version.queued = None, True
                self._loaders.put(version)

    def _publish(self, name: str, model: Model) -> None:
        # Of two directories with one number, the one that is wanted wins: it comes last.
        handles = {v.id.version: v.handle for v in sorted(model.available, key=model.wants) if v.handle is not None}
        old = self.serving.get(name)
        if handles == (old.handles if old else {}):
            return
        snapshot = dict(self.serving)
        if handles:
            snapshot[name] = Serving(max(handles), handles)
        else:
            del snapshot[name]
        self.serving = MappingProxyType(snapshot)

    def _enter(self, version: Version, state: State, seconds: float) -> None:
        version.state = state
        if self._on_event is not None:
            try:
                self._on_event(version.id, "FAILED" if version.failed else state.name, seconds)
            except Exception:
                _LOG.exception("the observer of %s:%d failed", version.id.name, version.id.version)

    def _end(self, model: Model, version: Version) -> None:
        model.versions.remove(version)
        version.state = State.END
        self.history.add(version)

    def _do_load(self, version: Version) -> None:
        with self.changed:
            model = self.models.get(version.id.name)
            version.queued = False
            if self.stopping or model is None or version not in model.versions:
                return
            version.attempts += 1
            version.error = None
            self._enter(version, State.LOADING, 0.0)
        version.loaded_from = version.changed_to = fingerprint(version.path)
        start = time.perf_counter()
        try:
            servable = load_whole(self._load, version.id, version.path, version.loaded_from)
        except Exception as error:
            self._failed(version, as_serving_error(error), time.perf_counter() - start)
            return
        seconds = time.perf_counter() - start
        with self.changed:
            version.handle = Handle(servable, functools.partial(self._unloader.put, version))
            self._enter(version, State.AVAILABLE, seconds)
            _LOG.info("loaded %s:%d from %s in %.2f s", version.id.name, version.id.version, version.path, seconds)
            self.manage()

    def _failed(self, version: Version, error: ServingError, seconds: float) -> None:
        with self.changed:
            again = version.attempts <= self._retries
            version.error = error
            version.retry_at = time.monotonic() + self._retry_seconds if again else None
            self._enter(version, State.END, seconds)
            _LOG.error(
                "could not load %s:%d from %s in %.2f s (attempt %d of %d, %s): %s: %s",
                version.id.name,
                version.id.version,
                version.path,
                seconds,
                version.attempts,
                1 + self._retries,
                f"next in {self._retry_seconds:g} s or when its files change"
                if again
                else "next when its files change",
                error.code.name,
                error.message,
            )
            self.manage()
        self.retry_set()

    def _do_unload(self, version: Version) -> None:
        start = time.perf_counter()
        handle, version.handle = version.handle, None
        try:
            if handle is not None:
                handle.servable.close()
        except Exception:
            _LOG.exception("could not free %s:%d", version.id.name, version.id.version)
        del handle
        give_memory_back()
        seconds = time.perf_counter() - start
        with self.changed:
            self._enter(version, State.END, seconds)
            self._end(self.models[version.id.name], version)
            _LOG.info("unloaded %s:%d in %.2f s", version.id.name, version.id.version, seconds)
            self.manage()


def remaining(deadline: float | None) -> float | None:
    """Seconds until a `time.monotonic()` value, at least 0; None for none."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())
