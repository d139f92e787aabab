"""SSLConfig: keys and certificates for both transports (--ssl_config_file). Upstream secures gRPC only.

Reference: tensorflow_serving/config/ssl_config.proto; tensorflow_serving/model_servers/server.cc,
BuildServerCredentialsFromSSLConfigFile.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from serving import textproto
from serving.errors import invalid


@dataclass(frozen=True)
class Tls:
    """PEM texts.

    server_key: the private key. server_cert: the certificate, followed by those of intermediate authorities.
    custom_ca: the authorities whose clients' certificates are accepted. client_verify: a client must show one.
    """

    server_key: bytes = field(repr=False)
    server_cert: bytes
    custom_ca: bytes = b""
    client_verify: bool = False

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For `grpc.aio.Server.add_secure_port`."""
        return grpc.ssl_server_credentials(
            [(self.server_key, self.server_cert)],
            root_certificates=self.custom_ca or None,
            require_client_auth=self.client_verify,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """For HTTPS: TLS 1.2 or newer.

        Raises:
          ssl.SSLError: a text is no PEM, or the key is not the certificate's.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with _as_file(self.server_cert) as certificate, _as_file(self.server_key) as key:
            # An empty password: a key that needs one is an error, not a question on the terminal.
            context.load_cert_chain(certificate, key, password=b"")
        if self.custom_ca:
            context.load_verify_locations(cadata=self.custom_ca.decode("ascii"))
        if self.client_verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def read(path: str | Path) -> Tls:
    """Reads and tries out the keys of a file in protocol buffer text format.

    Raises:
      ServingError: NOT_FOUND, there is no such file; INVALID_ARGUMENT, it is no SSLConfig, a field is missing, no PEM
        text, or key and certificate do not belong together.
    """
    config = textproto.read(path, textproto.new("SSLConfig"))
    for name in ("server_key", "server_cert", "custom_ca"):
        value = getattr(config, name)
        if name != "custom_ca" and not value:
            raise invalid(f"{name} is missing in {path}: expected the text of a PEM file")
        if value and not (value.isascii() and "-----BEGIN " in value):
            raise invalid(f"{name} in {path} is not PEM: expected the text itself (-----BEGIN ...), not a file's name")
    if config.client_verify and not config.custom_ca:
        raise invalid(f"client_verify in {path} needs custom_ca: the authority that signs the clients' certificates")
    tls = Tls(config.server_key.encode(), config.server_cert.encode(), config.custom_ca.encode(), config.client_verify)
    try:
        # gRPC itself accepts a bad key silently and then fails every handshake.
        tls.ssl_context()
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise invalid(f"the keys in {path} cannot be used: {reason}") from error
    return tls


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A name under which OpenSSL can read `data`; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem")
        try:
            os.write(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
