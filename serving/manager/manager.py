"""Which version of which model answers: leases, status, configuration, polling.

Reference: tensorflow_serving/model_servers/server_core.cc, get_model_status_impl.cc.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from modules.native.protos import get_model_status_pb2, model_pb2
from serving.errors import Code, ServingError, invalid
from serving.manager import config as configs
from serving.manager import policies
from serving.manager.config import ModelConfig, ModelServerConfig
from serving.manager.lease import Lease
from serving.manager.lifecycle import Lifecycle, OnEvent, remaining
from serving.manager.loading import Load, load_and_warm_up
from serving.manager.settings import DEFAULT_LOAD_THREADS, ManagerSettings
from serving.manager.source import Source, fingerprint
from serving.manager.versions import Model, status_response, unavailable
from serving.servable import ServableId

_LOG = logging.getLogger("serving.manager")


@dataclass(slots=True)
class _Watched:
    """A config file. due: `time.monotonic()` of the next look; applied: what it held last; error: why not now."""

    path: Path
    seconds: float
    due: float
    applied: ModelServerConfig | None
    error: str = ""


class ModelManager:
    """Versions of models, each in one of five states; safe to use from any number of threads.

    A new version loads before the old one goes; one that cannot be loaded takes nothing away; one whose directory
    vanishes serves on until something replaces it. Requests read an immutable snapshot and never wait for a load.

    Args:
      settings: polling and retries.
      load: makes a servable of a directory; raises if it cannot.
      on_event: called at each change with the version, its state ("LOADING", "AVAILABLE", "FAILED", "UNLOADING",
        "END") and the seconds that the load ("AVAILABLE", "FAILED") or the unload ("END") took. It must return quickly
        and not call the manager.
    """

    def __init__(
        self, settings: ManagerSettings | None = None, load: Load = load_and_warm_up, on_event: OnEvent | None = None
    ) -> None:
        self._settings = settings or ManagerSettings()
        self._lifecycle = Lifecycle(
            load,
            self._settings.num_load_threads or DEFAULT_LOAD_THREADS,
            self._settings.max_num_load_retries,
            self._settings.load_retry_interval_micros / 1e6,
            on_event,
        )
        self._changed = self._lifecycle.changed
        self._labels: Mapping[tuple[str, str], int] = MappingProxyType({})
        self._source = Source()
        self._polling = threading.Lock()
        self._wake = threading.Event()
        self._lifecycle.retry_set = self._wake.set
        self._applied: ModelServerConfig | None = None
        self._watched: _Watched | None = None
        self._thread: threading.Thread | None = None

    def start(self, config: ModelServerConfig) -> None:
        """Begins to load what the configuration names; does not wait for it.

        Args:
          config: models to serve; none at all is taken too.

        Raises:
          ServingError: the configuration is refused.
        """
        configs.validate(config)
        with self._changed:
            self._apply(config)
        if self._settings.file_system_poll_wait_seconds >= 0:
            self.poll()
        self._thread = threading.Thread(target=self._run, name="serving-poll", daemon=True)
        self._thread.start()

    def wait_until_loaded(self, timeout: float | None = None) -> bool:
        """Waits until every configured version serves or has failed to load once.

        Args:
          timeout: seconds; None waits as long as it takes, also for a base path without a version.

        Returns:
          Whether every model has a version that serves.

        Raises:
          ServingError: FAILED_PRECONDITION, all is loaded and a label names a version that does not serve.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._stopping or all(m.settled for m in self._models()), timeout):
                return False
            if self._stopping:
                return False
            if not self._settings.allow_version_labels_for_unavailable_models:
                for (name, _), version in self._labels.items():
                    self._require_available(name, version)
            return all(m.serves for m in self._models())

    def stop(self, timeout: float | None = None) -> bool:
        """Takes every version out of service, waits for its leases, unloads it. May be called twice.

        Args:
          timeout: seconds to wait in all; None waits as long as leases are held.

        Returns:
          Whether everything was unloaded in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._lifecycle.stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(remaining(deadline))
        return self._lifecycle.stop(deadline)

    def lease(self, spec: model_pb2.ModelSpec) -> Lease:
        """Holds the version that a request names: `with manager.lease(spec) as servable:`. Takes microseconds.

        Raises:
          ServingError: INVALID_ARGUMENT, no name or an unknown label; NOT_FOUND, the version does not serve.
        """
        name = spec.name
        if not name:
            raise invalid("ModelSpec has no name specified.")
        version = self._version(spec)
        while True:
            serving = self._lifecycle.serving.get(name)
            handle = None
            if serving is not None:
                handle = serving.handles.get(serving.latest if version is None else version)
            if handle is None:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
            # A handle refuses only after the snapshot that lacks it was published: the next look finds another.
            if handle.acquire():
                return Lease(handle)

    def available(self) -> list[ServableId]:
        """The versions that serve, sorted."""
        serving = self._lifecycle.serving
        return [ServableId(name, version) for name in sorted(serving) for version in sorted(serving[name].handles)]

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of one version, or of all versions of a model, newest first; ended ones are named too.

        A version that failed to load is END with its error, also between two attempts.

        Raises:
          ServingError: INVALID_ARGUMENT, no model_spec or an unknown label; NOT_FOUND, nothing is known of it.
        """
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        name = request.model_spec.name
        version = self._version(request.model_spec)
        with self._changed:
            model = self._lifecycle.models.get(name)
            states = self._lifecycle.history.states(name, model.versions if model else [])
        if version is None:
            if not states:
                raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
            return status_response(states)
        if version not in states:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        return status_response({version: states[version]})

    def reload(self, config: ModelServerConfig, deadline: float | None = None) -> None:
        """Replaces the configuration; returns when models that are new, or have another base path, serve.

        Unlike upstream it does not sit out the retries of a version that cannot be loaded (they go on behind), and a
        reload that waits for a model does not keep the next one from starting.

        Args:
          config: a model list; models that it does not name are unloaded.
          deadline: `time.monotonic()` until which to wait for new models.

        Raises:
          ServingError: INVALID_ARGUMENT, the configuration is refused; FAILED_PRECONDITION, a label names a version
            that does not serve: nothing was changed. UNKNOWN, a new model has no version that could be loaded;
            DEADLINE_EXCEEDED, it has none yet; ABORTED, a later reload changed it: the configuration stands.
        """
        awaited = self._reconfigure(config)
        with self._changed:
            in_time = self._changed.wait_for(
                lambda: self._stopping or all(m.settled or not _current(m, c) for m, c in awaited), remaining(deadline)
            )
            without = [m for m, c in awaited if _current(m, c) and not m.serves]
            failures = [v for m in without if m.settled for v in m.versions if m.wants(v) and v.failed]
            if failures:
                raise unavailable(failures)
            if not in_time:
                late = ", ".join(m.config.name for m in without)
                raise ServingError(Code.DEADLINE_EXCEEDED, f"No version could be loaded yet of: {late}")
            changed = ", ".join(c.name for m, c in awaited if not _current(m, c))
            if changed:
                raise ServingError(Code.ABORTED, f"Configured anew before a version was loaded: {changed}")

    def watch_config(self, path: Path, seconds: float) -> None:
        """Reads a config file again and again, and applies it when it has changed; one that is refused changes nothing.

        Args:
          path: the file that the present configuration was read from.
          seconds: between two looks.
        """
        self._watched = _Watched(path, seconds, time.monotonic() + seconds, self._applied)
        self._wake.set()

    def poll(self) -> None:
        """Looks at all base paths now, begins to load what is new, tries again what failed and has changed."""
        with self._polling:
            with self._changed:
                models = [(m, m.config) for m in self._models()]
                failed = [v for m, _ in models for v in m.versions if v.failed]
            # The file system may be slow: nobody waits for it.
            found = [self._source.versions(config.name, configs.local_path(config)) for _, config in models]
            seen = [fingerprint(version.path) for version in failed]
            with self._changed:
                for (model, config), versions in zip(models, found, strict=True):
                    if versions is not None and _current(model, config):
                        self._source.tell_absent(config.name, policies.missing(config.model_version_policy, versions))
                        self._lifecycle.aspire(model, versions)
                for version, print_ in zip(failed, seen, strict=True):
                    self._lifecycle.try_again(version, print_)
                self._lifecycle.manage()

    @property
    def _stopping(self) -> bool:
        return self._lifecycle.stopping

    def _models(self) -> list[Model]:
        return [m for m in self._lifecycle.models.values() if not m.removed]

    def _version(self, spec: model_pb2.ModelSpec) -> int | None:
        match spec.WhichOneof("version_choice"):
            case "version":
                return spec.version.value
            case "version_label":
                version = self._labels.get((spec.name, spec.version_label))
                if version is None:
                    raise invalid(f"Unrecognized servable version label: {spec.version_label}")
                return version
        return None

    def _reconfigure(self, config: ModelServerConfig) -> list[tuple[Model, ModelConfig]]:
        """Applies a configuration or refuses it; the models to wait for, with the configurations to hold them to."""
        if config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        configs.validate(config)
        with self._changed:
            if self._stopping:
                raise ServingError(Code.UNAVAILABLE, "The server is shutting down")
            self._check_labels(config)
            old_paths = {m.config.name: m.config.base_path for m in self._models()}
            self._apply(config)
            awaited = [(m, m.config) for m in self._models() if old_paths.get(m.config.name) != m.config.base_path]
        self.poll()
        return awaited

    def _apply(self, config: ModelServerConfig) -> None:
        self._applied = config
        models = config.model_config_list.config
        self._lifecycle.configure(models)
        self._labels = MappingProxyType(
            {(m.name, label): version for m in models for label, version in m.version_labels.items()}
        )
        self._lifecycle.manage()

    def _check_labels(self, config: ModelServerConfig) -> None:
        for model in config.model_config_list.config:
            for label, version in model.version_labels.items():
                present = self._labels.get((model.name, label))
                if self._settings.allow_version_labels_for_unavailable_models and present in (None, version):
                    continue
                self._require_available(model.name, version)

    def _require_available(self, name: str, version: int) -> None:
        serving = self._lifecycle.serving.get(name)
        if serving is None or version not in serving.handles:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {name}, "
                "which is not currently available for inference",
            )

    def _run(self) -> None:
        """The polling thread: base paths, configuration, retries."""
        wait = self._settings.file_system_poll_wait_seconds
        next_poll = time.monotonic() + wait
        while not self._stopping:
            due: list[float] = []
            try:
                watched = self._watched
                if watched is not None:
                    if time.monotonic() >= watched.due:
                        self._look_at(watched)
                        watched.due = time.monotonic() + watched.seconds
                    due.append(watched.due)
                if wait > 0:
                    if time.monotonic() >= next_poll:
                        self.poll()
                        next_poll = time.monotonic() + wait
                    due.append(next_poll)
                with self._changed:
                    self._lifecycle.manage()
                    retry = self._lifecycle.next_retry()
                due += [] if retry is None else [retry]
            except Exception:
                _LOG.exception("polling failed, going on")
                due.append(time.monotonic() + 1.0)
            self._wake.wait(max(0.001, min(due) - time.monotonic()) if due else None)
            self._wake.clear()

    def _look_at(self, watched: _Watched) -> None:
        try:
            config = configs.read_config(watched.path)
            if config == watched.applied and not watched.error:
                return
            self._reconfigure(config)
        except ServingError as error:
            # A label may wait for its version: tried again at each look, told once.
            if error.message != watched.error:
                watched.error = error.message
                _LOG.error("%s is refused, the old configuration stays: %s", watched.path, error)
            return
        watched.applied, watched.error = config, ""
        _LOG.info("%s has changed, models: %d", watched.path, len(config.model_config_list.config))


def _current(model: Model, config: ModelConfig) -> bool:
    return not model.removed and model.config is config
