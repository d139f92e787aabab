"""The load generator against real sockets: what it counts is what happened."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import grpc
import numpy as np
import pytest

from benchmarks.serving import ratios
from benchmarks.serving_clients import GrpcClient, HttpClient
from benchmarks.serving_load import Window, measure, read_requests, summarize, write_requests
from benchmarks.serving_peers.open_inference import infer_request, messages, read_prediction

METHOD = "/a.Service/Method"


class Reverse(grpc.GenericRpcHandler):
    """Answers with the request reversed; refuses b"no"."""

    def service(self, handler_call_details):
        async def endpoint(body, context):
            if body == b"no":
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused here")
            return body[::-1]

        return grpc.unary_unary_rpc_method_handler(endpoint)


async def grpc_call(*requests: bytes) -> list[bytes | str]:
    """Answers or errors of a real gRPC server, one connection."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Reverse()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    make = lambda: GrpcClient(METHOD, f"127.0.0.1:{port}")  # noqa: E731
    transport, client = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", port)
    answers: list[bytes | str] = []
    for request in requests:
        try:
            answers.append(await asyncio.wait_for(client(request), 20))
        except RuntimeError as error:
            answers.append(str(error))
    transport.close()
    await server.stop(None)
    return answers


def test_the_grpc_client_gets_answers_of_a_real_grpc_server() -> None:
    large = bytes(range(256)) * 200  # several frames of an answer
    assert asyncio.run(grpc_call(b"abc", b"", large)) == [b"cba", b"", large[::-1]]


def test_the_flow_control_window_of_a_connection_is_refilled() -> None:
    request = b"r" * 30_000
    assert asyncio.run(grpc_call(*[request] * 20)) == [request] * 20


def test_a_refused_call_is_an_error_and_the_connection_goes_on() -> None:
    first, second = asyncio.run(grpc_call(b"no", b"abc"))
    assert isinstance(first, str) and "refused here" in first
    assert second == b"cba"


def test_a_server_that_goes_away_fails_the_call_instead_of_hanging() -> None:
    async def closes() -> str:
        def end(reader, writer):
            writer.close()

        server = await asyncio.start_server(end, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: GrpcClient(METHOD, "x"), "127.0.0.1", port
        )
        with pytest.raises(RuntimeError) as caught:
            await asyncio.wait_for(client(b"abc"), 20)
        server.close()
        return str(caught.value)

    assert asyncio.run(closes()) == "the server closed the connection"


def test_the_http_client_reads_plain_and_chunked_answers_and_fails_on_a_status() -> None:
    replies = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nz",
    ]

    async def talk() -> list[bytes | str]:
        async def serve(reader, writer):
            for reply in replies:
                await reader.readexactly(2)
                writer.write(reply)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, client = await asyncio.get_running_loop().create_connection(HttpClient, "127.0.0.1", port)
        answers: list[bytes | str] = []
        for _ in replies:
            try:
                answers.append(await asyncio.wait_for(client(b"go"), 20))
            except RuntimeError as error:
                answers.append(str(error))
        server.close()
        return answers

    assert asyncio.run(talk()) == [b"abc", b"abcde", "status 400: b'no'", b"z"]


def window(check: str, clients: int = 2, seconds: float = 0.2) -> Window:
    return Window("t", "rest", "", "", "", check, clients, seconds=seconds, settle=0.05)


def test_requests_come_back_from_their_file(tmp_path: Path) -> None:
    path = write_requests(tmp_path / "r.npz", [b"one", b"", b"three"], np.array([0.1, 0.2, 0.3]))
    requests, expected = read_requests(path)
    assert requests == [b"one", b"", b"three"]
    np.testing.assert_array_equal(expected, np.array([0.1, 0.2, 0.3], np.float32))


def test_closed_loops_ask_one_request_at_a_time_each_and_about_all_of_them() -> None:
    async def load():
        waiting = [0, 0]
        most = [0, 0]
        asked: set[bytes] = set()

        def client(number):
            async def ask(request):
                waiting[number] += 1
                most[number] = max(most[number], waiting[number])
                asked.add(request)
                await asyncio.sleep(0.001)
                waiting[number] -= 1
                return request

            return ask

        requests = [b"%d" % n for n in range(20)]
        answers, errors = await measure([client(0), client(1)], requests, window("rest", seconds=1.0))
        return answers, errors, most, asked == set(requests), requests

    answers, errors, most, asked_all, requests = asyncio.run(load())
    assert errors == [] and most == [1, 1] and asked_all
    assert all(answer == requests[number] and seconds >= 0.001 for number, seconds, answer in answers)


def rest(probability: float) -> bytes:
    return json.dumps({"predictions": [{"probability": probability}]}).encode()


def test_wrong_unreadable_and_missing_answers_are_counted() -> None:
    expected = np.array([0.25, 0.5], np.float32)
    answers = [(0, 0.001, rest(0.25)), (1, 0.003, rest(0.5)), (1, 0.003, rest(0.6)), (0, 0.003, b"{}")]
    load = summarize(answers, ["gone"], expected, window("rest"), 0.5)
    assert (load.requests, load.wrong, load.failed, load.first_error) == (4, 2, 1, "gone")
    assert load.qps == pytest.approx(20)
    assert load.p50_ms == pytest.approx(3)


def test_no_answers_at_all_are_no_figures() -> None:
    load = summarize([], ["gone"], np.zeros(1), window("rest"), 0)
    assert load.qps == 0 and np.isnan(load.p50_ms) and load.failed == 1


@pytest.mark.parametrize("raw", [False, True])
def test_open_inference_requests_carry_the_row(raw: bool) -> None:
    request = messages()["ModelInferRequest"].FromString(infer_request("m", np.array([1.5, np.nan], np.float32), raw))
    (tensor,) = request.inputs
    values = np.frombuffer(request.raw_input_contents[0], "<f4") if raw else np.array(tensor.contents.fp32_contents)
    assert (request.model_name, tensor.datatype, list(tensor.shape)) == ("m", "FP32", [1, 2])
    np.testing.assert_array_equal(values, [1.5, np.nan])


@pytest.mark.parametrize(("datatype", "dtype"), [("FP32", "<f4"), ("FP64", "<f8")])
@pytest.mark.parametrize("raw", [False, True])
def test_open_inference_answers_are_read(datatype: str, dtype: str, raw: bool) -> None:
    response = messages()["ModelInferResponse"]()
    output = response.outputs.add(datatype=datatype)
    if raw:
        response.raw_output_contents.append(np.array([0.25], dtype).tobytes())
    else:
        getattr(output.contents, f"{datatype.lower()}_contents").append(0.25)
    assert read_prediction(response.SerializeToString()) == 0.25


def test_an_answer_of_another_type_is_refused() -> None:
    response = messages()["ModelInferResponse"]()
    response.outputs.add(datatype="INT64")
    with pytest.raises(ValueError, match="expected FP32 or FP64; received INT64"):
        read_prediction(response.SerializeToString())


def test_ratios_are_null_without_the_peer() -> None:
    def loads(qps: float, p50: float) -> dict:
        return {str(n): {"qps": qps, "p50_ms": p50, "p99_ms": 2 * p50} for n in (1, 8, 32)}

    result = {"grpc": loads(1000, 0.5), "echo": loads(4000, 0.25), "mlserver": None, "mlserver_tuned": None}
    assert ratios(result) == {
        "peer_ratio": None,
        "peer_p99_ratio": None,
        "peer_tuned_ratio": None,
        "peer_tuned_p99_ratio": None,
        "echo_ratio": 2.0,
        "echo_qps_ratio": 0.25,
    }
    with_peers = ratios({**result, "mlserver": loads(100, 1.0), "mlserver_tuned": loads(200, 2.0)})
    assert (with_peers["peer_ratio"], with_peers["peer_p99_ratio"]) == (10.0, 0.5)
    assert (with_peers["peer_tuned_ratio"], with_peers["peer_tuned_p99_ratio"]) == (5.0, 0.25)
