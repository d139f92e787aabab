"""Columnar ingest against the stock CsvExampleGen: the same file, the same examples, both real executors.

python -m benchmarks.ingest --rows 400000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from modules.dataset import Dataset

ROWS = 50_000
ROUNDS = 3
NUMBERS = 12
CATEGORIES = 6
MISSING = 0.05


def write_table(path: Path, rows: int, seed: int = 0) -> None:
    """20 columns and a label: an id, a time, 12 numbers, 6 categories, 5 % of the values missing.

    All numbers have a decimal point, so that CsvExampleGen, which infers types, reads them as floats too.
    """
    rng = np.random.default_rng(seed)
    times = np.datetime64("2024-01-01T00:00:00") + rng.integers(0, 10**7, rows).astype("timedelta64[s]")
    columns: dict[str, Any] = {"lead_id": [f"lead-{i:08d}" for i in range(rows)], "created": times.astype(str)}
    for i in range(NUMBERS):
        text = np.char.mod("%.2f", rng.normal(50, 20, rows)).astype(object)
        text[rng.random(rows) < MISSING] = ""
        columns[f"number_{i}"] = text
    words = np.array([f"category {j}" for j in range(20)], object)
    for i in range(CATEGORIES):
        text = words[rng.integers(0, len(words), rows)]
        text[rng.random(rows) < MISSING] = ""
        columns[f"category_{i}"] = text
    columns["converted"] = rng.integers(0, 2, rows).astype(str)
    table = pa.table({name: pa.array(list(values), pa.string()) for name, values in columns.items()})
    with open(path, "wb") as file:
        # CsvExampleGen takes quotes in the header for a part of the names.
        file.write(",".join(columns).encode() + b"\n")
        pacsv.write_csv(table, file, pacsv.WriteOptions(include_header=False, quoting_style="none"))


def make_dataset(path: Path) -> Dataset:
    features = [{"name": f"number_{i}", "kind": "numeric"} for i in range(NUMBERS)]
    features += [{"name": f"category_{i}", "kind": "categorical"} for i in range(CATEGORIES)]
    # The time is read as text, as CsvExampleGen does.
    features.append({"name": "created", "kind": "categorical"})
    return Dataset.model_validate({
        "name": "benchmark", "files": [str(path)], "id": "lead_id", "label": {"column": "converted"},
        "features": features,
    })  # fmt: skip


def _artifact(folder: Path) -> Any:
    from tfx.types import standard_artifacts

    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    return artifact


def ours(path: Path, folder: Path) -> float:
    """Seconds that the executor of ColumnarExampleGen takes."""
    from tfx.utils import proto_utils

    from pipeline.components.example_gen import executor
    from pipeline.components.example_gen.settings import Settings

    properties = {"custom_config": proto_utils.proto_to_json(Settings(make_dataset(path), 0.2).pack())}
    return _do(executor.Executor, folder, properties)


def stock(path: Path, folder: Path) -> float:
    """Seconds that the executor of CsvExampleGen takes, with four splits of the same shares."""
    from tfx.components.example_gen import utils
    from tfx.components.example_gen.csv_example_gen import executor
    from tfx.proto import example_gen_pb2
    from tfx.utils import proto_utils

    buckets = {"train": 56, "validation": 14, "calibration": 10, "test": 20}
    splits = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=n) for name, n in buckets.items()]
    output = example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))
    properties = {
        "input_base": str(path.parent),
        "input_config": proto_utils.proto_to_json(utils.make_default_input_config(path.name)),
        "output_config": proto_utils.proto_to_json(output),
        "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
        "output_file_format": example_gen_pb2.FORMAT_TFRECORDS_GZIP,
    }
    return _do(executor.Executor, folder, properties)


def _do(kind: Any, folder: Path, properties: dict[str, Any]) -> float:
    # Without Beam arguments neither side packs TFX's sources for remote workers, which takes seconds.
    executor = kind(kind.Context(beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1"))
    artifact = _artifact(folder)
    begin = time.perf_counter()
    executor.Do({}, {"examples": [artifact]}, properties)
    return time.perf_counter() - begin


def digest(folder: Path) -> tuple[int, str]:
    """Number of examples and a hash over all of them, decoded, ordered by id; an empty list is a missing value."""
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    rows: list[tuple[bytes, bytes]] = []
    decoder = ExamplesToRecordBatchDecoder()
    for path in sorted(folder.glob("Split-*/*.gz")):
        for batch in tf.data.TFRecordDataset(str(path), "GZIP").batch(20_000).as_numpy_iterator():
            decoded = decoder.DecodeBatch(batch.tolist())
            names = sorted(decoded.schema.names)
            columns = [decoded.column(decoded.schema.get_field_index(name)).to_pylist() for name in names]
            for values in zip(*columns, strict=True):
                row = {name: value for name, value in zip(names, values, strict=True) if value}
                rows.append((row["lead_id"][0], repr(sorted(row.items())).encode()))
    rows.sort()
    total = hashlib.sha256()
    for _, example in rows:
        total.update(example)
    return len(rows), total.hexdigest()


def run(rows: int | None = None, as_json: bool = False, rounds: int | None = None) -> dict[str, Any]:
    """Times both executors in turn and checks that they wrote the same examples.

    Args:
      rows: size of the table, 50,000 by default.
      as_json: print the result as one line of JSON instead of a sentence.
      rounds: how often each side runs; 3 by default, 1 from 200,000 rows on.

    Returns:
      `rows`; `stock_s` and `ours_s`, medians of seconds; `ratio`, the median of stock / ours of each round.
    """
    rows = rows or ROWS
    rounds = rounds or (ROUNDS if rows < 200_000 else 1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "warm").mkdir()
        (root / "table").mkdir()
        write_table(root / "warm" / "leads.csv", 2000, seed=1)
        write_table(root / "table" / "leads.csv", rows)
        # The first run of each side also pays for imports.
        stock(root / "warm" / "leads.csv", root / "stock-warm")
        ours(root / "warm" / "leads.csv", root / "ours-warm")
        stock_s, ours_s = [], []
        for i in range(rounds):
            stock_s.append(stock(root / "table" / "leads.csv", root / f"stock-{i}"))
            ours_s.append(ours(root / "table" / "leads.csv", root / f"ours-{i}"))
        expected, received = digest(root / "stock-0"), digest(root / "ours-0")
        if expected != received or received[0] != rows:
            raise AssertionError(f"the examples differ: stock {expected}, ours {received}")
    result = {
        "rows": rows,
        "stock_s": round(statistics.median(stock_s), 2),
        "ours_s": round(statistics.median(ours_s), 2),
        "ratio": round(statistics.median(s / o for s, o in zip(stock_s, ours_s, strict=True)), 1),
    }
    if as_json:
        print(json.dumps(result))
    else:
        print(
            f"ingest of {rows} rows: CsvExampleGen {result['stock_s']} s, ColumnarExampleGen {result['ours_s']} s, "
            f"{result['ratio']} times as fast; the examples are the same"
        )
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    run(arguments.rows, arguments.json)
