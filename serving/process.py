"""A model server in a process of its own: for checks before a push, for a look at what was pushed, and for tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import serving

PROJECT = Path(serving.__file__ or "").resolve().parents[1]
_END_SECONDS = 40


@dataclass(frozen=True)
class Running:
    """A server that takes requests on loopback; a port is None if its transport is off."""

    grpc: int | None
    rest: int | None
    process: subprocess.Popen
    log: Path

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest}"

    def output(self) -> str:
        """What it has logged so far."""
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def start_server(
    *flags: str, ready_timeout: float = 90, environment: dict[str, str] | None = None
) -> Iterator[Running]:
    """Starts `python -m serving.server` on free ports, waits until it serves, and ends it with SIGTERM.

    Args:
      flags: of the server; one that names a port goes before the free one.
      ready_timeout: seconds.
      environment: variables on top of this process's.

    Raises:
      RuntimeError: it ended before it served; with its log.
      TimeoutError: it did not serve in time; with its log.
      subprocess.TimeoutExpired: it did not end when asked to.
    """
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        ready, log = Path(folder) / "ready.json", Path(folder) / "server.log"
        named = {flag.partition("=")[0] for flag in flags}
        ports = [f"{name}=-1" for name in ("--port", "--rest_api_port") if name not in named]
        command = [sys.executable, "-m", "serving.server", f"--ready_file={ready}", *ports, *flags]
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            )
        try:
            end = time.monotonic() + ready_timeout
            while not ready.exists():
                if process.poll() is not None:
                    said = log.read_text(errors="replace")
                    raise RuntimeError(f"the server ended with {process.returncode}:\n{said}")
                if time.monotonic() > end:
                    raise TimeoutError(f"not ready after {ready_timeout} s:\n{log.read_text(errors='replace')}")
                time.sleep(0.02)
            found = json.loads(ready.read_text())
            yield Running(found["grpc"], found["rest"], process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise
