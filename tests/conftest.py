"""What several test files need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers, so that a failure can be repeated."""
    return torch.Generator().manual_seed(20190523)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def packages_without_programs_of_one() -> Iterator[None]:
    """Spare builds half of their time: `test_packing.py` builds and runs one for one image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.engines.aoti.engine.export_programs_of_one", lambda *_: {})
        yield


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where engines are kept, so that what one test file has compiled the next one finds."""
    return tmp_path_factory.mktemp("engines")
