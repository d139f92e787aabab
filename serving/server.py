"""`python -m serving.server`: the model server's process, from flags to a drained end.

Exit codes: 0 ended on SIGTERM or SIGINT after draining, 1 ended with requests undone, 2 bad flags, 4 a bad
configuration, 5 cannot listen.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys

from modules.files import write_whole

logger = logging.getLogger("serving")

SWITCH_SECONDS = 1e-4
UNDONE, BAD_CONFIGURATION, CANNOT_LISTEN = 1, 4, 5


def main(arguments: list[str] | None = None) -> int:
    """Serves until a signal.

    Returns:
      The exit code.
    """
    from serving.flags import parse

    options, warnings = parse(sys.argv[1:] if arguments is None else arguments)
    start_logging(options.log_level)
    for warning in warnings:
        logger.warning(warning)
    return run(options)


def start_logging(level: str) -> None:
    """Logs to standard error, a line an event; TensorFlow's C++ only speaks of errors unless told otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    for noisy in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run(options) -> int:
    """Serves with ServerOptions until a signal; the exit code."""
    import uvloop

    from modules.native.library import library
    from serving.assembly import Assembly
    from serving.errors import ServingError

    # Before there are other threads: their lines would be lost while the library loads.
    library()
    # A thread that comes back from a run must not wait 5 ms for the event loop's turn to end: a third more requests.
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        assembly = Assembly(options)
        return uvloop.run(_serve(options, assembly))
    except ServingError as error:
        print(f"serving: {error.message}", file=sys.stderr)
        return BAD_CONFIGURATION
    except OSError as error:
        print(f"serving: {error}", file=sys.stderr)
        return CANNOT_LISTEN


async def _serve(options, assembly) -> int:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    # Loading takes seconds and a signal must end it, too.
    starting = asyncio.create_task(assembly.start())
    waiting = asyncio.create_task(ending.wait())
    done, _ = await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
    if starting in done:
        ports = starting.result()
        _announce(options, ports)
        await waiting
        logger.info("ending: no new requests, up to %g s for those in flight", options.drain_seconds)
    else:
        starting.cancel()
        waiting.cancel()
    if not await assembly.stop():
        logger.error("ended with work undone: a run did not stop within %g s", options.drain_seconds)
        logging.shutdown()
        # Its thread would keep the interpreter from ending.
        os._exit(UNDONE)
    logger.info("ended")
    return 0


def _announce(options, ports: dict[str, int | None]) -> None:
    where = [
        f"{name} {options.host}:{port}" for name, port in (("gRPC", ports["grpc"]), ("REST", ports["rest"])) if port
    ]
    logger.info("serving %s", ", ".join(where) or options.grpc_socket_path)
    if options.ready_file:
        write_whole(options.ready_file, json.dumps({**ports, "pid": os.getpid()}))


if __name__ == "__main__":
    sys.exit(main())
