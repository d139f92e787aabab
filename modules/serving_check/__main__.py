"""`python -m modules.serving_check`: checks a SavedModel, writes a report and, if it passed, warm-up requests."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from modules.serving_check.requests import read_records
from modules.serving_check.runner import ServingCheck
from modules.serving_check.settings import ServingCheckSettings
from modules.serving_check.warmup import write_warmup


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m modules.serving_check", description=__doc__)
    parser.add_argument("--model", required=True, help="SavedModel directory")
    parser.add_argument("--model-name", default="model", help="servable that warm-up requests name")
    parser.add_argument("--examples", required=True, nargs="+", help="TFRecord files of serialized tf.Examples")
    parser.add_argument("--settings", default="{}", help="ServingCheckSettings as JSON")
    parser.add_argument("--report", required=True, help="JSON file to write")
    parser.add_argument("--warmup", help="warm-up file to write if the model passed")
    arguments = parser.parse_args()
    start = time.perf_counter()
    settings = ServingCheckSettings.model_validate_json(arguments.settings)
    count = max(settings.requests, *settings.batch_sizes)
    check = ServingCheck(arguments.model, read_records(arguments.examples, count), settings).run()
    report = check.report()
    if check.ok and arguments.warmup:
        report["warmup_requests"] = write_warmup(
            arguments.warmup,
            arguments.model_name,
            check.served,
            check.records,
            settings.batch_sizes,
            check.names,
        )
    report["seconds"]["all after imports"] = round(time.perf_counter() - start, 3)
    Path(arguments.report).write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
