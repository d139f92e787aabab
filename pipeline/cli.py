"""The `aiqleads` command. Nothing heavy is imported before a command needs it.

Exit codes: 0 pushed or nothing to do, 1 unexpected, 2 not blessed, 3 stopped at the data gate, 4 bad configuration
or data, 5 a model server that cannot be reached or failed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="aiqleads",
    help="Lead scoring and next best action: TFX pipelines from raw tables to TensorFlow Serving.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(
    help="Generate a synthetic marketplace, or check your own table.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")

ConfigArgument = Annotated[Path, typer.Argument(help="Model file, e.g. configs/lead_scoring.yaml.")]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Name under configs/datasets/, or a path; the model file's otherwise.")
]
RootOption = Annotated[Path, typer.Option("--root", help="Holds metadata, artifacts, logs and served models.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value laid over the files, e.g. model.max_depth=4 or dataset.max_bad_rows=0.01."),
]
ServerOption = Annotated[str, typer.Option("--server", help="gRPC address of the model server.")]
VersionOption = Annotated[int | None, typer.Option("--version", help="Version number; the newest otherwise.")]
LabelOption = Annotated[str | None, typer.Option("--label", help="Version label, e.g. stable.")]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="csv, jsonl or table; a table on a terminal, CSV elsewhere.")
]
OutputOption = Annotated[Path | None, typer.Option("--output", help="File to write instead of standard output.")]
SkipBadOption = Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out instead of stopping.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds for one request.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Leads per request.")]
TokenOption = Annotated[Path | None, typer.Option("--token-file", help="Bearer token for the server.")]
TlsOption = Annotated[bool, typer.Option("--tls", help="Use TLS, with the system's authorities.")]
CaOption = Annotated[Path | None, typer.Option("--ca", help="Use TLS, with these authorities (PEM).")]


@app.command()
def run(
    config: Annotated[list[Path], typer.Argument(help="Model files, e.g. configs/lead_scoring.yaml; run in order.")],
    dataset: DatasetOption = None,
    root: RootOption = Path("build"),
    set_: SetOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every component even if its result is cached.")] = False,
    span: Annotated[int | None, typer.Option("--span", help="Span of files with {SPAN}; the latest otherwise.")] = None,
) -> None:
    """Run the pipeline: from raw tables to a blessed, pushed model. Of several, the first that fails ends it."""
    from modules.configuration import parse_override
    from pipeline.config import load_run

    overrides = dict(parse_override(text) for text in set_ or [])
    # All of them before the first one runs: a mistake in the last file should not cost the time of the first.
    runs = [load_run(file, dataset=dataset, root=root, overrides=overrides, span=span) for file in config]
    from pipeline.run import execute

    for settings in runs:
        code = execute(settings, fresh=fresh)
        if code:
            raise typer.Exit(code)


@app.command()
def schema(
    config: ConfigArgument,
    dataset: DatasetOption = None,
    root: RootOption = Path("build"),
    set_: SetOption = None,
    save: Annotated[bool, typer.Option("--save", help="Write it to schema/<dataset>/schema.pbtxt.")] = False,
) -> None:
    """Show the schema that the data suggests, and what differs from the curated one."""
    from modules.configuration import parse_override
    from pipeline.config import load_run

    overrides = dict(parse_override(text) for text in set_ or [])
    settings = load_run(config, dataset=dataset, root=root, overrides=overrides)
    from pipeline.schema import review

    raise typer.Exit(review(settings, save=save))


@app.command()
def report(
    config: Annotated[
        Path | None, typer.Argument(help="Model file whose latest run is meant; the latest run of any model otherwise.")
    ] = None,
    dataset: DatasetOption = None,
    root: RootOption = Path("build"),
    set_: SetOption = None,
    run_: Annotated[
        str | None, typer.Option("--run", help="Beginning of a run id, or the integer version of a published model.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File; <root>/reports/<model>-<version>.html otherwise.")
    ] = None,
) -> None:
    """Write one page about a finished run: data, curves, slices, importances, blessing, model card, lineage."""
    from modules.configuration import parse_override
    from modules.errors import ConfigError

    servable = None
    if config is not None:
        from pipeline.config import load_run

        overrides = dict(parse_override(text) for text in set_ or [])
        servable = load_run(config, dataset=dataset, root=root, overrides=overrides).servable
    elif dataset or set_:
        raise ConfigError("report: --dataset and --set belong to a model file; name it, e.g. configs/lead_scoring.yaml")
    from pipeline.report.command import report as write_report

    write_report(Path(root).absolute(), servable, run_, out)


@app.command()
def predict(
    config: ConfigArgument,
    input_: Annotated[
        list[str], typer.Option("--input", help="CSV, gzip CSV or Parquet file, or a pattern; may be repeated.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for the predictions.")],
    dataset: DatasetOption = None,
    root: RootOption = Path("build"),
    set_: SetOption = None,
    version: Annotated[int | None, typer.Option("--version", min=0, help="The newest published one otherwise.")] = None,
    model_dir: Annotated[
        Path | None, typer.Option("--model-dir", help="Folder of versions, or one SavedModel, instead of the root's.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="parquet, csv or both.")] = "both",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier job's predictions.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add what each feature contributes: exact Shapley values, and slow.")
    ] = False,
) -> None:
    """Score the leads of whole files with the published model."""
    from modules.configuration import parse_override
    from modules.errors import ConfigError
    from pipeline.config import load_run

    formats = {"parquet": ("parquet",), "csv": ("csv",), "both": ("parquet", "csv")}
    if format_ not in formats:
        raise ConfigError(f"--format: expected parquet, csv or both; received {format_!r}")
    overrides = dict(parse_override(text) for text in set_ or [])
    settings = load_run(config, dataset=dataset, root=root, overrides=overrides)
    from pipeline.predict import predict

    raise typer.Exit(predict(settings, input_, output, version, model_dir, formats[format_], overwrite, explain))


BENCHES = (
    "ingest", "pipeline", "forest", "scale", "quality", "bank", "serving", "swap", "bulk", "recommend",
    "recommend_quality", "next_action",
    "policy_value", "selection", "parts",
)  # fmt: skip


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help=f"{', '.join(BENCHES[:-1])} or {BENCHES[-1]}.")],
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Rows of the benchmark's table.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
) -> None:
    """Measure: each figure is a ratio taken in one run, A and B in turn, medians."""
    import importlib
    import json

    from modules.errors import ConfigError

    if name not in BENCHES:
        raise ConfigError(f"bench: expected one of {', '.join(BENCHES)}; received {name!r}")
    result = importlib.import_module(f"benchmarks.{name}").run(rows=rows, as_json=json_)
    typer.echo(json.dumps(result) if json_ else json.dumps(result, indent=2))


@app.command()
def serve(
    root: RootOption = Path("build"),
    port: Annotated[int, typer.Option("--port", help="gRPC; 0 switches it off.")] = 8500,
    rest_port: Annotated[int, typer.Option("--rest-port", help="REST; 0 switches it off.")] = 8501,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    batching: Annotated[bool, typer.Option(help="Merge requests that wait into one run.")] = True,
    batching_parameters: Annotated[
        Path | None, typer.Option("--batching-parameters", help="Text BatchingParameters of TensorFlow Serving.")
    ] = None,
    ssl_config: Annotated[Path | None, typer.Option("--ssl-config", help="Text SSLConfig: TLS on both ports.")] = None,
    token_file: Annotated[Path | None, typer.Option("--token-file", help="Bearer token to ask callers for.")] = None,
    access_log: Annotated[str, typer.Option("--access-log", help="A JSON line per request; - for stderr.")] = "",
    poll: Annotated[float, typer.Option("--poll", min=0, help="Seconds between looks for new versions; 0 once.")] = 1.0,
    check: Annotated[bool, typer.Option("--check", help="Ask a few leads over both, show it, and end.")] = False,
) -> None:
    """Serve every pushed model over TensorFlow Serving's gRPC and REST API."""
    from pipeline.serve import serve, server_options

    if check:
        from pipeline.serve_check import check_server

        raise typer.Exit(check_server(root))
    options = server_options(
        root,
        port=port,
        rest_api_port=rest_port,
        host=host,
        enable_batching=batching,
        batching_parameters_file=str(batching_parameters or ""),
        ssl_config_file=str(ssl_config or ""),
        auth_token_file=str(token_file or ""),
        access_log=access_log,
        file_system_poll_wait_seconds=poll,
    )
    raise typer.Exit(serve(options))


@app.command()
def score(
    file: Annotated[str, typer.Argument(help="CSV or JSON lines, gzip-compressed or not; - for standard input.")],
    server: ServerOption = "127.0.0.1:8500",
    model: Annotated[str, typer.Option("--model", help="Name of the served model.")] = "lead-scoring",
    version: VersionOption = None,
    label: LabelOption = None,
    format_: FormatOption = None,
    output: OutputOption = None,
    id_: Annotated[str | None, typer.Option("--id", help="Column that identifies a lead.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Read columns and missing values as this dataset file says.")
    ] = None,
    skip_bad: SkipBadOption = False,
    timeout: TimeoutOption = 5.0,
    batch: BatchOption = 512,
    token_file: TokenOption = None,
    tls: TlsOption = False,
    ca: CaOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add the strongest reasons of each lead.")] = False,
) -> None:
    """Score leads through a running model server."""
    from pipeline.score import ScoreOptions
    from pipeline.score import score as run_score

    options = ScoreOptions(
        file=file, model=model, id=id_, dataset=dataset,
        server=server, version=version, label=label, format=format_, output=output, skip_bad=skip_bad, timeout=timeout,
        batch=batch, token_file=token_file, tls=tls, ca=ca, explain=explain,
    )  # fmt: skip
    raise typer.Exit(run_score(options))


@app.command()
def recommend(
    events: Annotated[
        str, typer.Argument(help="Events as CSV, JSON lines or Parquet, gzip-compressed or not; - for standard input.")
    ],
    leads: Annotated[str | None, typer.Option("--leads", help="Table of the leads, in the same formats.")] = None,
    dataset: DatasetOption = None,
    lead: Annotated[list[str] | None, typer.Option("--lead", help="Only this lead; may be repeated.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="Only events before this moment: what was best then.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", help="Recommend only this action; may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Actions per lead in the output.")] = 3,
    server: ServerOption = "127.0.0.1:8500",
    model: Annotated[str | None, typer.Option("--model", help="Served model; the dataset's otherwise.")] = None,
    version: VersionOption = None,
    label: LabelOption = None,
    format_: FormatOption = None,
    output: OutputOption = None,
    skip_bad: SkipBadOption = False,
    timeout: TimeoutOption = 5.0,
    batch: BatchOption = 512,
    token_file: TokenOption = None,
    tls: TlsOption = False,
    ca: CaOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add the past events that mattered.")] = False,
) -> None:
    """Recommend the next best action for each lead of a file of events through a running model server."""
    from pipeline.recommend import RecommendOptions
    from pipeline.recommend import recommend as run_recommend

    options = RecommendOptions(
        events=events, leads=leads, dataset=dataset, lead=tuple(lead or ()), at=at, allow=tuple(allow or ()), top=top,
        model=model,
        server=server, version=version, label=label, format=format_, output=output, skip_bad=skip_bad, timeout=timeout,
        batch=batch, token_file=token_file, tls=tls, ca=ca, explain=explain,
    )  # fmt: skip
    raise typer.Exit(run_recommend(options))


@app.command("serving-config")
def serving_config(
    file: Annotated[Path | None, typer.Argument(help="Source; configs/serving/serving.yaml otherwise.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to; the source's otherwise.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the files agree with the source.")] = False,
    set_: SetOption = None,
) -> None:
    """Write the configuration of the real tensorflow_model_server."""
    from modules.configuration import parse_override
    from pipeline.serving_config import serving_config as write

    raise typer.Exit(write(file, out, check, dict(parse_override(text) for text in set_ or [])))


@data_app.command("generate")
def data_generate(
    rows: Annotated[int, typer.Option("--rows", min=1, help="Leads, over all spans.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed and rows, same files.")] = 0,
    start: Annotated[str | None, typer.Option("--start", help="First day, YYYY-MM-DD.")] = None,
    spans: Annotated[int, typer.Option("--spans", min=1, help="Consecutive spans of time, a folder each.")] = 1,
    drift: Annotated[str, typer.Option("--drift", help="E.g. mortgage_rate:+2.0,source=portal:0.4@2.")] = "",
    faults: Annotated[str, typer.Option("--faults", help="E.g. ragged=5,new_category=state:0.05.")] = "",
    format_: Annotated[str, typer.Option("--format", help="csv, csv.gz or parquet.")] = "csv",
) -> None:
    """Make a synthetic real-estate lead marketplace whose true conversion probabilities are known."""
    from pipeline.generate import generate

    raise typer.Exit(generate(rows, out, seed, start, spans, drift, faults, format_))


@data_app.command("check")
def data_check(
    config: Annotated[str, typer.Argument(help="Dataset file, or its name under configs/datasets/.")],
    rows: Annotated[
        int, typer.Option("--rows", min=100, help="Rows to sample; of journeys 100 times as many of each table.")
    ] = 10_000,
    set_: SetOption = None,
) -> None:
    """Read a sample of a table and say what does not fit its dataset file."""
    from modules.configuration import parse_override
    from pipeline.check import check

    raise typer.Exit(check(config, rows, dict(parse_override(text) for text in set_ or [])))


@data_app.command("propose")
def data_propose(
    table: Annotated[Path, typer.Argument(help="CSV, gzip CSV or Parquet file.")],
    label: Annotated[
        str | None, typer.Option("--label", help="The column to predict; otherwise it is guessed.")
    ] = None,
) -> None:
    """Print a first dataset file for a table that nobody has described yet."""
    from pipeline.check import propose

    raise typer.Exit(propose(table, label))


def main(arguments: list[str] | None = None) -> int:
    """Entry point: errors a user can act on are printed without a traceback."""
    try:
        result = app(arguments, standalone_mode=False)
    except KeyboardInterrupt:
        print("\ninterrupted; the next run continues after the last finished component", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "show"):  # the command line itself
            error.show()
            return 4
        if isinstance(error, typer.Abort):
            return 130
        from modules.errors import AiqleadsError

        if not isinstance(error, AiqleadsError):
            raise
        print(f"aiqleads: {error}", file=sys.stderr)
        for line in error.details:
            print(f"  {line}", file=sys.stderr)
        return error.exit_code
    return result if isinstance(result, int) else 0


def entry() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
