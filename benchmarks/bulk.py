"""Batch prediction against the stock BulkInferrer: the same published model, the same leads, a process each.

The stock side gets tf.Examples that are there already and writes its PredictionLogs; ours reads the CSV and writes
Parquet and CSV. Both run on Beam's in-memory runner.

python -m benchmarks.bulk --rows 20000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pipeline import PROJECT, timed

ROWS = 400_000
TRAINING_ROWS = 20_000
TOLERANCE = 1e-5
OUTPUTS = ("score", "probability", "probability_low", "probability_high", "confidence")
CONFIG = str(PROJECT / "configs" / "lead_scoring.yaml")


def train(folder: Path) -> Path:
    """A root with a published model of the default settings, trained on 20,000 leads of the marketplace."""
    leads, root = folder / "training", folder / "root"
    command = [sys.executable, "-m", "pipeline.cli"]
    subprocess.run(
        [*command, "data", "generate", "--rows", str(TRAINING_ROWS), "--seed", "7", "--out", str(leads)],
        check=True, cwd=PROJECT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    settings = [f"dataset.files=['{leads / 'leads.csv'}']", "evaluation.min={}", "evaluation.max={}",
                "evaluation.per_slice={}"]  # fmt: skip
    command += ["run", CONFIG, "--root", str(root), *(part for s in settings for part in ("--set", s))]
    timed(command, folder / "run.log")
    return root


def write_leads(folder: Path, rows: int) -> Path:
    """The leads to be scored, as the marketplace exports them."""
    from modules.marketplace.settings import MarketplaceSettings
    from modules.marketplace.write import write_marketplace

    write_marketplace(folder, MarketplaceSettings(rows=rows, seed=11))
    return folder / "leads.csv"


def write_examples(leads: Path, folder: Path) -> None:
    """The same leads as gzip TFRecords of raw tf.Examples, id included, in the one split `bulk`."""
    from modules.ingest.read import read_columns
    from modules.ingest.tfrecord import GzipTFRecordFile, make_piece
    from modules.ingest.wire import framed_examples
    from pipeline.config import load_leads

    dataset = load_leads("aiqleads", {"files": [str(leads)]})
    split = folder / "Split-bulk"
    split.mkdir(parents=True)
    file = GzipTFRecordFile(str(split / "data_tfrecord-00000-of-00001.gz"))
    names = [dataset.id_feature, *dataset.table.names]
    for block in read_columns(dataset):
        file.write(make_piece(framed_examples(block.batch().select(names))[0]))
    file.close()


def stock(examples: Path, model: Path, output: Path) -> float:
    """Seconds that the executor of BulkInferrer takes, its imports left out."""
    from tfx.components.bulk_inferrer import executor
    from tfx.components.util import examples_utils
    from tfx.proto import bulk_inferrer_pb2, example_gen_pb2
    from tfx.types import artifact_utils, standard_artifacts
    from tfx.utils import proto_utils

    data = standard_artifacts.Examples()
    data.uri = str(examples)
    data.split_names = artifact_utils.encode_split_names(["bulk"])
    examples_utils.set_payload_format(data, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(data, "tfrecords_gzip")
    served = standard_artifacts.Model()
    served.uri = str(output / "model")
    output.mkdir()
    Path(served.uri).mkdir()
    (Path(served.uri) / "Format-Serving").symlink_to(model)
    result = standard_artifacts.InferenceResult()
    result.uri = str(output / "result")
    properties = {
        "model_spec": proto_utils.proto_to_json(bulk_inferrer_pb2.ModelSpec()),
        "data_spec": proto_utils.proto_to_json(bulk_inferrer_pb2.DataSpec()),
    }
    # Beam's in-memory runner, named in full as ours is; without Beam arguments TFX does not pack its sources.
    arguments = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
                 "--direct_running_mode=in_memory", "--direct_num_workers=1",
                 f"--setup_file={PROJECT / 'setup.py'}"]  # fmt: skip
    context = executor.Executor.Context(beam_pipeline_args=arguments, tmp_dir=str(output / "tmp"), unique_id="1")
    begin = time.perf_counter()
    executor.Executor(context).Do({"examples": [data], "model": [served]}, {"inference_result": [result]}, properties)
    return time.perf_counter() - begin


def our_command(leads: Path, root: Path, output: Path) -> list[str]:
    """The arguments of `aiqleads`."""
    return ["predict", CONFIG, "--root", str(root), "--input", str(leads), "--output", str(output)]


def ours(leads: Path, root: Path, output: Path) -> float:
    """Seconds that the command takes in a process that has imported Beam already."""
    import modules.prediction.transform  # noqa: F401
    from pipeline.cli import main

    begin = time.perf_counter()
    if main(our_command(leads, root, output)):
        raise RuntimeError("aiqleads predict failed")
    return time.perf_counter() - begin


def largest_difference(logs: Path, predictions: Path) -> float:
    """Largest absolute difference of an output between the stock PredictionLogs and our Parquet file.

    Raises:
      RuntimeError: they do not hold the same leads.
    """
    import pyarrow.parquet as pq
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    table = pq.read_table(predictions)
    mine = dict(zip(table["lead_id"].to_pylist(), range(table.num_rows), strict=True))
    order, theirs = [], []
    for file in sorted(logs.iterdir()):
        for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record).predict_log
            example = tf.train.Example.FromString(log.request.inputs["examples"].string_val[0])
            order.append(mine.get(example.features.feature["lead_id"].bytes_list.value[0].decode(), -1))
            theirs.append([log.response.outputs[name].float_val[0] for name in OUTPUTS])
    if sorted(order) != list(range(table.num_rows)):
        raise RuntimeError(f"stock answered {len(order)} leads, ours {table.num_rows}, and they are not the same")
    values = np.stack([table[name].to_numpy() for name in OUTPUTS], axis=1)[order]
    # The score is in percent; everything else is a share.
    scale = np.array([100.0 if name == "score" else 1.0 for name in OUTPUTS])
    return float(np.abs((values - np.array(theirs)) / scale).max())


def run(rows: int | None = None, as_json: bool = False, root: Path | None = None) -> dict[str, Any]:
    """Measures both sides and checks that they answer the same.

    Args:
      rows: leads to score, 400,000 by default.
      as_json: nothing but the result is printed.
      root: with a published model; trained on the spot otherwise.

    Returns:
      rows; stock_s, ours_s: wall seconds of the whole process; ratio = stock_s / ours_s; stock_work_s, ours_work_s,
      work_ratio: the same without imports; stock_peak_mb, ours_peak_mb: resident memory; max_difference: between the
      answers, score taken as a share.
    """
    rows = rows or ROWS
    with tempfile.TemporaryDirectory(prefix="aiqleads-bulk-") as temporary:
        folder = Path(temporary)
        root = root or train(folder)
        serving = root / "serving" / "lead-scoring"
        model = max((p for p in serving.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
        leads = write_leads(folder / "leads", rows)
        write_examples(leads, folder / "examples")
        module = [sys.executable, "-m", "benchmarks.bulk"]
        side = {
            "stock": [*module, "--side", "stock", str(folder / "examples"), str(model), str(folder / "stock")],
            "ours": [sys.executable, "-m", "pipeline.cli", *our_command(leads, root, folder / "ours")],
            "ours_work": [*module, "--side", "ours", str(leads), str(root), str(folder / "ours_work")],
        }
        seconds, peak = {}, {}
        for name, command in side.items():
            log = folder / f"{name}.log"
            seconds[name], peak[name] = timed(command, log)
            if not as_json:
                print(f"{name:<10} {seconds[name]:7.1f} s   peak {peak[name]:,.0f} MB", flush=True)
        work = {name: _last(folder / f"{name}.log") for name in ("stock", "ours_work")}
        difference = largest_difference(folder / "stock" / "result", folder / "ours" / "leads.parquet")
    if difference > TOLERANCE:
        raise RuntimeError(f"the answers differ by up to {difference:g}, expected at most {TOLERANCE:g}")
    return {
        "rows": rows,
        "stock_s": round(seconds["stock"], 2),
        "ours_s": round(seconds["ours"], 2),
        "ratio": round(seconds["stock"] / seconds["ours"], 2),
        "stock_work_s": round(work["stock"], 2),
        "ours_work_s": round(work["ours_work"], 2),
        "work_ratio": round(work["stock"] / work["ours_work"], 2),
        "stock_peak_mb": round(peak["stock"]),
        "ours_peak_mb": round(peak["ours"]),
        "max_difference": difference,
    }


def _last(log: Path) -> float:
    """What a side printed last."""
    return float(json.loads(log.read_text().strip().splitlines()[-1])["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--side", nargs=4, metavar=("SIDE", "INPUT", "MODEL", "OUTPUT"))
    arguments = parser.parse_args()
    if arguments.side:
        name, *paths = arguments.side
        seconds = {"stock": stock, "ours": ours}[name](*map(Path, paths))
        print(json.dumps({"seconds": seconds}), flush=True)
        # Nothing is left to do, and TensorFlow's own clearing up writes to the log.
        os._exit(0)
    print(json.dumps(run(arguments.rows, root=arguments.root), indent=2))


if __name__ == "__main__":
    main()
