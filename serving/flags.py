"""The command line of tensorflow_model_server (tensorflow_serving/model_servers/main.cc), and a few flags of ours."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from serving.options import ServerOptions

# Flags of tensorflow_model_server that have no meaning here: GPUs, TPUs, other runtimes, its own thread pools.
IGNORED = (
    "rest_api_num_threads",
    "rest_api_enable_cors_support",
    "enable_per_model_batching_parameters",
    "num_unload_threads",
    "flush_filesystem_caches",
    "tensorflow_session_config_file",
    "use_alts_credentials",
    "platform_config_file",
    "per_process_gpu_memory_fraction",
    "remove_unused_fields_from_bundle_metagraph",
    "prefer_tflite_model",
    "num_tflite_pools",
    "num_tflite_interpreters_per_pool",
    "enable_signature_method_name_check",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
    "enable_profiler",
    "thread_pool_factory_config_file",
    "mixed_precision",
    "skip_initialize_tpu",
    "enable_serialization_as_tensor_content",
    "use_tfrt",
)

_HELP = {
    "port": "gRPC port; 0 switches gRPC off, -1 takes a free port",
    "rest_api_port": "REST port; 0 switches REST off, -1 takes a free port",
    "rest_api_timeout_in_ms": "how long a REST request may take",
    "grpc_socket_path": "also listen for gRPC on this UNIX socket",
    "grpc_channel_arguments": "comma-separated key=value pairs for the gRPC server",
    "grpc_max_threads": "threads that run models; 0 chooses by the number of cores",
    "model_name": "name of the single model",
    "model_base_path": "folder that holds the single model's versions",
    "model_config_file": "text ModelServerConfig that lists the models",
    "model_config_file_poll_wait_seconds": "read the config file again this often; 0 never",
    "file_system_poll_wait_seconds": "look for new versions this often; 0 once, at start",
    "monitoring_config_file": "text MonitoringConfig: Prometheus on or off, and its path",
    "enable_batching": "merge requests that wait into one run",
    "batching_parameters_file": "text BatchingParameters",
    "allow_version_labels_for_unavailable_models": "labels may name versions that are not loaded",
    "enable_grpc_healthcheck_service": "the standard gRPC health service",
    "max_num_load_retries": "how often a failed load is tried again",
    "load_retry_interval_micros": "wait between these tries",
    "num_load_threads": "versions that load at the same time; 0 chooses two",
    "ssl_config_file": "text SSLConfig: TLS for both ports",
    "enable_model_warmup": "replay a version's warm-up requests before it serves",
    "num_request_iterations_for_warmup": "replay each of them this often",
    "saved_model_tags": "comma-separated tags of the graph to load",
    "tensorflow_session_parallelism": "threads of a session; 0 chooses by the number of cores",
    "tensorflow_intra_op_parallelism": "threads within an op",
    "tensorflow_inter_op_parallelism": "ops side by side",
    "root": "serve every model in this folder",
    "host": "address to listen on; loopback unless told otherwise",
    "ready_file": "write the ports here, as JSON, once requests are taken",
    "access_log": "one JSON line per request to this file, - for standard error",
    "auth_token_file": "callers must show the bearer token in this file",
    "auth_token_env": "callers must show the bearer token in this environment variable",
    "max_request_bytes": "larger requests are refused",
    "max_json_depth": "nesting of a REST body",
    "drain_seconds": "how long requests may still run after SIGTERM",
    "log_level": "DEBUG, INFO, WARNING or ERROR",
}


def parse(arguments: Sequence[str]) -> tuple[ServerOptions, list[str]]:
    """Options from `--name=value` or `--name value`; a bare boolean flag is true.

    Returns:
      The options, and warnings to show.

    Raises:
      SystemExit: an unknown flag or a bad value (code 2), or --help (code 0).
    """
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="A model server with TensorFlow Serving's API; the flags are tensorflow_model_server's.",
        allow_abbrev=False,
    )
    defaults = ServerOptions()
    for field in dataclasses.fields(ServerOptions):
        default = getattr(defaults, field.name)
        if isinstance(default, bool):
            parser.add_argument(
                f"--{field.name}", type=_boolean, nargs="?", const=True, default=default, help=_HELP[field.name]
            )
        else:
            kind = Path if default is None else type(default)
            if field.name == "file_system_poll_wait_seconds":
                kind = float
            parser.add_argument(
                f"--{field.name}", type=kind, default=default, help=f"{_HELP[field.name]} ({default or 'none'})"
            )
    for name in IGNORED:
        parser.add_argument(f"--{name}", nargs="?", const="", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--version", action="store_true", help="show the version and end")
    values = vars(parser.parse_args(_joined(arguments)))
    if values.pop("version"):
        from modules.native.library import library

        parser.exit(message=f"AIQLeads model server\nTensorFlow Library: {library().TF_Version().decode()}\n")
    ignored = [name for name in IGNORED if values.pop(name) is not None]
    warnings = [f"flags without a meaning here: {', '.join('--' + n for n in ignored)}"] if ignored else []
    options = ServerOptions(**values)
    problem = _fault(options)
    if problem:
        parser.error(problem)
    return options, warnings


def _joined(arguments: Sequence[str]) -> list[str]:
    """`-1` after a flag is a value, not a flag."""
    result: list[str] = []
    for argument in arguments:
        if result and result[-1].startswith("--") and "=" not in result[-1] and argument.lstrip("-").isdigit():
            result[-1] += f"={argument}"
        else:
            result.append(argument)
    return result


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "t", "yes"):
        return True
    if text.lower() in ("false", "0", "f", "no"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")


def _fault(options: ServerOptions) -> str | None:
    """What is wrong with a combination of flags, in tensorflow_model_server's words where it has some."""
    if options.batching_parameters_file and not options.enable_batching:
        return "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
    if not (options.model_base_path or options.model_config_file or options.root):
        return "Both server_options.model_base_path and server_options.model_config_file are empty!"
    if options.port > 0 and options.port == options.rest_api_port:
        return "--rest_api_port cannot be same as --port. Please use a different port for HTTP/REST API."
    if options.port == 0 and options.rest_api_port == 0 and not options.grpc_socket_path:
        return "nothing to listen on: --port, --rest_api_port and --grpc_socket_path are all off"
    return None
