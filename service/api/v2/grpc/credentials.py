"""The certificate by which calls come encrypted, as its files have it at present."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import grpc

from service.api.renewed import Renewed
from service.api.tls import load_context
from service.config import Settings
from service.errors import BadSetting
from service.metrics import Metrics


class RenewedCertificate:
    """A certificate that is renewed without a restart; asked by gRPC's threads at each handshake.

    Args:
        files: the chain and its key, in PEM.
        metrics: count what cannot be taken over.

    Raises:
        BadSetting: the files make no certificate.
    """

    def __init__(self, files: tuple[Path, Path], metrics: Metrics) -> None:
        failed = metrics.failed_reloads.labels("certificate")
        self._lock = threading.Lock()
        self._files = files
        self._newest = Renewed("certificate", files, self._read, failed.inc, time.monotonic)

    def newest(self) -> grpc.ServerCertificateConfiguration:
        """The certificate as it is now."""
        with self._lock:
            return self._newest.value()

    def _read(self) -> grpc.ServerCertificateConfiguration:
        chain, key = self._files
        load_context(chain, key)  # gRPC takes whatever it is given, and no handshake succeeds then
        try:
            pair = key.read_bytes(), chain.read_bytes()
        except OSError as error:
            raise BadSetting(f"SGE_TLS_CERT_FILE={chain}: {error}") from error
        return grpc.ssl_server_certificate_configuration([pair])


def find_credentials(settings: Settings, metrics: Metrics) -> grpc.ServerCredentials | None:
    """What clients are shown; None where calls come unencrypted.

    Raises:
        BadSetting: the certificate cannot be read.
    """
    if not settings.tls_cert_file or not settings.tls_key_file:
        return None
    certificate = RenewedCertificate((settings.tls_cert_file, settings.tls_key_file), metrics)
    return grpc.dynamic_ssl_server_credentials(certificate.newest(), certificate.newest)
