#!/usr/bin/python3 -IS
"""Leave with 0 if the service in this container answers 200: `sge-health [/readyz]`."""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 4  # below the health check's own, so that the reason is seen


def connect(port: int) -> http.client.HTTPConnection:
    """Connect as the service listens; whose its certificate is does not matter to a probe."""
    if not os.environ.get("SGE_TLS_CERT_FILE"):
        return http.client.HTTPConnection("localhost", port, timeout=TIMEOUT_S)
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("localhost", port, timeout=TIMEOUT_S, context=anybody)


def main() -> str | None:
    """Ask once.

    Returns:
        Why the service is not healthy; None where it is.
    """
    path = sys.argv[1] if len(sys.argv) > 1 else "/healthz"
    port = int(os.environ.get("SGE_PORT") or 8000)
    connection = connect(port)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
    except OSError as error:
        return f"no answer on port {port}: {error}"
    body = reply.read().decode(errors="replace")
    return None if reply.status == http.HTTPStatus.OK else f"{path}: {reply.status} {body}"


if __name__ == "__main__":
    sys.exit(main())
