"""Puts the server together from its options: models, runner, metrics, both transports; starts and drains them."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

from modules.native.protos import ConfigProto, model_server_config_pb2
from serving.access_log import AccessLog
from serving.auth import BearerToken
from serving.batching import BatchingRunner, DirectRunner
from serving.batching.parameters import read as read_batching
from serving.core import ModelServer
from serving.errors import Code, ServingError
from serving.grpc_api.auth import RequireToken
from serving.grpc_api.server import GrpcServer
from serving.manager import ManagerSettings, ModelManager
from serving.manager import config as model_configs
from serving.metrics import Metrics
from serving.monitoring_config import read as read_monitoring
from serving.options import ANY_PORT, ServerOptions
from serving.rest.app import Limits, create_app
from serving.rest_server import RestServer
from serving.servable import Servable, ServableId
from serving.tls import read as read_tls
from serving.warmup import replay

logger = logging.getLogger("serving")

# After the requests: for the last runs and for memory.
_FREEING_SECONDS = 5.0

# REST's words for the calls, as metrics name them.
_API_NAMES = {
    "predict": "Predict",
    "classify": "Classify",
    "regress": "Regress",
    "status": "GetModelStatus",
    "metadata": "GetModelMetadata",
}


class Assembly:
    """A whole server.

    Args:
      options: what to serve and how.

    Raises:
      ServingError: a file that the options name is not what it should be.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.metrics = Metrics()
        self._tls = read_tls(options.ssl_config_file) if options.ssl_config_file else None
        self._token = BearerToken.read(options.auth_token_file, options.auth_token_env)
        self._log = AccessLog(options.access_log) if options.access_log else None
        self._monitoring = read_monitoring(options.monitoring_config_file)
        self._session_config = _session_config(options)
        self.manager = ModelManager(
            ManagerSettings(
                file_system_poll_wait_seconds=options.file_system_poll_wait_seconds,
                max_num_load_retries=options.max_num_load_retries,
                load_retry_interval_micros=options.load_retry_interval_micros,
                num_load_threads=options.num_load_threads,
                allow_version_labels_for_unavailable_models=options.allow_version_labels_for_unavailable_models,
            ),
            load=self._load,
            on_event=self.metrics.event,
        )
        self._models = _models(options)
        threads = options.grpc_max_threads or 4 * (os.cpu_count() or 1)
        self.runner: BatchingRunner | DirectRunner
        if options.enable_batching:
            parameters = read_batching(options.batching_parameters_file)
            # Half the cores for models unless a file says otherwise: the event loop and the callers need some, too.
            batch_threads = None if options.batching_parameters_file else max(1, (os.cpu_count() or 1) // 2)
            self.runner = BatchingRunner(parameters, batch_threads, self.metrics)
        else:
            self.runner = DirectRunner(threads, metrics=self.metrics)
        self.metrics.watch_queue(self.runner.queue_depth)
        self.core = ModelServer(self.manager, self.runner, self.metrics)
        self._grpc: GrpcServer | None = None
        self._rest: RestServer | None = None
        self._watcher: asyncio.Task | None = None

    async def start(self) -> dict[str, int | None]:
        """Loads the models, then takes requests.

        Returns:
          The ports, by transport; None for one that is off.

        Raises:
          ServingError: the model configuration is wrong.
          OSError: a port is taken.
        """
        options = self.options
        loop = asyncio.get_running_loop()
        ports: dict[str, int | None] = {"grpc": None, "rest": None}
        # Ports first: two servers on one port is an error to see before minutes of loading.
        if options.port or options.grpc_socket_path:
            self._grpc = GrpcServer(
                self.core,
                self._observe,
                [] if self._token is None else [RequireToken(self._token, self._refused)],
                health=options.enable_grpc_healthcheck_service,
                max_message_bytes=options.max_request_bytes,
                arguments=_channel_arguments(options.grpc_channel_arguments),
            )
            credentials = None if self._tls is None else self._tls.grpc_credentials()
            if options.port:
                ports["grpc"] = self._grpc.listen(f"{options.host}:{_port(options.port)}", credentials)
            if options.grpc_socket_path:
                self._grpc.listen(f"unix:{options.grpc_socket_path}", credentials)
        if options.rest_api_port:
            enabled, path = self._monitoring
            app = create_app(
                self.core,
                Limits(
                    max_body_bytes=options.max_request_bytes,
                    max_depth=options.max_json_depth,
                    timeout_seconds=options.rest_api_timeout_in_ms / 1000,
                ),
                metrics=self.metrics.exposition if enabled else None,
                metrics_path=path,
                authorize=None if self._token is None else self._token.check_headers,
                on_request=self._observe_rest,
            )
            self._rest = RestServer(app, None if self._tls is None else self._tls.ssl_context(), options.drain_seconds)
            ports["rest"] = self._rest.listen(options.host, _port(options.rest_api_port))
        await loop.run_in_executor(None, self._start_models)
        if self._grpc is not None:
            await self._grpc.start()
        if self._rest is not None:
            await self._rest.start()
        if options.root is not None:
            self._watcher = asyncio.create_task(self._watch_root(options.root))
        return ports

    async def stop(self) -> bool:
        """Stops accepting, lets requests finish, frees the models.

        Returns:
          Whether all of it was done within `drain_seconds`, and a little.
        """
        end = time.monotonic() + self.options.drain_seconds + _FREEING_SECONDS
        if self._watcher is not None:
            self._watcher.cancel()
        stopping = []
        if self._grpc is not None:
            stopping.append(self._grpc.stop(self.options.drain_seconds))
        if self._rest is not None:
            stopping.append(self._rest.stop())
        await asyncio.gather(*stopping)
        done = True
        try:
            # A run that cannot be stopped must not keep the process.
            await asyncio.wait_for(self.runner.close(), max(0.1, end - time.monotonic()))
        except TimeoutError:
            done = False
        self.core.close()
        left = max(0.1, end - time.monotonic())
        done = await asyncio.get_running_loop().run_in_executor(None, self.manager.stop, left) and done
        if self._log is not None:
            self._log.close()
        return done

    def _load(self, servable_id: ServableId, path: Path) -> Servable:
        tags = tuple(t for t in self.options.saved_model_tags.split(",") if t)
        servable = Servable(servable_id, path, self._session_config, tags)
        if self.options.enable_model_warmup:
            start, code = time.perf_counter(), Code.OK
            try:
                for _ in range(max(1, self.options.num_request_iterations_for_warmup)):
                    replay(servable)
            except BaseException as error:
                code = error.code if isinstance(error, ServingError) else Code.UNKNOWN
                servable.close()
                raise
            finally:
                self.metrics.warmup(str(path), code, time.perf_counter() - start)
        return servable

    def _start_models(self) -> None:
        options = self.options
        self.manager.start(self._models)
        if options.model_config_file and options.model_config_file_poll_wait_seconds > 0:
            self.manager.watch_config(Path(options.model_config_file), options.model_config_file_poll_wait_seconds)
        self.manager.wait_until_loaded()

    async def _watch_root(self, root: Path) -> None:
        """Serves models that appear under the root later."""
        known = {c.name for c in self._models.model_config_list.config}
        loop = asyncio.get_running_loop()
        while self.options.file_system_poll_wait_seconds > 0:
            await asyncio.sleep(max(1.0, self.options.file_system_poll_wait_seconds))
            try:
                found = await loop.run_in_executor(None, model_configs.discover, root)
                names = {c.name for c in found.model_config_list.config}
                if names - known:
                    known |= names
                    await loop.run_in_executor(None, self.manager.reload, found)
            except Exception:
                logger.exception("looking for new models in %s failed; trying again", root)

    def _refused(self, method: str, error: ServingError) -> None:
        if self._log is not None:
            self._log.write("grpc", "", method, "", None, error.code, 0.0, 0, 0)

    def _observe(
        self, transport: str, peer: str, model: str, version: int | None, api: str,
        code: Code, seconds: float, bytes_in: int, bytes_out: int,
    ) -> None:  # fmt: skip
        self.metrics.request(model, api, "GRPC", code, seconds)
        if self._log is not None:
            self._log.write("grpc", peer, api, model, version, code, seconds, bytes_in, bytes_out)

    def _observe_rest(
        self, method: str, path: str, model: str, version: int | None, api: str,
        code: Code, seconds: float, bytes_in: int, bytes_out: int, peer: str = "",
    ) -> None:  # fmt: skip
        if model:
            self.metrics.request(model, _API_NAMES.get(api, api), "REST", code, seconds)
        if self._log is not None:
            self._log.write("rest", peer, f"{method} {path}", model, version, code, seconds, bytes_in, bytes_out)


def _models(options: ServerOptions) -> model_server_config_pb2.ModelServerConfig:
    if options.root is not None:
        return model_configs.discover(options.root)
    if options.model_config_file:
        return model_configs.read_config(Path(options.model_config_file))
    return model_configs.single(options.model_name, options.model_base_path)


def _port(number: int) -> int:
    return 0 if number == ANY_PORT else number


def _session_config(options: ServerOptions) -> bytes:
    config = ConfigProto()
    parallelism = options.tensorflow_session_parallelism
    config.intra_op_parallelism_threads = options.tensorflow_intra_op_parallelism or parallelism
    config.inter_op_parallelism_threads = options.tensorflow_inter_op_parallelism or parallelism
    return config.SerializeToString()


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """`key=value,key=value`; whole numbers become int."""
    result: list[tuple[str, int | str]] = []
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        result.append((key, int(value) if value.lstrip("-").isdigit() else value))
    return result
