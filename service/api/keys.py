"""The API keys by which the service is used, as their file has them at present."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from pathlib import Path

from service.api.key_file import Digests, digest_of, read_keys
from service.api.renewed import Renewed
from service.config import Settings, variable_of
from service.errors import BadSetting
from service.metrics import Metrics

FILES = {"api_keys_file": "keys", "admin_key_file": "admin_keys"}  # by setting, as metrics say


class Keys:
    """Whose a key is; lives on the event loop.

    Their file is read again when it has changed, before the request at which that is seen is
    decided. One that cannot be used then leaves the keys that were there; one without keys lets
    nobody in.

    Args:
        path: of the file.
        metrics: count requests by the names of the keys, where those are of clients.
        clock: the present moment in seconds.
        setting: that names the file.

    Raises:
        BadSetting: the file cannot be read, is none, or holds no key to begin with.
    """

    def __init__(
        self,
        path: Path,
        metrics: Metrics,
        clock: Callable[[], float],
        setting: str = "api_keys_file",
    ) -> None:
        self._path = path
        self._metrics = metrics
        self._setting = setting
        name = FILES[setting]
        failed = metrics.failed_reloads.labels(name)
        self._digests = Renewed(name, (path,), self._read, failed.inc, clock)
        if not self._digests.value():
            raise BadSetting(
                f"{variable_of(setting)}={path} holds no key, sge-serve key new makes one"
            )

    def name_of(self, key: bytes) -> str | None:
        """The name of a key; None for one that is none.

        It is compared with every key, each in constant time, so that how long it takes says
        nothing about any of them.
        """
        digest = digest_of(key)
        found = None
        for name, known in self._digests.value().items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def _read(self) -> Digests:
        try:
            digests = read_keys(self._path)
        except BadSetting as error:
            raise BadSetting(f"{variable_of(self._setting)}: {error.message}") from error
        if self._setting == "api_keys_file":
            self._metrics.count_keys(digests)
        return digests


def find_keys(settings: Settings, metrics: Metrics, clock: Callable[[], float]) -> Keys | None:
    """The keys of a service; None for one that needs none.

    Raises:
        BadSetting: there shall be keys, and cannot.
    """
    return Keys(settings.api_keys_file, metrics, clock) if settings.api_keys_file else None


def find_admin_keys(
    settings: Settings, metrics: Metrics, clock: Callable[[], float]
) -> Keys | None:
    """The keys of who may change what is served; None where nobody may.

    Raises:
        BadSetting: there shall be keys, and cannot.
    """
    path = settings.admin_key_file
    return Keys(path, metrics, clock, "admin_key_file") if path else None
