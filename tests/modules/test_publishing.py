"""Atomic publishing: killed, failing and competing publishers against a reader."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modules import publishing
from modules.publishing import PublishError, publish, versions

FILES = 40


def model(folder: Path, mark: str, size: int = 200_000) -> Path:
    """A model of several files that all carry one mark, so that a mixture can be told."""
    for i in range(FILES):
        path = folder / ("variables" if i % 2 else "assets.extra") / f"part-{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(mark * (size // len(mark)))
    (folder / "saved_model.pb").write_text(mark)
    return folder


def whole(version: Path) -> bool:
    """Whether a version has every file, each of full length and of one mark."""
    files = [p for p in version.rglob("*") if p.is_file()]
    marks = {p.read_text()[:1] for p in files}
    return len(files) == FILES + 1 and len(marks) == 1 and len({p.stat().st_size for p in files}) == 2


def test_versions_are_integers_that_only_grow(tmp_path: Path) -> None:
    base = tmp_path / "serving"
    before = int(time.time())
    first = publish(model(tmp_path / "a", "a"), base)
    second = publish(model(tmp_path / "b", "b"), base)
    third = publish(model(tmp_path / "c", "c"), base)
    assert before <= first.version < second.version < third.version
    assert versions(base) == [first.version, second.version, third.version]
    assert all(whole(base / str(v)) for v in versions(base))
    assert sorted(p.name for p in base.iterdir() if p.name.startswith(".")) == [".publishing.lock"]


def test_a_version_from_the_future_does_not_stop_newer_ones(tmp_path: Path) -> None:
    base = tmp_path / "serving"
    (base / "99999999999").mkdir(parents=True)
    assert publish(model(tmp_path / "a", "a"), base).version == 100_000_000_000


def test_the_same_bytes_as_the_newest_version_are_not_published_twice(tmp_path: Path) -> None:
    base, source = tmp_path / "serving", model(tmp_path / "a", "a")
    first, again = publish(source, base), publish(source, base)
    assert first.new and not again.new and first.path == again.path and len(versions(base)) == 1
    shutil.rmtree(first.path)
    assert publish(source, base).new


def test_killed_publishers_leave_whole_versions_or_none_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    base = tmp_path / "serving"
    sources = [model(tmp_path / mark, mark) for mark in "ab"]
    loop = (
        "import sys, pathlib\nfrom modules.publishing import publish\nprint('ready', flush=True)\n"
        "while True:\n  for s in sys.argv[2:]: publish(s, sys.argv[1])\n"
    )
    rng, left = random.Random(0), 0
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", loop, str(base), *map(str, sources)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + rng.uniform(0.002, 0.15)
        while time.monotonic() < deadline:
            for version in versions(base)[-2:]:
                assert whole(base / str(version))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        left += len(list(base.glob(".publishing-*")))
        assert all(whole(base / str(v)) for v in versions(base)[-3:])
    assert left > 0, "no publisher was killed in the middle of a copy"
    last = publish(model(tmp_path / "c", "c"), base)
    assert last.version == versions(base)[-1] and not list(base.glob(".publishing-*"))


def test_a_full_disk_publishes_nothing_and_the_next_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, source = tmp_path / "serving", model(tmp_path / "a", "a")
    copied = []
    real = shutil.copy2

    def full_after_ten(src: str, dst: str) -> str:
        copied.append(dst)
        if len(copied) > 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(dst))
        return real(src, dst)

    monkeypatch.setattr(publishing, "_copy_file", full_after_ten)
    with pytest.raises(PublishError, match=r"No space left on device.*; free some space; nothing was published"):
        publish(source, base)
    assert len(copied) > 10 and versions(base) == [] and not list(base.glob(".publishing-*"))
    monkeypatch.undo()
    assert whole(publish(source, base).path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="expected a model directory"):
        publish(tmp_path / "nothing", tmp_path / "serving")
