"""A bare gRPC server in the framework of the model server: what a request costs when nothing is done about it.

python -m benchmarks.serving_peers.echo --ready_file=F --answer_bytes=N answers every method with N bytes, and writes
its port to F as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from pathlib import Path

import grpc
import uvloop


class Echo(grpc.GenericRpcHandler):
    """Every method, on bytes, answers the same."""

    def __init__(self, answer: bytes) -> None:
        async def endpoint(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return answer

        self._handler = grpc.unary_unary_rpc_method_handler(endpoint)

    def service(self, handler_call_details):
        return self._handler


async def serve(ready_file: Path, answer_bytes: int) -> None:
    """Serves on a free port of the loopback until SIGTERM."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Echo(b"x" * answer_bytes)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    beside = ready_file.with_suffix(".part")
    beside.write_text(json.dumps({"grpc": port}))
    beside.rename(ready_file)
    await stop.wait()
    await server.stop(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready_file", type=Path, required=True)
    parser.add_argument("--answer_bytes", type=int, required=True)
    flags = parser.parse_args()
    uvloop.run(serve(flags.ready_file, flags.answer_bytes))
