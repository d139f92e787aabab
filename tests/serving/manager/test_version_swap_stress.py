"""Requests from many threads while versions change: none fails, none meets a freed session, answers fit versions."""

from __future__ import annotations

import shutil
import threading

import pytest

from tests.serving.manager.versions import halves, models, publish, serving, spec, until

SWAPS, THREADS = 50, 8


@pytest.mark.parametrize("seed", [0])
def test_leases_never_fail_during_swaps(exports, start, tmp_path, seed):
    base = tmp_path / "m"
    expected = {version: 5.0 + 1 + version % 3 for version in range(1, SWAPS + 2)}
    publish(exports[1 + 1 % 3], base, 1)
    manager, events = start(models(("m", base)))
    assert manager.wait_until_loaded(20)
    done, wrong, failed = threading.Event(), [], []
    answered: list[set[int]] = [set() for _ in range(THREADS)]

    def ask_on(mine: set[int]) -> None:
        try:
            while not done.is_set():
                with manager.lease(spec()) as servable:
                    version, answer = servable.id.version, halves(servable)
                mine.add(version)
                if answer != expected[version]:
                    wrong.append((version, answer))
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=ask_on, args=(mine,)) for mine in answered]
    for thread in threads:
        thread.start()
    for version in range(2, SWAPS + 2):
        publish(exports[1 + version % 3], base, version)
        manager.poll()
        until(lambda version=version: serving(manager) == [version])
        shutil.rmtree(base / str(version - 1))
    done.set()
    for thread in threads:
        thread.join()
    assert (failed, wrong) == ([], [])
    assert len(set().union(*answered)) > SWAPS / 2
    until(lambda: [s for _, _, s in events].count("END") == SWAPS)
