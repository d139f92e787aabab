"""`aiqleads serve`: everything that was pushed, behind both transports; and what it says when there is nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from modules.publishing import versions
from pipeline.serve import server_options
from serving.probe import probe
from tests.pipeline.command import PushedRun, aiqleads


def test_a_check_shows_the_answers_of_both_transports(pushed: PushedRun) -> None:
    done = aiqleads("serve", "--root", str(pushed.root), "--check")
    assert done.code == 0, done.output
    assert "5 leads asked over gRPC" in done.output
    rows = re.findall(r"│\s+\d\s+│\s+([\d.]+)\s+│\s+([\d.]+)\s+│\s+([\d.]+)\s+│\s+([\d.]+)\s+│", done.output)
    assert len(rows) == 5
    assert all(row[0] == row[1] and row[2] == row[3] for row in rows)
    assert "gRPC and REST agree" in done.output


def test_without_a_pushed_model_it_says_what_to_do(tmp_path: Path) -> None:
    for arguments in (("serve", "--root", str(tmp_path)), ("serve", "--root", str(tmp_path), "--check")):
        done = aiqleads(*arguments)
        assert done.code == 4
        assert "no pushed model" in done.output
        assert "aiqleads run configs/lead_scoring.yaml" in done.output


def test_options_of_the_command_are_the_servers(pushed: PushedRun) -> None:
    options = server_options(pushed.root, port=0, rest_api_port=9000, access_log="-")
    assert options.root == pushed.root / "serving"
    assert (options.port, options.rest_api_port, options.access_log) == (0, 9000, "-")
    assert options.enable_batching
    assert options.enable_grpc_healthcheck_service
    assert options.host == "127.0.0.1"


def newest(pushed: PushedRun) -> Path:
    """The newest version with warm-up requests; other tests push some without an infrastructure check."""
    base = pushed.root / "serving" / "lead-scoring"
    found = [base / str(number) for number in versions(base)]
    return [version for version in found if (version / "assets.extra" / "tf_serving_warmup_requests").is_file()][-1]


def test_a_probe_asks_every_warm_up_request_over_both_transports(pushed: PushedRun) -> None:
    report = probe(newest(pushed), "lead-scoring", requests=20)
    assert report.ok, report.failed
    assert report.answered >= 10
    assert 0 < report.compared < report.answered
    assert report.p50_ms is not None
    assert report.p99_ms is not None
    assert 0 < report.p50_ms <= report.p99_ms


def test_a_probe_tells_why_a_model_does_not_serve(pushed: PushedRun, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(newest(pushed), broken)
    graph = (broken / "saved_model.pb").read_bytes()
    (broken / "saved_model.pb").write_bytes(graph[: len(graph) // 2])
    report = probe(broken, "lead-scoring", requests=5)
    assert not report.ok
    assert any("NOT_FOUND" in fault or "does not" in fault or "ended" in fault for fault in report.failed.values())
    silent = tmp_path / "silent"
    shutil.copytree(newest(pushed), silent)
    (silent / "assets.extra" / "tf_serving_warmup_requests").unlink()
    assert "absent or empty" in probe(silent, "lead-scoring").failed["there are requests to ask"]
