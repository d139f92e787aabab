"""Everything the server can be told, as one frozen value; `flags` reads it from a command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ANY_PORT = -1
"""Port number that takes a free one; 0 switches a transport off, as tensorflow_model_server does."""


@dataclass(frozen=True)
class ServerOptions:
    """Flags of tensorflow_model_server under their own names, then ours.

    root: serve every model found in this folder, also those that appear later; instead of a model or a config file.
    host: address to listen on.
    ready_file: receives {"grpc": port, "rest": port, "pid": n} once requests are taken.
    access_log: file for one JSON line per request, "-" for standard error.
    auth_token_file, auth_token_env: where the bearer token stands that callers must show.
    max_request_bytes: larger requests are refused unread. max_json_depth: nesting of a REST body.
    drain_seconds: after SIGTERM, how long requests may still run.
    """

    port: int = 8500
    rest_api_port: int = 8501
    rest_api_timeout_in_ms: int = 30_000
    grpc_socket_path: str = ""
    grpc_channel_arguments: str = ""
    grpc_max_threads: int = 0
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: float = 1
    monitoring_config_file: str = ""
    enable_batching: bool = False
    batching_parameters_file: str = ""
    allow_version_labels_for_unavailable_models: bool = False
    enable_grpc_healthcheck_service: bool = False
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int = 0
    ssl_config_file: str = ""
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    saved_model_tags: str = "serve"
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0

    root: Path | None = None
    host: str = "127.0.0.1"
    ready_file: str = ""
    access_log: str = ""
    auth_token_file: str = ""
    auth_token_env: str = ""
    max_request_bytes: int = 2**31 - 1
    max_json_depth: int = 64
    drain_seconds: float = 30.0
    log_level: str = "INFO"
