"""Which run a report is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modules.errors import DataError
from pipeline.report.store import Store, StoredRun


@dataclass(frozen=True)
class Found:
    """A finished run, and the ML Metadata that knows it.

    Attributes:
      servable: name of the pipeline and of the served model.
      newer_unfinished: number of newer runs that stopped before their end.
    """

    servable: str
    store: Store
    run: StoredRun
    newer_unfinished: int = 0


def find_run(root: Path, servable: str | None = None, wanted: str | None = None) -> Found:
    """The run to report on.

    Args:
      root: holds metadata/<servable>.sqlite.
      servable: name of the model; of any model under the root when None.
      wanted: beginning of a run id, or the integer version of a published model; the latest finished run when None.

    Raises:
      DataError: there is no such run.
    """
    folder = root / "metadata"
    files = [folder / f"{servable}.sqlite"] if servable else sorted(folder.glob("*.sqlite"))
    if not files:
        raise DataError(
            f"no run under {root}: expected {folder}/<model>.sqlite; run the pipeline first, or give --root"
        )
    found = [one for one in (_newest(Store(path), path.stem, wanted) for path in files) if one is not None]
    if not found:
        what = f"no finished run {wanted!r}" if wanted else "no finished run"
        known = [f"there is: {line}" for path in files for line in _known(Store(path), path.stem)]
        raise DataError(f"{what} of {servable or 'any model'} under {root}", known[:10])
    return max(found, key=lambda one: one.run.ended)


def _newest(store: Store, servable: str, wanted: str | None) -> Found | None:
    unfinished = 0
    for run_id, context in store.runs():
        if wanted is not None and not wanted.isdigit() and not run_id.startswith(wanted):
            continue
        run = store.run(run_id, context)
        if not run.finished:
            unfinished += 1
            continue
        if wanted is None or run_id.startswith(wanted) or run.version == wanted:
            return Found(servable, store, run, 0 if wanted else unfinished)
    return None


def _known(store: Store, servable: str) -> list[str]:
    lines = []
    for run_id, context in store.runs():
        run = store.run(run_id, context)
        if run.finished:
            lines.append(f"{servable} {run_id}" + (f", version {run.version}" if run.version else ""))
    return lines
