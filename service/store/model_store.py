"""A store that a running service looks at again."""

from __future__ import annotations

from pathlib import Path

import structlog

from service.store.disk import Disk
from service.store.layout import VersionFolder, name_folders, possible_names
from service.store.load import BrokenVersion, LoadedModel, read_manifest, try_to_load
from service.store.manifest import Manifest
from service.store.survey import Settled, Survey, survey_store

Look = tuple[object, ...]
"""What a look at a store sees: equal to another one where nothing has changed between them."""

log = structlog.stdlib.get_logger(__name__)


class ModelStore:
    """A folder of models; every method reads files, and belongs beside the event loop.

    What it was taken for at the start it stays: its layout, and the name of its one model.

    Args:
        folder: of the models, in any of its layouts.
        model_name: by which the store's one model answers.
        settled: what it was taken for.
        disk: in place of the file system.
    """

    def __init__(
        self,
        folder: Path,
        model_name: str | None = None,
        settled: Settled | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._folder = folder
        self._model_name = model_name
        self._settled = settled or Settled()
        self._disk = disk or Disk()

    def find(self) -> list[VersionFolder]:
        """The version folders, by name and then by number.

        Raises:
            StoreError: the store cannot be listed, or its layout is not the one that it had.
        """
        survey = self._survey()
        name = self._settled.name
        if name is None:
            name = possible_names(self._folder, survey, self._model_name)[0]
        return name_folders(survey, name, is_renamed=self._model_name is not None)

    def look(self) -> Look:
        """See the size and the times of every version's files, none of which is read.

        Raises:
            StoreError: as `find` does.
        """
        return self._survey().places

    def manifest(self, version: VersionFolder) -> Manifest:
        """Read what a version says of itself.

        Raises:
            StoreError: there is no manifest, or none that is valid.
        """
        return read_manifest(version)

    def load(self, version: VersionFolder) -> LoadedModel | BrokenVersion:
        """Read and verify a version, or say why it cannot be served."""
        return try_to_load(version)

    def _survey(self) -> Survey:
        survey = survey_store(self._folder, self._settled, self._disk)
        for name in sorted(survey.passed_over - self._settled.passed_over):
            log.warning("passed over, no model can be called so", folder=ascii(name))
        self._settled = self._settled.after(survey)
        return survey
