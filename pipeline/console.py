"""One line per component while a run goes: progress, time and rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

if TYPE_CHECKING:  # importing it imports TFX, and the first line should be there before that
    from pipeline.runners.local import NodeResult

# Resolvers and the import of a curated schema take no time; a line for each would say nothing.
QUIET_NODES = ("resolver", "schemasource")


def make_console(stream: TextIO) -> Console:
    """A rich console on `stream`; without a terminal it is plain text, 100 columns wide."""
    tty = stream.isatty()
    return Console(file=stream, force_terminal=tty, width=None if tty else 100, highlight=False, soft_wrap=not tty)


class ConsoleListener:
    """Draws a run. `rows_of` tells how many rows a node has seen, once that is known."""

    def __init__(self, console: Console, rows_of: Callable[[str], int | None]) -> None:
        self._console = console
        self._rows_of = rows_of
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        )
        self._task = self._progress.add_task("", total=None, visible=False)
        self._begin = time.perf_counter()
        self._current = ""
        self.cached = 0
        self.ran = 0

    def __enter__(self) -> ConsoleListener:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def stage(self, text: str) -> None:
        """Shows a stage of work outside any component."""
        self._current = text
        self._begin = time.perf_counter()
        self._progress.reset(self._task, description=text, visible=True)

    def report(self, done: int, total: int, text: str) -> None:
        """Progress inside a component; see modules/progress.py."""
        share = f"{done:,}/{total:,}" if total else f"{done:,}"
        self._progress.update(self._task, description=f"{self._current:<22} {share} {text}")

    def started(self, node_id: str, index: int, total: int) -> None:
        if not _is_quiet(node_id):
            self.stage(node_id)

    def finished(self, result: NodeResult) -> None:
        if result.outcome == "ran":
            self.ran += 1
        elif result.outcome == "cached":
            self.cached += 1
        if _is_quiet(result.id):
            return
        rows = self._rows_of(result.id)
        line = Text()
        line.append(" ✓ ", style="green")
        line.append(f"{result.id:<20}")
        line.append(f"{'cached' if result.outcome == 'cached' else f'{result.seconds:.1f} s':>10}", style="dim")
        if rows is not None:
            line.append(f"{rows:>14,} rows")
            if result.outcome == "ran" and result.seconds > 0.05:
                line.append(f"{rows / result.seconds:>12,.0f} rows/s", style="dim")
        self._console.print(line)

    def failed(self, node_id: str, seconds: float, error: BaseException) -> None:
        line = Text()
        line.append(" ✗ ", style="red")
        line.append(f"{node_id:<20}{seconds:>8.1f} s")
        self._console.print(line)


def _is_quiet(node_id: str) -> bool:
    return any(word in node_id.lower() for word in QUIET_NODES)
