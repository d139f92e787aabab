"""`aiqleads predict`: scores the leads of whole files with the published model."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modules import errors, progress
from modules.errors import AiqleadsError, ConfigError, DataError
from modules.ingest.blocks import BLOCK_BYTES
from modules.journeys.dataset import JourneyDataset
from modules.prediction import inputs, predictor, report, shards, tree_shap, versions
from modules.prediction.inputs import InputFile
from modules.prediction.report import TENTHS, FileResult, PredictionReport
from pipeline.config import Run
from pipeline.logs import quiet

if TYPE_CHECKING:
    from rich.console import Console

    from modules.prediction.transform import Job

QUARANTINE_FILE = "quarantine.jsonl"
_STAGING = ".predicting-"
_KNOWN = re.compile(r"^modules\.errors\.(ConfigError|DataError): (.*)", re.MULTILINE)
_LOCAL_RUNNERS = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner")


def predict(
    run: Run,
    patterns: Sequence[str],
    output: Path,
    version: int | None = None,
    model_dir: Path | None = None,
    formats: Sequence[str] = shards.FORMATS,
    overwrite: bool = False,
    explain: bool = False,
) -> int:
    """Writes one Parquet and one CSV file of predictions per input file, in the order of its rows.

    Args:
      run: configuration; its `serving_dir` holds the published versions, its runner says where the work is done.
      patterns: paths or patterns of CSV, gzip CSV or Parquet files.
      output: folder to write to.
      version: which version answers; the newest otherwise.
      model_dir: folder of versions, or one SavedModel, instead of what the pipeline published.
      formats: of `parquet` and `csv`.
      overwrite: replace what an earlier job wrote there.
      explain: add what each raw feature contributes, by TreeSHAP; takes far longer than predicting.

    Returns:
      The exit code: 0.

    Raises:
      NotBlessed: no version has been published.
      ConfigError: the version does not exist or does not fit the dataset, or the output folder is in use.
      DataError: an input file is missing or cannot be used, or more than `max_bad_rows` of all rows.
    """
    begin = time.perf_counter()
    started = dt.datetime.now(dt.UTC)
    if isinstance(run.dataset, JourneyDataset):
        raise ConfigError(
            f"predict: {run.dataset.name} is a dataset of journeys, not a table of leads; "
            "`aiqleads recommend` answers for journeys"
        )
    model = versions.find_version(run.servable, model_dir.absolute() if model_dir else run.serving_dir, version)
    signature = versions.read_signature(model)
    explained = tree_shap.explained_columns(model) if explain else ()
    versions.check_inputs(model, signature, run.dataset, explained)
    files = inputs.find_inputs(run.dataset, patterns)
    for file in files:
        inputs.input_layout(file)
    output = output.absolute()
    _check_output(output, files, formats, overwrite)
    log_file = run.log_dir / f"{run.servable}-predict-{started:%Y%m%dT%H%M%S}.log"
    try:
        output.mkdir(parents=True, exist_ok=True)
        log_file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"{e.filename}: cannot be written: {e.strerror}") from None
    with _only_one(output) as staging, quiet(log_file) as terminal:
        from pipeline.console import make_console

        console = make_console(terminal)
        console.print(f"[bold]{model}[/bold] on {len(files)} file{'s' if len(files) > 1 else ''}")
        threads = min(len(os.sched_getaffinity(0)), 8)
        if _in_this_process(run):
            # Beam takes some seconds to import; the model is loaded meanwhile.
            predictor.load_early(model.path, signature, threads)
        with _showing(console):
            from modules.prediction.transform import Job

            # Explaining is slow: smaller blocks let all workers take part and the progress move.
            block_bytes = BLOCK_BYTES // 16 if explained else BLOCK_BYTES
            job = Job(files, model, signature, tuple(formats), staging, threads, block_bytes, explained)
            found, model_s = _execute(run, job)
        whole = report.total(result.counts for result in found)
        quarantined = _judge(run, whole, job, output)
        for file, result in zip(files, found, strict=True):
            result.outputs = [f"{file.stem}.{suffix}" for suffix in formats]
        done = PredictionReport(
            model=model.name,
            version=model.version,
            model_path=str(model.path),
            dataset=run.dataset.name,
            started_at=started.isoformat(timespec="seconds"),
            seconds=round(time.perf_counter() - begin, 3),
            model_s=model_s,
            mean_probability=whole.probability / whole.predicted if whole.probability is not None else None,
            counts=whole,
            files=tuple(found),
            quarantine=QUARANTINE_FILE if quarantined else None,
        )
        _publish(job, output, done)
        _show(console, done, output)
    return 0


def _check_output(output: Path, files: Sequence[InputFile], formats: Sequence[str], overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output {output} is a file, expected a folder")
    targets = {str((output / f"{f.stem}.{suffix}").resolve()) for f in files for suffix in formats}
    if clash := targets & {str(Path(f.source.path).resolve()) for f in files}:
        raise ConfigError(f"--output {output}: the predictions would replace their own input {sorted(clash)[0]}")
    if overwrite or not output.is_dir():
        return
    # A job that was stopped by bad rows leaves only those behind.
    there = sorted(p.name for p in output.iterdir() if p.name != QUARANTINE_FILE and not p.name.startswith(_STAGING))
    if there:
        raise ConfigError(
            f"--output {output} is not empty; --overwrite replaces the predictions in it",
            [f"there is: {', '.join(there[:5])}" + (f" and {len(there) - 5} more" if len(there) > 5 else "")],
        )


@contextlib.contextmanager
def _only_one(output: Path) -> Iterator[Path]:
    """A staging folder inside the output folder, which is on the same disk, so that finished files are renamed."""
    folder = os.open(output, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another job is writing to {output}; wait for it or give another --output") from None
        for left in output.glob(f"{_STAGING}*"):
            shutil.rmtree(left, ignore_errors=True)
        staging = output / f"{_STAGING}{os.getpid()}"
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        os.close(folder)


def _in_this_process(run: Run) -> bool:
    beam = run.runner.beam
    local = str(beam.get("runner", "DirectRunner")).rsplit(".", 1)[-1] in _LOCAL_RUNNERS
    return local and beam.get("direct_running_mode", "in_memory") == "in_memory"


@contextlib.contextmanager
def _showing(console: Console) -> Iterator[None]:
    """A line that moves while a terminal is watching."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading Apache Beam")
        progress.set_listener(lambda done, _, text: bar.update(task, description=f"predicting   {done:,} {text}"))
        try:
            yield
        finally:
            progress.set_listener(None)


def _execute(run: Run, job: Job) -> tuple[list[FileResult], float | None]:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from modules.prediction import transform

    pipeline = beam.Pipeline(options=PipelineOptions(run.runner.beam_args()))
    transform.build(pipeline, job)
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:
        logging.getLogger(__name__).error("the job stopped", exc_info=error)
        _raise_known(error)
        raise
    model_s = transform.model_seconds(result)
    found = transform.results(job)
    for one in found:
        if one.error is not None:
            raise DataError(one.error, one.details)
    return found, model_s


def _raise_known(error: BaseException) -> None:
    """Raises the first error that a user can act on: Beam wraps what a worker raised, or has only its text."""
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AiqleadsError):
            raise type(cause)(_without_step(str(cause)), cause.details) from error
        cause = cause.__cause__ or cause.__context__
    for found in _KNOWN.finditer(text):
        raise getattr(errors, found[1])(_without_step(found[2])) from error


def _without_step(message: str) -> str:
    """Beam appends the name of the step."""
    return message.split(" [while running")[0]


def _judge(run: Run, whole: report.Counts, job: Job, output: Path) -> bool:
    """Gathers the rows that have no prediction; DataError if they are too many.

    Returns:
      Whether there are any.
    """
    bad = whole.quarantined_rows
    if not bad:
        return False
    with open(job.staging / QUARANTINE_FILE, "wb") as merged:
        for number in range(len(job.files)):
            with open(job.joined(number, "jsonl"), "rb") as rows:
                shutil.copyfileobj(rows, merged)
    if bad > run.dataset.max_bad_rows * whole.records:
        (job.staging / QUARANTINE_FILE).replace(output / QUARANTINE_FILE)
        raise DataError(
            f"{bad} of {whole.records} rows cannot be used ({bad / whole.records:.2%}), more than max_bad_rows "
            f"({run.dataset.max_bad_rows:.2%}); nothing was predicted",
            [
                *(f"{count} rows: {reason}" for reason, count in whole.quarantined.items()),
                *whole.first_bad,
                f"all of them: {output / QUARANTINE_FILE}",
            ],
        )
    return True


def _publish(job: Job, output: Path, done: PredictionReport) -> None:
    """Gives the files their names; the report, which vouches for them, goes first and comes last."""
    earlier = report.earlier_outputs(output)
    (output / report.REPORT_FILE).unlink(missing_ok=True)
    written = set()
    for number, result in enumerate(done.files):
        for name in result.outputs:
            target = output / name
            target.parent.mkdir(parents=True, exist_ok=True)
            job.joined(number, target.suffix[1:]).replace(target)
            written.add(target)
    if done.quarantine:
        (job.staging / QUARANTINE_FILE).replace(output / QUARANTINE_FILE)
        written.add(output / QUARANTINE_FILE)
    for path in (*earlier, output / QUARANTINE_FILE):
        if path not in written:
            path.unlink(missing_ok=True)
    done.write(output)


def _show(console: Console, done: PredictionReport, output: Path) -> None:
    """One screen."""
    counts = done.counts
    console.print(
        f"[green]predicted[/green]   {counts.predicted:,} leads of {len(done.files)} "
        f"file{'s' if len(done.files) > 1 else ''} in {done.seconds:.1f} s, "
        f"{counts.predicted / done.seconds:,.0f} leads/s"
    )
    if done.mean_probability is not None:
        console.print(f"probability {done.mean_probability:.1%} of the leads are expected to convert")
    if counts.tenths and counts.predicted:
        shares = [n / counts.predicted for n in counts.tenths]
        console.print("scores      among the leads that the version was calibrated on each row would have 10 %")
        for i, share in enumerate(shares):
            bar = "█" * round(share * 100)
            console.print(f"  {i * TENTHS:>3} - {(i + 1) * TENTHS:<4}{share:>6.1%}  [dim]{bar[:60]}[/dim]")
    if counts.quarantined:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.quarantined.items())
        console.print(
            f"[yellow]left out[/yellow]    {counts.quarantined_rows:,} rows have no prediction: {reasons}", markup=True
        )
        for line in counts.first_bad[:3]:
            console.print(f"  {line}", markup=False)
        console.print(f"  all of them: {_relative(output / QUARANTINE_FILE)}", markup=False)
    names = [name for file in done.files for name in file.outputs]
    for name in names[:8]:
        console.print(f"wrote       {_relative(output / name)}", markup=False, soft_wrap=True)
    if len(names) > 8:
        console.print(f"wrote       {len(names) - 8} more files in {_relative(output)}", markup=False, soft_wrap=True)


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
