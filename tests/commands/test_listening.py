"""Where the service listens: with how many connections, how openly, and over TLS."""

from __future__ import annotations

import re
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from service.api.key_file import add_key
from service.config import flag_of
from tests.certificates import HAS_OPENSSL, new_certificate
from tests.processes import ready, running, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tiny_version: Path) -> Path:
    """The store with the tiny model, only read."""
    return tiny_version.parents[1]


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("0.0.0.0", 1)])  # noqa: S104
def test_who_opens_the_service_to_others_is_told(store: Path, host: str, warnings: int) -> None:
    """Without keys, where more than this machine can reach it: on the screen and in the log."""
    said = said_at_start(store, "--host", host)

    assert said.count("open to others, without API keys") == warnings
    assert said.count("warning: without API keys, whoever reaches this address") == warnings


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("0.0.0.0", 1)])  # noqa: S104
def test_who_has_keys_come_unencrypted_is_told(
    store: Path, tmp_path: Path, host: str, warnings: int
) -> None:
    """From other machines, and in the log alone: a proxy may do TLS. Keys end the other warning."""
    said = said_at_start(store, "--host", host, *key_flags(tmp_path))

    assert said.count("API keys come unencrypted, unless a proxy does TLS") == warnings
    assert "without API keys" not in said


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not installed")
def test_keys_over_tls_need_no_warning(store: Path, tmp_path: Path) -> None:
    """Whoever can reach the service."""
    tls = tls_flags(new_certificate(tmp_path))
    said = said_at_start(store, "--host", "0.0.0.0", *tls, *key_flags(tmp_path))  # noqa: S104

    assert "API keys" not in said


def said_at_start(store: Path, *flags: str) -> str:
    """What a service says until it is ready, and is stopped then."""
    with ready(store, "--log-level", "warning", *flags, engine="stub") as service:
        service.stop()
        service.end()
        return service.said


def key_flags(folder: Path) -> tuple[str, str]:
    """The flags of a new file of keys."""
    add_key(folder / "keys", "shop")
    return "--api-keys-file", str(folder / "keys")


def tls_flags(settings: dict[str, str]) -> list[str]:
    """The flags of a certificate."""
    return [f"{flag_of(name)}={file}" for name, file in settings.items()]


@pytest.mark.parametrize(("hard", "limit", "warnings"), [(4000, 2048, 0), (400, 112, 1)])
def test_connections_never_take_every_descriptor(
    store: Path, hard: int, limit: int, warnings: int
) -> None:
    """The process may open what the system lets it; what does not fit is said in the log."""
    before = ("bash", "-c", f'ulimit -Sn 100; ulimit -Hn {hard}; exec "$0" "$@"')
    with ready(store, "--log-level", "warning", engine="stub", before=before) as service:
        metrics = httpx.get(f"{service.address}/metrics").text
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
        service.stop()
        service.end()

    assert f"sge_connections_limit {float(limit)}" in metrics
    assert limits.partition("Max open files")[2].split()[:2] == [str(hard), str(hard)]
    told = "SGE_MAX_CONNECTIONS is more than there are descriptors for"
    assert service.said.count(told) == warnings


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not installed")
def test_the_service_speaks_https_with_a_certificate_of_the_operators(
    store: Path, tmp_path: Path
) -> None:
    """And nothing else: who does not is closed."""
    settings = new_certificate(tmp_path)

    with ready(store, *tls_flags(settings), engine="stub") as service:
        trusting = ssl.create_default_context(cafile=settings["tls_cert_file"])
        reply = httpx.get(f"{service.address}/healthz", verify=trusting)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{service.address.replace('https', 'http')}/healthz")
        code = service.stop()

    assert service.address.startswith("https://127.0.0.1:")
    assert (reply.status_code, code) == (200, 0)


def test_a_certificate_that_cannot_be_read_is_one_clear_line(store: Path) -> None:
    """The variables, the files and the reason, and exit code 2."""
    files = ("--tls-cert-file", "/none.pem", "--tls-key-file", "/none.key")

    with serving(store, "--engine", "stub", *files) as service:
        said, code = service.end()

    assert code == 2
    assert "SGE_TLS_CERT_FILE=/none.pem SGE_TLS_KEY_FILE=/none.key: " in said
    assert "No such file" in said


def test_a_file_of_keys_that_cannot_be_read_is_one_clear_line(store: Path, tmp_path: Path) -> None:
    """The variable, the file and the reason, and exit code 2."""
    file = tmp_path / "keys"
    with serving(store, "--engine", "stub", "--api-keys-file", file) as service:
        said, code = service.end()

    assert (code, said) == (
        2,
        f"sge-serve: SGE_API_KEYS_FILE: {file} cannot be read: no such file or directory\n",
    )


def test_a_port_for_grpc_that_is_taken_is_one_clear_line(store: Path) -> None:
    """Before anything is loaded that takes long, with the exit code of a wrong setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(store, "--engine", "stub", "--grpc-port", str(port)) as service:
            ended = service.end()

    where = f"SGE_HOST=127.0.0.1 SGE_GRPC_PORT={port}"
    assert ended == (f"sge-serve: cannot listen on {where}: Address already in use\n", 2)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_one_port_for_both_protocols_is_one_clear_line(command: str) -> None:
    """Whether it serves or only checks: gRPC would find HTTP's listener there."""
    flags = ("--port", "8123", "--grpc-port", "8123")
    with running([sys.executable, "-m", "service", command, *flags]) as service:
        ended = service.end()

    assert ended == (
        "sge-serve: SGE_PORT and SGE_GRPC_PORT are both 8123: each listens on its own\n",
        2,
    )


def test_a_service_that_is_stopped_lets_go_of_grpc(store: Path) -> None:
    """In good order, though a client watches its health; its port is told when it starts."""
    with ready(store, "--grpc-port", "0", engine="stub") as service:
        (address,) = re.findall(r"^gRPC at (\S+)$", service.said, re.MULTILINE)
        with grpc.insecure_channel(address) as channel:
            watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
            told = watch(b"")
            next(told)
            code = service.stop()

    assert code == 0
