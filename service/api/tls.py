"""The certificate by which the service speaks HTTPS, as its files have it at present."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from service.api.renewed import Renewed
from service.config import Settings
from service.errors import BadSetting
from service.metrics import Metrics


class Certificate:
    """A certificate that is renewed without a restart; lives on the event loop.

    Each handshake takes the newest context. One is made of the files as a whole before it takes
    the old one's place: loaded into a context that is in use, a certificate whose key is of
    another would leave it without any.

    Attributes:
        context: to listen with; it leads to the newest.

    Args:
        files: the chain and its key, in PEM.
        metrics: count what cannot be taken over.
        clock: the present moment in seconds.

    Raises:
        BadSetting: the files make no certificate.
    """

    def __init__(
        self, files: tuple[Path, Path], metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        failed = metrics.failed_reloads.labels("certificate")
        self._contexts = Renewed(
            "certificate", files, lambda: load_context(*files), failed.inc, clock
        )
        self.context = self._contexts.value()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """Give a handshake its context, whichever name it asks for, if any."""
        connection.context = self._contexts.value()


def find_certificate(
    settings: Settings, metrics: Metrics, clock: Callable[[], float]
) -> Certificate | None:
    """The certificate of a service; None for one that speaks HTTP.

    Raises:
        BadSetting: it cannot be read.
    """
    if not settings.tls_cert_file or not settings.tls_key_file:
        return None
    return Certificate((settings.tls_cert_file, settings.tls_key_file), metrics, clock)


def load_context(chain: Path, key: Path) -> ssl.SSLContext:
    """Make a context of a certificate's files.

    Raises:
        BadSetting: they make none.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a password would be asked for it on the terminal.
        context.load_cert_chain(chain, key, lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise BadSetting(f"SGE_TLS_CERT_FILE={chain} SGE_TLS_KEY_FILE={key}: {error}") from error
    return context
