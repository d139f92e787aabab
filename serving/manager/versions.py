"""A version's way from START to END, and what is told about it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from modules.native.protos import get_model_status_pb2
from serving.errors import Code, ServingError
from serving.manager.config import ModelConfig
from serving.manager.lease import Handle
from serving.servable import ServableId

# Ended versions that a model's status still names; upstream keeps all of them for ever.
ENDED_KEPT = 100


class State(IntEnum):
    """ModelVersionStatus.State, numbered alike."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


# Which state is told when one number stands for two directories (a base path that was changed).
_TOLD_FIRST = (State.AVAILABLE, State.LOADING, State.START, State.UNLOADING, State.END)


@dataclass(eq=False, slots=True)
class Version:
    """One directory that was, is or will be served.

    attempts: loads that were begun. retry_at: `time.monotonic()` of the next one, None if none is due. queued: it waits
    for a load thread. lost: its directory vanished; whatever appears in its place is another version. loaded_from:
    fingerprint of the files that the last load saw; changed_to: of those that the last poll saw.
    """

    id: ServableId
    path: Path
    state: State = State.START
    error: ServingError | None = None
    handle: Handle | None = None
    attempts: int = 0
    retry_at: float | None = None
    queued: bool = False
    lost: bool = False
    loaded_from: str | None = None
    changed_to: str | None = None

    @property
    def failed(self) -> bool:
        """It could not be loaded (and may be tried again)."""
        return self.state is State.END and self.error is not None


@dataclass(eq=False, slots=True)
class Model:
    """A configured model. aspired: what its policy wants of what exists; removed: it is no longer configured."""

    config: ModelConfig
    aspired: dict[int, Path] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    removed: bool = False

    def wants(self, version: Version) -> bool:
        return not version.lost and self.aspired.get(version.id.version) == version.path

    @property
    def available(self) -> list[Version]:
        return [v for v in self.versions if v.state is State.AVAILABLE]

    @property
    def settled(self) -> bool:
        """There is something to serve, and each version that is to serve does, or has failed at least once."""
        wanted = [v for v in self.versions if self.wants(v) and (v.state is State.AVAILABLE or v.failed)]
        return bool(self.aspired) and len(wanted) == len(self.aspired)

    @property
    def serves(self) -> bool:
        """At least one version that is to serve does."""
        return any(self.wants(v) for v in self.available)


class History:
    """The last states of versions that ended, by model."""

    def __init__(self) -> None:
        self._ended: dict[str, OrderedDict[int, ServingError | None]] = {}

    def add(self, version: Version) -> None:
        ended = self._ended.setdefault(version.id.name, OrderedDict())
        ended.pop(version.id.version, None)
        ended[version.id.version] = version.error
        if len(ended) > ENDED_KEPT:
            ended.popitem(last=False)

    def states(self, name: str, living: list[Version]) -> dict[int, tuple[State, ServingError | None]]:
        """State and error by version number, newest number first (as servable_state_monitor.h orders them)."""
        told = {number: (State.END, error) for number, error in self._ended.get(name, {}).items()}
        for version in sorted(living, key=lambda v: _TOLD_FIRST.index(v.state), reverse=True):
            told[version.id.version] = (version.state, version.error)
        return dict(sorted(told.items(), reverse=True))


def status_response(
    states: dict[int, tuple[State, ServingError | None]],
) -> get_model_status_pb2.GetModelStatusResponse:
    """The states as GetModelStatus tells them."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, (state, error) in states.items():
        entry = response.model_version_status.add(version=number, state=int(state))
        # Set even if OK: upstream always sends the message.
        entry.status.SetInParent()
        if error is not None:
            entry.status.error_code = int(error.code)
            entry.status.error_message = error.message
    return response


def unavailable(failures: list[Version]) -> ServingError:
    """What a reload answers whose models failed to load (server_core.cc, WaitUntilModelsAvailable)."""
    told = "".join(
        f"{{{{name: {v.id.name} version: {v.id.version}}} due to error: {v.error.code.name}: {v.error.message}}}, "
        for v in failures
        if v.error is not None
    )
    models = len({v.id.name for v in failures})
    return ServingError(Code.UNKNOWN, f"{models} model(s) did not become available: {{{told}}}")
