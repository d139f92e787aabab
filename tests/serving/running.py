"""A model server in a process of its own, for tests over real sockets."""

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

PROJECT = Path(__file__).resolve().parents[2]


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
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def serve(*flags: str, ready_timeout: float = 90, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """Starts `python -m serving.server` on free ports and ends it with SIGTERM.

    A flag that names a port goes before the free one.
    """
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        ready, log = Path(folder) / "ready.json", Path(folder) / "server.log"
        ports = [
            f"--{name}=-1" for name in ("port", "rest_api_port") if not any(f.startswith(f"--{name}=") for f in flags)
        ]
        command = [sys.executable, "-m", "serving.server", f"--ready_file={ready}", *ports, *flags]
        with open(log, "wb") as sink:
            process = subprocess.Popen(
                command, cwd=PROJECT, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
            )
        try:
            end = time.monotonic() + ready_timeout
            while not ready.exists():
                if process.poll() is not None:
                    raise RuntimeError(
                        f"the server ended with {process.returncode}:\n{log.read_text(errors='replace')}"
                    )
                if time.monotonic() > end:
                    raise TimeoutError(f"not ready after {ready_timeout} s:\n{log.read_text(errors='replace')}")
                time.sleep(0.02)
            ports_found = json.loads(ready.read_text())
            yield Running(ports_found["grpc"], ports_found["rest"], process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise
