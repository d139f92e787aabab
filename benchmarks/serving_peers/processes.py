"""Servers as child processes."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Started:
    """A server that is ready. ports: by protocol, on 127.0.0.1."""

    process: subprocess.Popen
    ports: Mapping[str, int]

    def address(self, protocol: str) -> str:
        return f"127.0.0.1:{self.ports[protocol]}"

    def stop(self) -> None:
        """Asks it to end, and makes it after ten seconds."""
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def started(
    command: Sequence[str],
    work: Path,
    environment: Mapping[str, str],
    ready: Callable[[], Mapping[str, int] | None],
    timeout: float = 90,
) -> Started:
    """Starts a server and waits until it is ready.

    Args:
      command: and arguments.
      work: working directory; the output goes to `log` in it.
      environment: all variables.
      ready: the ports once it is ready.
      timeout: seconds to wait.

    Raises:
      RuntimeError: it ended or is not ready in time; with the end of its log.
    """
    log = work / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=work, env=dict(environment), stdout=out, stderr=subprocess.STDOUT)
    server = Started(process, {})
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        ports = ready()
        if ports is not None:
            return Started(process, ports)
        time.sleep(0.05)
    server.stop()
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise RuntimeError(f"{command[0]} is not ready; {log} ends with:\n{tail}")


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
