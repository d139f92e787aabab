"""`aiqleads report`: one page about a finished run."""

from __future__ import annotations

import re
import time
from pathlib import Path

from pipeline.report.find import Found, find_run


def report(root: Path, servable: str | None = None, wanted: str | None = None, out: Path | None = None) -> Path:
    """Writes the report of a run and returns its path; see `find_run` for the arguments.

    Raises:
      DataError: there is no such run.
      ConfigError: the page cannot be written.
    """
    from pipeline.report.build import build
    from pipeline.report.render import write
    from pipeline.report.source import RunSource

    started = time.perf_counter()
    found = find_run(root, servable, wanted)
    path = out or default_path(root, found)
    size = write(build(RunSource(found)), path)
    print(f"{_relative(path)}  ({size / 1e6:.1f} MB, {time.perf_counter() - started:.1f} s)")
    return path


def default_path(root: Path, found: Found) -> Path:
    """<root>/reports/<servable>-<version, or time of a run that was not published>.html."""
    name = found.run.version or re.sub(r"[^0-9T]", "", found.run.id.split(".")[0])
    return root / "reports" / f"{found.servable}-{name}.html"


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
