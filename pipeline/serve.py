"""`aiqleads serve`: puts everything that the pipeline pushed behind TensorFlow Serving's API."""

from __future__ import annotations

from pathlib import Path

from modules.errors import ConfigError
from modules.publishing import versions
from serving.options import ServerOptions


def server_options(root: Path, **settings) -> ServerOptions:
    """What `aiqleads serve` serves by default: every pushed model under the root, batching and health on.

    Args:
      root: the pipeline's root; models lie in `<root>/serving/<name>/<version>`.
      settings: fields of ServerOptions.

    Raises:
      ConfigError: nothing has been pushed there.
    """
    models = root / "serving"
    found = [p for p in models.iterdir() if p.is_dir() and versions(p)] if models.is_dir() else []
    if not found:
        raise ConfigError(
            f"{models}: no pushed model; expected {models}/<name>/<version>/saved_model.pb",
            ["push one with `aiqleads run configs/lead_scoring.yaml`, or name another --root"],
        )
    chosen = {key: value for key, value in settings.items() if value is not None}
    return ServerOptions(root=models, **{"enable_batching": True, "enable_grpc_healthcheck_service": True, **chosen})


def serve(options: ServerOptions) -> int:
    """Serves until a signal; the exit code."""
    from serving.server import run, start_logging

    start_logging(options.log_level)
    assert options.root is not None
    names = sorted(p.name for p in options.root.iterdir() if p.is_dir() and versions(p))
    scheme = "https" if options.ssl_config_file else "http"
    for name in names:
        if options.port:
            print(f"gRPC  {options.host}:{options.port}  model {name}, signature serving_default", flush=True)
        if options.rest_api_port:
            print(f"REST  {scheme}://{options.host}:{options.rest_api_port}/v1/models/{name}:predict", flush=True)
    return run(options)
