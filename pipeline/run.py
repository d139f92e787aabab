"""`aiqleads run`: runs the pipeline with one line per component, and a summary at the end."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import logging
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from modules import progress
from modules.errors import AiqleadsError, ConfigError
from pipeline.config import Run
from pipeline.families import family
from pipeline.logs import adopt_absl, quiet

if TYPE_CHECKING:
    from rich.console import Console

PUSHED, UNEXPECTED, NOT_BLESSED = 0, 1, 2


def execute(run: Run, *, fresh: bool = False) -> int:
    """Runs the pipeline for one effective configuration.

    Returns:
      The exit code: 0 pushed or nothing to do, 2 not blessed. Errors are printed here, with the log's path, and give
      3 (gate), 4 (configuration or data) or 1 (unexpected).
    """
    started = dt.datetime.now(dt.UTC)
    try:
        run.log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--root {run.root}: cannot be written: {error.strerror}") from None
    log_file = run.log_dir / f"{run.servable}-{started:%Y%m%dT%H%M%S}.log"
    with _only_one(run), quiet(log_file) as terminal:
        from pipeline.console import make_console

        console = make_console(terminal)
        try:
            return _execute(run, console, log_file, fresh)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            return _explain(error, console, log_file)


def _execute(run: Run, console: Console, log_file: Path, fresh: bool) -> int:
    from modules.ingest import sources

    dataset_version = sources.fingerprint(sources.resolve(run.dataset, run.span))
    console.print(
        f"[bold]{run.servable}[/bold] on {run.dataset.name}, data {dataset_version[:12]}, configuration {run.hash}"
    )
    if run.foreign_slices:
        console.print(f"slices without features in {run.dataset.name}, left out: {', '.join(run.foreign_slices)}")
    if fresh:  # trials that are kept are results, too
        shutil.rmtree(run.tuning_dir, ignore_errors=True)
    from pipeline.console import ConsoleListener

    rows = _Rows(run)
    with ConsoleListener(console, rows.of) as listener:
        listener.stage("loading TFX")
        from pipeline.pipeline import create_pipeline
        from pipeline.runners.local import run_pipeline

        adopt_absl()
        pipeline = create_pipeline(run, dataset_version, enable_cache=not fresh)
        progress.set_listener(listener.report)
        try:
            results = run_pipeline(pipeline, rows.watching(listener))
        finally:
            progress.set_listener(None)
        listener.stage("summary")
        from pipeline.summary import summarize

        summary = summarize(run, results)
    summary.show(console)
    nothing_new = listener.ran == 0
    if nothing_new:
        console.print("nothing to do: same data, configuration and code as a finished run (--fresh runs it again)")
    console.print(f"[dim]report with: aiqleads report{_root_option(run)}[/dim]", soft_wrap=True)
    console.print(f"[dim]log {_relative(log_file)}[/dim]")
    return PUSHED if summary.blessed else NOT_BLESSED


_ROWS_OF_SPLITS = {
    "Transform": ("train",),
    "Trainer": ("train", "validation", "calibration"),
    "CrossValidation": ("train", "validation", "calibration"),
    "Evaluator": ("test",),
    "PolicyValue": ("test",),
}


class _Rows:
    """How many rows each node has seen, from the ingest report once there is one."""

    def __init__(self, run: Run) -> None:
        self.family = family(run)
        self.splits: dict[str, int] = {}

    def of(self, node_id: str) -> int | None:
        if not self.splits:
            return None
        if node_id in (self.family.example_gen, "StatisticsGen"):
            return sum(self.splits.values())
        if node_id in _ROWS_OF_SPLITS:
            return sum(self.splits.get(s, 0) for s in _ROWS_OF_SPLITS[node_id])
        return None

    def watching(self, listener):
        """The listener, which now also learns the row counts as soon as ingest has finished."""
        finished = listener.finished

        def and_count(result):
            if result.id == self.family.example_gen:
                report = self.family.read_report(result.outputs["examples"][0].uri)
                self.splits = {name: split.rows for name, split in report.splits.items()}
            finished(result)

        listener.finished = and_count
        return listener


@contextlib.contextmanager
def _only_one(run: Run) -> Iterator[None]:
    """Two runs of one model under one root would write the same metadata."""
    path = run.root / f".{run.servable}.lock"
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another run of {run.servable} is using {run.root}; wait for it or give --root"
            ) from None
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _explain(error: BaseException, console: Console, log_file: Path) -> int:
    logging.getLogger(__name__).error("the run stopped", exc_info=error)
    known = _find(error, AiqleadsError)
    if isinstance(known, AiqleadsError):
        console.print(f"[red bold]stopped[/red bold]: {_escape(str(known))}")
        for line in known.details:
            console.print(f"  {_escape(line)}")
        console.print(f"[dim]log {_relative(log_file)}[/dim]")
        return known.exit_code
    system = _find(error, OSError)
    if isinstance(system, OSError) and system.errno == errno.ENOSPC:
        console.print("[red bold]stopped[/red bold]: no space left on the disk; free some and run again,")
        console.print("  finished components are kept and nothing half-written is served")
    else:
        console.print(f"[red bold]failed[/red bold]: {_escape(f'{type(error).__name__}: {error}'[:500])}")
        console.print("  this is not an error of yours that we know; the log has the traceback")
    console.print(f"[dim]log {_relative(log_file)}[/dim]")
    return UNEXPECTED


def _find(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The first exception of a kind in a chain of causes; Beam and TFX wrap what a component raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, kind):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _root_option(run: Run) -> str:
    """What commands need to find the run; nothing below the default root."""
    return "" if run.root == Path("build").absolute() else f" --root {shlex.quote(_relative(run.root))}"


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
