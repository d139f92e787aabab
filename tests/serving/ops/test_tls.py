"""SSLConfig in text format, and real handshakes with what comes of it."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from serving.errors import Code, ServingError
from serving.tls import Tls, read
from tests.serving.ops.certificates import Authority, Identity


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("authority of the test")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Identity:
    return authority.issue("localhost")


def _config(path: Path, **fields: str | bool) -> Path:
    """Writes an SSLConfig."""
    lines = []
    for name, value in fields.items():
        text = str(value).lower() if isinstance(value, bool) else '"' + value.replace("\n", "\\n") + '"'
        lines.append(f"{name}: {text}")
    path.write_text("\n".join(lines))
    return path


@contextlib.contextmanager
def _grpc_echo(tls: Tls) -> Iterator[int]:
    handler = grpc.method_handlers_generic_handler(
        "test.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(lambda body, context: body)}
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_secure_port("127.0.0.1:0", tls.grpc_credentials())
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


def _echo(port: int, root: str, client: Identity | None = None) -> bytes:
    credentials = grpc.ssl_channel_credentials(
        root.encode(), client and client.key.encode(), client and client.certificate.encode()
    )
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        return channel.unary_unary("/test.Echo/Echo")(b"hello", timeout=10)


@contextlib.contextmanager
def _https(tls: Tls) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.ssl_context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _get(port: int, root: str, client: Identity | None = None, folder: Path | None = None) -> bytes:
    context = ssl.create_default_context(cadata=root)
    if client is not None:
        assert folder is not None
        both = folder / "client.pem"
        both.write_text(client.key + client.certificate)
        context.load_cert_chain(both)
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/", timeout=10, context=context) as response:
        return response.read()


def test_both_transports_prove_who_they_are(tmp_path: Path, authority: Authority, server: Identity) -> None:
    tls = read(_config(tmp_path / "ssl", server_key=server.key, server_cert=server.certificate))
    stranger = Authority("stranger").certificate
    with _grpc_echo(tls) as port:
        assert _echo(port, authority.certificate) == b"hello"
        with pytest.raises(grpc.RpcError) as caught:
            _echo(port, stranger)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    with _https(tls) as port:
        assert _get(port, authority.certificate) == b"hello"
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            _get(port, stranger)


def test_both_transports_ask_for_the_clients_certificate(
    tmp_path: Path, authority: Authority, server: Identity
) -> None:
    path = _config(
        tmp_path / "ssl",
        server_key=server.key,
        server_cert=server.certificate,
        custom_ca=authority.certificate,
        client_verify=True,
    )
    tls = read(path)
    known, unknown = authority.issue("client"), Authority("stranger").issue("client")
    with _grpc_echo(tls) as port:
        assert _echo(port, authority.certificate, known) == b"hello"
        for client in (None, unknown):
            with pytest.raises(grpc.RpcError):
                _echo(port, authority.certificate, client)
    with _https(tls) as port:
        assert _get(port, authority.certificate, known, tmp_path) == b"hello"
        for client in (None, unknown):
            with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
                _get(port, authority.certificate, client, tmp_path)


def test_old_protocols_are_refused(tmp_path: Path, server: Identity, authority: Authority) -> None:
    tls = read(_config(tmp_path / "ssl", server_key=server.key, server_cert=server.certificate))
    old = ssl.create_default_context(cadata=authority.certificate)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with (
        _https(tls) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        old.wrap_socket(plain, server_hostname="localhost")
    assert tls.ssl_context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_config_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, server: Identity, authority: Authority
) -> None:
    key, certificate, path = server.key, server.certificate, tmp_path / "ssl"
    other = authority.issue("other").key
    cases = [
        ({"server_cert": certificate}, "server_key is missing"),
        ({"server_key": key}, "server_cert is missing"),
        ({"server_key": "/etc/key.pem", "server_cert": certificate}, "server_key in .* is not PEM: expected the text"),
        ({"server_key": other, "server_cert": certificate}, "KEY_VALUES_MISMATCH"),
        ({"server_key": key, "server_cert": key}, "cannot be used"),
        ({"server_key": key, "server_cert": certificate, "client_verify": True}, "client_verify in .* needs custom_ca"),
        ({"server_key": key, "server_cert": certificate, "custom_ca": key}, "cannot be used"),
        ({"server_key": key, "cert": certificate}, 'no field named "cert"'),
    ]
    for fields, message in cases:
        with pytest.raises(ServingError, match=message) as caught:
            read(_config(path, **fields))
        assert caught.value.code == Code.INVALID_ARGUMENT
        assert str(path) in caught.value.message
        # The key itself must not reach a log.
        assert key.splitlines()[1] not in caught.value.message


def test_a_key_is_never_shown(tmp_path: Path, server: Identity) -> None:
    tls = read(_config(tmp_path / "ssl", server_key=server.key, server_cert=server.certificate))
    assert server.key.splitlines()[1] not in repr(tls)
