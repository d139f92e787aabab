"""The access log: what a line holds, and that nothing is lost or waits."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving import access_log
from serving.access_log import AccessLog
from serving.errors import Code, ServingError


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _wait_for(path: Path, count: int) -> list[dict]:
    end = time.monotonic() + 10
    while len(_lines(path)) < count:
        assert time.monotonic() < end
        time.sleep(0.01)
    return _lines(path)


def test_a_line_holds_the_request(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    before = datetime.datetime.now(datetime.UTC)
    log.write("grpc", "ipv4:10.0.0.1:5000", "Predict", "leads", 7, Code.OK, 0.0012345, 120, 48)
    log.write("rest", "10.0.0.2", "POST /v1/models/ü:predict", "", None, Code.NOT_FOUND, 0.5, 0, 30)
    log.close()
    first, second = _lines(path)
    moment = datetime.datetime.fromisoformat(first.pop("time"))
    assert abs((moment - before).total_seconds()) < 10
    assert first == {
        "transport": "grpc",
        "peer": "ipv4:10.0.0.1:5000",
        "api": "Predict",
        "model": "leads",
        "version": 7,
        "code": "OK",
        "ms": 1.234,
        "bytes_in": 120,
        "bytes_out": 48,
    }
    assert (second["api"], second["version"], second["code"]) == ("POST /v1/models/ü:predict", None, "NOT_FOUND")


def test_lines_appear_without_closing_also_after_a_pause(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    for count in (1, 2, 3):
        log.write("grpc", "", "Predict", "m", 1, Code.OK, 0.001, 1, 1)
        _wait_for(path, count)
    log.close()


def test_threads_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)

    def work(number: int) -> None:
        for i in range(500):
            log.write("grpc", str(number), "Predict", "m", i, Code.OK, 0.001, 1, 1)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = _lines(path)
    assert len(lines) == 2000
    for number in range(4):
        assert [line["version"] for line in lines if line["peer"] == str(number)] == list(range(500))


def test_a_log_is_appended_to_and_follows_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text('{"version": 0}\n')
    log = AccessLog(path)
    log.write("grpc", "", "Predict", "m", 1, Code.OK, 0.001, 1, 1)
    _wait_for(path, 2)
    path.rename(tmp_path / "access.log.1")
    log.reopen()
    log.write("grpc", "", "Predict", "m", 2, Code.OK, 0.001, 1, 1)
    log.close()
    assert [line["version"] for line in _lines(tmp_path / "access.log.1")] == [0, 1]
    assert [line["version"] for line in _lines(path)] == [2]


def test_what_a_disk_cannot_take_is_dropped_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "MAX_WAITING", 5)
    monkeypatch.setattr(access_log, "FLUSH_SECONDS", 0.5)
    path = tmp_path / "access.log"
    log = AccessLog(path)
    for i in range(12):
        log.write("grpc", "", "Predict", "m", i, Code.OK, 0.001, 1, 1)
    log.close()
    assert [line["version"] for line in _lines(path)] == [0, 1, 2, 3, 4]
    assert "7 requests are missing" in caplog.text


def test_a_dash_writes_to_standard_error() -> None:
    code = (
        "from serving.access_log import AccessLog; from serving.errors import Code; log = AccessLog('-')\n"
        "log.write('grpc', 'p', 'Predict', 'm', 1, Code.OK, 0.001, 1, 1); log.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stderr)["api"] == "Predict"
    assert done.stdout == ""


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="No such file or directory") as caught:
        AccessLog(tmp_path / "none" / "access.log")
    assert str(tmp_path / "none") in caught.value.message
