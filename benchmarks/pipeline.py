"""The whole run against the same pipeline of stock TFX components, and against a plain pandas + XGBoost script.

All three read the same CSV file of the synthetic marketplace, hold out the same shares, fit the same XGBoost settings
and compute the same metrics on the test part, each in a process of its own, imports included. The stock pipeline has
TFX's defaults (CsvExampleGen, Transform with statistics and materialized examples, TFMA's own metrics over the same
slices); the plain script has no validation, no slices, no serving model. Training is kept short (100 rounds) so that
the figures tell about the pipeline and not about XGBoost, which is the same in all three.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
MODEL = {"learning_rate": 0.1, "num_rounds": 100, "early_stopping_rounds": 20}
SLICES = ("source", "device", "homeowner")


def run(rows: int | None = None, as_json: bool = False, repeats: int = 1) -> dict[str, Any]:
    """Measures wall seconds and peak resident memory.

    Args:
      rows: leads in the table, 400,000 by default.
      as_json: nothing but the result is printed.
      repeats: rounds of stock, ours, plain in turn; medians are reported.

    Returns:
      rows; stock_s, ours_s, plain_s: seconds; vs_stock = stock_s / ours_s; vs_plain = ours_s / plain_s;
      peak_rss_mb: of our run.
    """
    rows = rows or 400_000
    times: dict[str, list[float]] = {"stock": [], "ours": [], "plain": []}
    peak = 0.0
    with tempfile.TemporaryDirectory(prefix="aiqleads-bench-") as folder:
        work = Path(folder)
        table = write_table(work / "leads", rows)
        for _ in range(repeats):
            for name, command in (
                ("stock", [sys.executable, "-m", "benchmarks.stock_pipeline", str(table), str(work / "stock")]),
                ("ours", ours_command(table, work / "ours")),
                ("plain", [sys.executable, "-m", "benchmarks.plain_script", str(table)]),
            ):
                seconds, rss = timed(command, work / f"{name}.log")
                times[name].append(seconds)
                if name == "ours":
                    peak = max(peak, rss)
                if not as_json:
                    print(f"{name:<6} {seconds:7.1f} s   peak {rss:,.0f} MB", flush=True)
                for left in ("stock", "ours"):
                    shutil.rmtree(work / left, ignore_errors=True)
    stock_s, ours_s, plain_s = (statistics.median(times[k]) for k in ("stock", "ours", "plain"))
    return {
        "rows": rows,
        "stock_s": round(stock_s, 2),
        "ours_s": round(ours_s, 2),
        "plain_s": round(plain_s, 2),
        "vs_stock": round(stock_s / ours_s, 2),
        "vs_plain": round(ours_s / plain_s, 2),
        "peak_rss_mb": round(peak),
    }


def write_table(folder: Path, rows: int) -> Path:
    """The marketplace's leads as one CSV without time and personal columns, which stock components cannot drop."""
    import pyarrow.compute as pc
    import pyarrow.csv as pacsv

    from modules.marketplace.settings import MarketplaceSettings
    from modules.marketplace.write import write_marketplace

    write_marketplace(folder, MarketplaceSettings(rows=rows, seed=11))
    source, target = folder / "leads.csv", folder / "table" / "table.csv"
    target.parent.mkdir()
    drop = {"created_at", "name", "email", "phone"}
    with open(source) as file:
        header = file.readline().rstrip("\n").replace('"', "").split(",")
    keep = [c for c in header if c not in drop]
    # As text, so that every number is written as it was read. The header is written by hand and post codes get a
    # letter, because CsvExampleGen takes quotes for part of a name and digits for a number.
    convert = pacsv.ConvertOptions(include_columns=keep, column_types=dict.fromkeys(keep, "string"))
    options = pacsv.WriteOptions(include_header=False, quoting_style="needed")
    with pacsv.open_csv(source, convert_options=convert) as reader, open(target, "wb") as out:
        out.write((",".join(keep) + "\n").encode())
        with pacsv.CSVWriter(out, reader.schema, write_options=options) as writer:
            for batch in reader:
                place = batch.schema.get_field_index("zip")
                codes = pc.binary_join_element_wise("z", batch.column(place), "")
                writer.write_batch(batch.set_column(place, "zip", codes))
    return target


def ours_command(table: Path, root: Path) -> list[str]:
    """The command line of our run."""
    settings = [
        *(f"model.{key}={value}" for key, value in MODEL.items()),
        f"evaluation.slices=[{', '.join(SLICES)}]",
        f"dataset.files=['{table}']",
        "evaluation.min={}",
        "evaluation.max={}",
        "evaluation.per_slice={}",
        "dataset.name=bench",  # no curated schema: SchemaGen, as in the stock pipeline
        "dataset.time=null",
        "dataset.label_maturity_days=0",
        "dataset.personal_data=[]",
    ]
    command = [sys.executable, "-m", "pipeline.cli", "run", str(PROJECT / "configs" / "lead_scoring.yaml")]
    return [*command, "--root", str(root), *(part for s in settings for part in ("--set", s))]


def timed(command: list[str], log: Path) -> tuple[float, float]:
    """Wall seconds and peak resident MB of a child process (its own children are not counted).

    Raises:
      RuntimeError: it failed; the end of its output is in the message.
    """
    begin = time.perf_counter()
    with open(log, "w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=PROJECT, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        raise RuntimeError(f"{' '.join(command[:4])} failed:\n{log.read_text()[-3000:]}")
    return seconds, usage.ru_maxrss / 1024
