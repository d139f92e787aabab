"""SavedModels whose answers tell which one answered, and managers that are stopped afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.manager import ManagerSettings, ModelManager
from serving.servable import Servable
from tests.serving.manager.versions import Events

Start = Callable[..., tuple[ModelManager, Events]]


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """y = x / 2 + b for b = 1, 2, 3."""
    from tests.serving.saved_models import half_plus

    folder = tmp_path_factory.mktemp("exports")
    return {b: half_plus(folder, b, b=float(b)) for b in (1, 2, 3)}


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with an asset."""
    from tests.serving.saved_models import vocabulary_model

    return vocabulary_model(tmp_path_factory.mktemp("vocabulary"), 1, ["red", "green"])


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a manager that looks at the file system when told to (`poll`), with the real loader."""
    managers: list[ModelManager] = []

    def begin(config, load=Servable, **settings) -> tuple[ModelManager, Events]:
        events = Events()
        settings = {"file_system_poll_wait_seconds": -1, **settings}
        manager = ModelManager(ManagerSettings(**settings), load=load, on_event=events)
        managers.append(manager)
        manager.start(config)
        manager.poll()
        return manager, events

    yield begin
    for manager in managers:
        assert manager.stop(20)
