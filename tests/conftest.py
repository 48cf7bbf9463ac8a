"""What several test files need."""

from __future__ import annotations

import pytest
import torch

from service.engines.aoti.engine import CompiledEngine
from tests.engine_builders import CPU, HAS_COMPILER, NO_COMPILER, AnyBatchEngine
from tests.engines.networks import short_model


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers, so that a failure can be repeated."""
    return torch.Generator().manual_seed(20190523)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def compiled_engine(tmp_path_factory: pytest.TempPathFactory) -> CompiledEngine:
    """The short network on the compiled engine, compiled once for all tests: not to be changed."""
    if not HAS_COMPILER:
        pytest.skip(NO_COMPILER)
    folder = tmp_path_factory.mktemp("engines")
    engine = AnyBatchEngine(short_model(), CPU, "fp32", max_batch=4, cache_dir=folder)
    engine.load()
    return engine
