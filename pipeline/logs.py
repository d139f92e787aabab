"""Sends everything that libraries print to a file, and keeps the terminal for what people should read.

TensorFlow, Beam and gRPC write to file descriptors 1 and 2 from C++, so the descriptors themselves are redirected.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def quiet(log_file: Path) -> Iterator[TextIO]:
    """Redirects standard output and error to `log_file` and yields a stream that still reaches the terminal."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved_out, saved_err = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(saved_out), "w", encoding="utf-8", errors="replace", buffering=1)
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    root = logging.getLogger()
    handlers = root.handlers[:]
    handler = logging.FileHandler(log_file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved_out, 1)
        os.dup2(saved_err, 2)
        for descriptor in (saved_out, saved_err, log):
            os.close(descriptor)
        root.handlers[:] = handlers
        handler.close()
        terminal.close()


def adopt_absl() -> None:
    """absl installs a handler of its own that would write everything twice; its loggers then go to the root."""
    import absl.logging

    absl.logging.set_verbosity(absl.logging.INFO)
    absl_handler = absl.logging.get_absl_handler()
    root = logging.getLogger()
    if absl_handler in root.handlers:
        root.removeHandler(absl_handler)
    logger = logging.getLogger("absl")
    if absl_handler in logger.handlers:
        logger.removeHandler(absl_handler)
    logger.propagate = True
