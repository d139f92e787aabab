"""Bearer tokens."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from serving.auth import BearerToken
from serving.errors import Code, ServingError

TOKEN = "d41d8cd98f00b204e9800998ecf8427e"
OTHER = "0cc175b9c0f1b6a831c399e269772661"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"# since March\n{TOKEN}\n\n  {OTHER}  \n")
    path.chmod(0o600)
    return path


def test_any_token_of_the_file_passes(token_file: Path) -> None:
    auth = BearerToken.read(token_file)
    assert auth is not None
    assert auth.check(f"Bearer {TOKEN}") is None
    assert auth.check(f"bearer  {OTHER} ") is None
    assert auth.check_headers({"authorization": f"Bearer {TOKEN}"}) is None


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "Missing credentials: expected 'authorization: Bearer TOKEN'"),
        ("", "Missing credentials: expected 'authorization: Bearer TOKEN'"),
        (f"Basic {TOKEN}", "Unsupported credentials: expected 'authorization: Bearer TOKEN'"),
        (TOKEN, "Unsupported credentials: expected 'authorization: Bearer TOKEN'"),
        ("Bearer ", "Unsupported credentials: expected 'authorization: Bearer TOKEN'"),
        (f"Bearer {TOKEN[:-1]}", "Invalid bearer token"),
        (f"Bearer {TOKEN}x", "Invalid bearer token"),
        (f"Bearer {TOKEN.upper()}", "Invalid bearer token"),
        ("Bearer \udcff\u20ac", "Invalid bearer token"),
        ("Bearer # since March", "Invalid bearer token"),
    ],
)
def test_anything_else_is_unauthenticated(token_file: Path, authorization: str | None, message: str) -> None:
    auth = BearerToken.read(token_file)
    assert auth is not None
    error = auth.check(authorization)
    assert error is not None
    assert (error.code, error.message, error.http_status) == (Code.UNAUTHENTICATED, message, 401)
    headers = {} if authorization is None else {"authorization": authorization}
    refused = auth.check_headers(headers, "/v1/models/m")
    assert refused is not None
    assert refused.message == message


def test_what_is_exempt_needs_no_token(token_file: Path) -> None:
    health = "/grpc.health.v1.Health/Check"
    auth = BearerToken.read(token_file)
    assert auth is not None
    assert auth.check(None, health) is None
    assert auth.check(None, "/tensorflow.serving.PredictionService/Predict") is not None
    assert auth.check(None, "/monitoring/prometheus/metrics") is not None
    open_metrics = BearerToken.read(token_file, exempt=["/monitoring/"])
    assert open_metrics is not None
    assert open_metrics.check(None, "/monitoring/prometheus/metrics") is None
    assert open_metrics.check(None, health) is not None
    nothing = BearerToken([TOKEN], exempt=())
    assert nothing.check(None, health) is not None


def test_a_token_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, token_file: Path) -> None:
    monkeypatch.setenv("LEADS_TOKEN", "from-the-environment\n")
    auth = BearerToken.read("", "LEADS_TOKEN")
    assert auth is not None
    assert auth.check("Bearer from-the-environment") is None
    assert auth.check(f"Bearer {TOKEN}") is not None
    both = BearerToken.read(token_file, "LEADS_TOKEN")
    assert both is not None
    assert both.check("Bearer from-the-environment") is None
    assert both.check(f"Bearer {TOKEN}") is None


def test_without_a_source_there_is_no_check() -> None:
    assert BearerToken.read("", "") is None


def test_a_source_without_a_token_is_an_error_not_an_open_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADS_TOKEN", " ")
    empty = tmp_path / "empty"
    empty.write_text("# nothing yet\n")
    for arguments, code in (
        (("", "LEADS_TOKEN"), Code.NOT_FOUND),
        (("", "LEADS_NO_TOKEN"), Code.NOT_FOUND),
        ((tmp_path / "none",), Code.NOT_FOUND),
        ((empty,), Code.INVALID_ARGUMENT),
    ):
        with pytest.raises(ServingError) as caught:
            BearerToken.read(*arguments)
        assert caught.value.code == code


def test_a_token_is_never_shown(token_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    token_file.chmod(0o644)
    token_file.write_text("short")
    with caplog.at_level(logging.WARNING):
        auth = BearerToken.read(token_file)
    assert auth is not None
    assert "chmod 600" in caplog.text
    assert "fewer than 16 characters" in caplog.text
    error = auth.check("Bearer wrong-one")
    for text in (repr(auth), caplog.text.replace(str(token_file), ""), str(error)):
        assert "short" not in text
        assert "wrong-one" not in text
