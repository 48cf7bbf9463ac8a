"""What several test files need."""

# ruff: noqa: E402 - OpenMP reads its variables when torch is loaded

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from service.config import bound_openmp_waiting

bound_openmp_waiting()  # as the service does

import torch

from service.engines.aoti.engine import CompiledEngine
from service.store.write import write_version
from tests.engine_builders import CPU, HAS_COMPILER, NO_COMPILER, AnyBatchEngine
from tests.engines.networks import short_model
from tests.store_fixtures import new_tiny_version


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """No test configures the log of another: loggers keep the first form that they meet."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers, so that a failure can be repeated."""
    return torch.Generator().manual_seed(20190523)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def tiny_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One version, tiny/1, written once; its files are never changed in place."""
    folder = tmp_path_factory.mktemp("written")
    return write_version(folder, new_tiny_version(half_weights=True))


@pytest.fixture
def store(tmp_path: Path, tiny_version: Path) -> Path:
    """A store with the one healthy version tiny/1."""
    folder = tmp_path / "store"
    shutil.copytree(tiny_version, folder / "tiny" / "1", copy_function=os.link)
    return folder


@pytest.fixture(scope="session")
def compiled_engine(tmp_path_factory: pytest.TempPathFactory) -> CompiledEngine:
    """The short network on the compiled engine, compiled once for all tests: not to be changed."""
    if not HAS_COMPILER:
        pytest.skip(NO_COMPILER)
    folder = tmp_path_factory.mktemp("engines")
    engine = AnyBatchEngine(short_model(), CPU, "fp32", max_batch=4, cache_dir=folder)
    engine.load()
    return engine
