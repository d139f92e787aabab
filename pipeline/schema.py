"""`aiqleads schema`: what the data and the feature table say a schema should be, for a person to review and save."""

from __future__ import annotations

import datetime as dt

from modules.files import write_whole
from pipeline.config import Run, schema_files
from pipeline.logs import adopt_absl, quiet


def review(run: Run, *, save: bool) -> int:
    """Shows the proposed schema and how it differs from the curated one; `save` writes it.

    Returns:
      0.
    """
    run.log_dir.mkdir(parents=True, exist_ok=True)
    log_file = run.log_dir / f"{run.servable}-schema-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}.log"
    with quiet(log_file) as terminal:
        from modules.ingest import sources
        from pipeline.console import ConsoleListener, make_console

        console = make_console(terminal)
        version = sources.fingerprint(sources.resolve(run.dataset, run.span))
        with ConsoleListener(console, lambda _: None) as listener:
            listener.stage("loading TFX")
            from google.protobuf import text_format
            from tfx.types import artifact_utils
            from tfx.utils import io_utils

            from modules.schema import curate_schema, describe_schema, diff_schema
            from pipeline.pipeline import create_statistics_pipeline
            from pipeline.runners.local import run_pipeline

            adopt_absl()
            results = run_pipeline(create_statistics_pipeline(run, version), listener)
        import tensorflow_data_validation as tfdv
        from tensorflow_metadata.proto.v0 import schema_pb2

        statistics = results["StatisticsGen"].outputs["statistics"]
        uris = [
            artifact_utils.get_split_uri(statistics, split)
            for split in artifact_utils.decode_split_names(statistics[0].split_names)
        ]
        proposed = curate_schema([tfdv.load_stats_binary(f"{uri}/FeatureStats.pb") for uri in uris], run.dataset)
        curated = schema_pb2.Schema()
        if run.schema_file is not None:
            io_utils.parse_pbtxt_file(str(run.schema_file), curated)
            changes = diff_schema(curated, proposed)
            console.print(f"\nagainst {run.schema_file}: {len(changes) or 'no'} changes")
            for line in changes:
                console.print(f"  {line}", markup=False)
        else:
            console.print(f"\n{run.dataset.name} has no curated schema yet; the data and the feature table suggest")
            for line in describe_schema(proposed):
                console.print(f"  {line}", markup=False)
        target = schema_files(run.dataset.name)[0]
        if save:
            write_whole(target, text_format.MessageToString(proposed))
            console.print(f"saved {target}; review it and keep it under version control")
        else:
            console.print(f"--save writes it to {target}")
    return 0
