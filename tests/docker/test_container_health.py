"""docker/health.py: what a container's engine asks every few seconds."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.certificates import HAS_OPENSSL, new_certificate

HEALTH = Path(__file__).parents[2] / "docker" / "health.py"


class Service(BaseHTTPRequestHandler):
    """Alive, not ready."""

    def do_GET(self) -> None:
        """Answer a probe."""
        self.send_response({"/healthz": 200}.get(self.path, 503))
        self.end_headers()
        self.wfile.write(b"loading")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a service that is alive and not ready."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, *path: str, **variables: str) -> tuple[int, str]:
    """The exit code of a health check and its reason; a proxy in the environment is passed by."""
    environment = {"SGE_PORT": str(port), "http_proxy": "http://127.0.0.1:9"} | variables
    done = subprocess.run(
        [HEALTH, *path], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr.strip()


def test_a_living_service_is_healthy(port: int) -> None:
    """Without a path it asks whether the service is alive."""
    assert ask(port) == (0, "")


def test_a_service_that_loads_is_not_ready(port: int) -> None:
    """The status and what the service says end up in the engine's record of the check."""
    assert ask(port, "/readyz") == (1, "/readyz: 503 loading")


@pytest.mark.skipif(not HAS_OPENSSL, reason="openssl is not installed")
def test_a_service_with_a_certificate_is_asked_over_https(tmp_path: Path) -> None:
    """Whatever name the certificate is for."""
    files = new_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["tls_cert_file"], files["tls_key_file"])
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = ask(server.server_port, SGE_TLS_CERT_FILE=files["tls_cert_file"])
        server.shutdown()

    assert told == (0, "")


def test_a_dead_service_is_not_healthy(port: int) -> None:
    """Nobody listens: the reason names the port."""
    code, reason = ask(1)

    assert code == 1
    assert reason.startswith("no answer on port 1: ")
