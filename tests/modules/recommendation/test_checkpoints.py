"""Where a killed training finds its state again, and when it is forgotten."""

from __future__ import annotations

import os
import time
from pathlib import Path

import journey_examples
import keras
import numpy as np
import pytest

from modules.recommendation.checkpoints import FINISHED, checkpoint_folder, load_finished, prune, save_finished
from modules.recommendation.layout import Codes, Layout
from modules.recommendation.settings import PolicySettings, RecommendationSettings
from modules.recommendation.training_state import Epoch, Fitted
from modules.recommendation.transform_layout import JourneyTransformConfig

LAYOUT = Layout(length=3, actions=("call",), event_codes=(Codes(name="action", size=4),))
SETTINGS = RecommendationSettings()


def test_the_folder_is_named_by_what_decides_the_weights() -> None:
    def name(layout: Layout = LAYOUT, custom: str = "d1", **settings) -> str:
        config = JourneyTransformConfig(dataset=journey_examples.DATASET, model=SETTINGS.model_copy(update=settings))
        found = checkpoint_folder({"checkpoint_dir": "/tmp/c", "dataset_version": custom}, config, layout)
        assert found is not None and found.parent == Path("/tmp/c")
        return found.name

    assert name() == name(policy=PolicySettings(top_k=2), resume=False)
    others = [name(custom="d2"), name(seed=1), name(ensemble=2), name(LAYOUT.model_copy(update={"length": 4}))]
    assert len({name(), *others}) == 5
    config = JourneyTransformConfig(dataset=journey_examples.DATASET, model=SETTINGS)
    assert checkpoint_folder({}, config, LAYOUT) is None


def test_only_folders_of_runs_killed_long_ago_are_removed(tmp_path: Path) -> None:
    def folder(name: str, days: float, inside: float | None = None) -> Path:
        found = tmp_path / name
        (found / "network_1").mkdir(parents=True)
        file = found / "network_1" / "training.npz"
        file.touch()
        for path, age in ((file, inside), (found / "network_1", days), (found, days)):
            moment = time.time() - (days if age is None else age) * 86_400
            os.utime(path, (moment, moment))
        return found

    forgotten = folder("0123456789abcdef", 31)
    kept = [folder("1123456789abcdef", 29), folder("2123456789abcdef", 31, inside=1), folder("of something else", 99)]
    own = folder("3123456789abcdef", 99)
    prune(keep=own)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (*kept, own)}
    assert not forgotten.exists() and (own / "network_1" / "training.npz").exists()
    prune(keep=tmp_path / "nowhere" / "3123456789abcdef")


def network(value: float, units: int = 2) -> keras.Model:
    found = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    found.set_weights([np.full(w.shape, value, np.float32) for w in found.get_weights()])
    return found


@pytest.mark.parametrize("damage", [None, "another network", "other data", "half a file", "no file"])
def test_a_finished_network_is_read_or_not_at_all(tmp_path: Path, damage: str | None) -> None:
    epochs = (Epoch(1, 0.5, 3.0), Epoch(2, 0.5, 2.0, 1.5, 0.4, 0.7, 1.4))
    fitted = Fitted(epochs[1:], 2, epochs[1:], 1.25)
    save_finished(tmp_path / "a", "digest", network(7.0, 3 if damage == "another network" else 2), fitted)
    file = tmp_path / "a" / FINISHED
    if damage == "half a file":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if damage == "no file":
        file.unlink()
    read = network(0.0)
    found = load_finished(tmp_path / "a", "other" if damage == "other data" else "digest", read)
    if damage is None:
        assert found == fitted
        assert all((value == 7.0).all() for value in read.get_weights())
    else:
        assert found is None
