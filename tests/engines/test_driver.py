"""A device or an engine that cannot be had: told without torch, as it would be with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from service.config import Settings
from service.engines.driver import Installed, check_engine, cuda_of_torch, find_installed
from service.engines.gpu import survey_gpu
from service.engines.plan import Machine, plan_engines
from service.errors import BadSetting
from service.store.load import load_version
from tests.engine_builders import USABLE_GPU

WITH_ALL = Installed("13.0", 13000, has_tensorrt=True)


def told_with_torch(version: Path, settings: Settings, installed: Installed) -> str:
    """What is said where engines are chosen."""
    gpu = replace(USABLE_GPU, torch_cuda=installed.torch_cuda, driver_cuda=installed.driver_cuda)
    machine = Machine(lambda: gpu, lambda: installed.has_tensorrt)
    with pytest.raises(BadSetting) as told:
        plan_engines(load_version(version), settings, machine=machine)
    return told.value.message


@pytest.mark.parametrize(
    ("flags", "lacks"),
    [
        ({"device": "cuda"}, {"torch_cuda": None}),
        ({"device": "cuda"}, {"driver_cuda": None}),
        ({"device": "cuda"}, {"driver_cuda": 12080}),
        ({"device": "cuda"}, {"torch_cuda": "14.1"}),
        ({"device": "cuda", "engine": "tensorrt"}, {"driver_cuda": None}),
        ({"engine": "tensorrt"}, {"driver_cuda": None}),
        ({"engine": "tensorrt"}, {"has_tensorrt": False}),
        ({"engine": "tensorrt", "device": "cpu"}, {}),
    ],
)
def test_what_cannot_be_had_is_told_in_the_words_of_the_choice(
    tiny_version: Path, flags: dict[str, Any], lacks: dict[str, Any]
) -> None:
    """Seconds earlier: whoever reads them need not know who looked."""
    settings, installed = Settings(**flags), replace(WITH_ALL, **lacks)

    with pytest.raises(BadSetting) as told:
        check_engine(settings, installed)

    assert told.value.message == told_with_torch(tiny_version, settings, installed)


@pytest.mark.parametrize(
    ("flags", "installed"),
    [
        ({"device": "cuda", "engine": "tensorrt"}, WITH_ALL),
        ({"engine": "tensorrt"}, WITH_ALL),
        ({"device": "cuda", "engine": "stub"}, Installed(None, None, has_tensorrt=False)),
        ({}, Installed(None, None, has_tensorrt=False)),
        ({"device": "cpu", "engine": "int8"}, Installed(None, None, has_tensorrt=False)),
    ],
)
def test_what_may_be_had_is_not_refused(flags: dict[str, Any], installed: Installed) -> None:
    """Whether it can, torch tells later."""
    check_engine(Settings(**flags), installed)


def test_what_is_looked_at_without_torch_is_what_torch_says() -> None:
    """The version of CUDA it was made for, and the driver's."""
    installed, survey = find_installed(), survey_gpu()

    assert cuda_of_torch() == torch.version.cuda
    assert (installed.torch_cuda, installed.driver_cuda) == (survey.torch_cuda, survey.driver_cuda)
