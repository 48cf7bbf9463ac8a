"""Which engines a model goes through."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.config import Settings
from service.engines.aoti.engine import CompiledEngine
from service.engines.background_build import BackgroundBuild
from service.engines.base import EngineDescription
from service.engines.plan import Machine, plan_engines
from service.engines.tensorrt.engine import TensorRtEngine
from service.errors import BadSetting
from tests.engine_builders import USABLE_GPU
from tests.running import tiny_model


@pytest.mark.parametrize(
    ("settings", "first", "final"),
    [
        ({"engine": "stub"}, "stub", "stub"),
        ({"engine": "eager"}, "eager", "eager"),
        ({"engine": "auto"}, "eager", "compiled"),
        ({"engine": "compiled", "tiered": False}, "compiled", "compiled"),
    ],
)
def test_the_settings_choose_the_engines(
    settings: dict[str, object], first: str, final: str, tmp_path: Path
) -> None:
    """Tiered or not, by name or by `auto`; nothing has been compiled before."""
    given = Settings(device="cpu", cache_dir=tmp_path, **settings)  # type: ignore[arg-type]

    plan = plan_engines(tiny_model(), given)

    assert (plan.first.description.name, plan.final.description.name) == (first, final)
    assert (plan.first is plan.final) == (first == final)


def test_only_auto_may_fall_back(tmp_path: Path) -> None:
    """An engine asked for by name is not replaced by another."""
    auto, by_name = (
        plan_engines(tiny_model(), Settings(device="cpu", cache_dir=tmp_path, engine=engine))
        for engine in ("auto", "compiled")
    )

    assert (auto.may_fall_back, by_name.may_fall_back) == (True, False)


def test_tensorrt_is_refused_where_it_cannot_run() -> None:
    """Asked for by name on a CPU it is a wrong setting, told before anything is loaded."""
    with pytest.raises(BadSetting, match="SGE_ENGINE=tensorrt needs a CUDA device"):
        plan_engines(tiny_model(), Settings(device="cpu", engine="tensorrt"))


@pytest.mark.parametrize(
    ("has_tensorrt", "names"),
    [
        (True, ["tensorrt", "tensorrt", "compiled", "eager"]),
        (False, ["compiled", "compiled", "eager"]),
    ],
)
def test_on_a_gpu_auto_is_tensorrt_where_it_is_installed(
    *, has_tensorrt: bool, names: list[str], tmp_path: Path
) -> None:
    """The compiled engine is the next choice; without TensorRT it is the first."""
    settings = Settings(cache_dir=tmp_path, precision="bf16", tiered=False)
    machine = Machine(survey=lambda: USABLE_GPU, has_tensorrt=lambda: has_tensorrt)

    plan = plan_engines(tiny_model(), settings, machine=machine)

    assert [e.description.name for e in (plan.first, plan.final, *plan.others)] == names


def test_on_a_gpu_the_eager_engine_answers_while_tensorrt_builds(tmp_path: Path) -> None:
    """In the precision that was set, and the compiled engine is what comes next."""
    settings = Settings(cache_dir=tmp_path, precision="bf16", tiered=True)
    machine = Machine(survey=lambda: USABLE_GPU, has_tensorrt=lambda: True)

    plan = plan_engines(tiny_model(), settings, machine=machine)

    assert [e.description for e in (plan.first, plan.final, *plan.others)] == [
        EngineDescription(name, "bf16", "cuda") for name in ("eager", "tensorrt", "compiled")
    ]


def test_a_service_has_every_engine_built_in_another_process(tmp_path: Path) -> None:
    """TensorRT's, too: minutes in which its own process answers."""
    settings = Settings(cache_dir=tmp_path, precision="bf16")
    machine = Machine(survey=lambda: USABLE_GPU, has_tensorrt=lambda: True)

    plan = plan_engines(tiny_model(), settings, in_background=True, machine=machine)

    for engine in (plan.final, *plan.others):
        assert isinstance(engine, CompiledEngine | TensorRtEngine)
        assert isinstance(engine.build, BackgroundBuild)


def test_the_first_engine_of_a_cpu_computes_in_fp32() -> None:
    """Eager bf16 is slower than fp32 there, so the quick engine does without it."""
    plan = plan_engines(tiny_model(), Settings(device="cpu", precision="bf16"))

    assert plan.first.description.precision == "fp32"
    assert plan.final.description.precision == "bf16"
