"""A network by the kernels: the same function, in whole and compiled into a program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import torch
from structlog.testing import capture_logs
from torch import Tensor, nn

from service.engines.aoti.build import ToCompile, build_package, export_network
from service.engines.aoti.kernels import use
from service.engines.aoti.kernels.library import kernels_of_this_process
from service.engines.aoti.kernels.measure import (
    Layer,
    Measured,
    can_take,
    choose,
    choose_by_measurement,
    fastest,
    layers_of,
)
from service.engines.aoti.kernels.network import ONEDNN, Choice, with_kernels
from service.engines.aoti.kernels.use import use_kernels
from service.engines.aoti.package import NETWORK, load_package
from service.model.fuse import FusedResNet, fuse
from service.model.graph import InferenceGraph
from service.model.resnet import ResNetSpec, SgeResNet
from tests.engine_builders import CPU, needs_compiler
from tests.engines.networks import BASIC, BOTTLENECKS
from tests.store_fixtures import random_network

PANEL = 16


def fused(spec: ResNetSpec) -> FusedResNet:
    """A random network, rewritten."""
    return fuse(random_network(SgeResNet, spec))


def everything(convolution: nn.Conv2d, panel: int = PANEL) -> Choice:
    """The kernels for all that they can compute; Winograd's for several images."""
    if convolution.kernel_size == (3, 3) and convolution.stride == (1, 1):
        return Choice(panel, winograd_from=2)
    return Choice(panel)


@pytest.mark.parametrize("spec", [BASIC, BOTTLENECKS])
@pytest.mark.parametrize("ways", [everything, lambda _: ONEDNN])
def test_the_same_function(spec: ResNetSpec, ways: object, generator: torch.Generator) -> None:
    """Logits and every similarity, whether the kernels compute all or nothing."""
    network = fused(spec)
    pixels = torch.randn(2, 3, spec.input_px, spec.input_px, generator=generator)
    pixels = pixels.to(memory_format=torch.channels_last)

    with torch.inference_mode():
        given = with_kernels(network, ways).classify(pixels)  # type: ignore[arg-type]
        expected = network.classify(pixels)

    torch.testing.assert_close(given.logits, expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(given.features, expected.features, atol=1e-4, rtol=1e-4)
    for one, other in zip(given.raw_similarities, expected.raw_similarities, strict=True):
        torch.testing.assert_close(one.similarity(), other.similarity(), atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@needs_compiler
def test_a_program_calls_the_kernels(tmp_path: Path, generator: torch.Generator) -> None:
    """Compiled for any batch, every convolution by them, it agrees with the network as it is."""
    graph = InferenceGraph(fused(BOTTLENECKS), [0.5] * 3, [0.25] * 3)
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = {size: graph(pixels[:size]).logits for size in (1, 3)}
    kernels = kernels_of_this_process()
    graph.network = with_kernels(  # type: ignore[assignment]
        graph.network,  # type: ignore[arg-type]
        lambda convolution: everything(convolution, kernels.panel),
    )
    path = tmp_path / "package.pt2"

    build_package(ToCompile({NETWORK: lambda: export_network(graph, 64)}, kernels), path)
    with path.open("rb") as package:
        program = load_package(package, CPU)

    for size, logits in expected.items():
        given = program([pixels[:size]])[0]
        torch.testing.assert_close(given, logits, atol=1e-4, rtol=1e-4)


def test_layers_are_found_with_their_maps() -> None:
    """Only a 1x1 convolution that SGE follows has groups."""
    layers = dict(layers_of(fused(BOTTLENECKS), BOTTLENECKS.input_px))

    assert len(layers) == 1 + 4 * 4
    assert Layer(64, 3, 7, 2, 3, 64, 64, 0) in layers.values()
    assert Layer(256, 64, 1, 1, 0, 16, 16, 64) in layers.values()  # the branch's last
    assert Layer(256, 64, 1, 1, 0, 16, 16, 0) in layers.values()  # the shortcut
    assert not any(layer.groups for layer in dict(layers_of(fused(BASIC), 32)).values())


@pytest.mark.parametrize(
    ("seconds", "choice"),
    [
        pytest.param({1: (3, 2, 1), 8: (3, 2, 1)}, Choice(PANEL, 1), id="Winograd always"),
        pytest.param({1: (3, 1, 2), 8: (3, 2, 1)}, Choice(PANEL, 8), id="Winograd of many"),
        pytest.param({1: (3, 1, 2), 8: (3, 1, 2)}, Choice(PANEL), id="directly"),
        pytest.param({1: (3, 2, 1), 8: (3, 1, 2)}, Choice(PANEL), id="not of many"),
        pytest.param({1: (1, 2, 3), 8: (1, 2, 3)}, ONEDNN, id="oneDNN"),
        pytest.param({1: (1, 2, 9), 8: (8, 2, 9)}, Choice(PANEL), id="over all batches"),
        pytest.param({1: (1, 1.1, 9), 8: (1, 1.1, 9)}, ONEDNN, id="hardly slower"),
        pytest.param({1: (1, 8, 9), 8: (2, 1, 9)}, ONEDNN, id="oneDNN over all batches"),
    ],
)
def test_what_is_faster_is_chosen(
    seconds: dict[int, tuple[float, float, float]], choice: Choice
) -> None:
    """Seconds by oneDNN, directly and by Winograd."""
    assert Measured(seconds).choice(PANEL) == choice


FAST = Measured(dict.fromkeys((1, 2, 8), (2.0, 1.0, 9.0)))
EVEN = Measured(dict.fromkeys((1, 2, 8), (1.0, 1.1, 9.0)))
SLOW = Measured(dict.fromkeys((1, 2, 8), (1.0, 2.0, 9.0)))
ONE, TWO, OTHER = (Layer(64, 32, 1, 1, 0, side, side, 0) for side in (1, 2, 3))


@pytest.mark.parametrize(
    ("layers", "measured", "taken"),
    [
        pytest.param([ONE, TWO], {ONE: FAST, TWO: EVEN}, {ONE, TWO}, id="the whole network"),
        pytest.param(
            [ONE, TWO, OTHER], {ONE: FAST, TWO: EVEN}, {ONE}, id="but for one they cannot"
        ),
        pytest.param([ONE, TWO], {ONE: FAST, TWO: SLOW}, {ONE}, id="but for a slow one"),
        pytest.param([ONE, *[TWO] * 20], {ONE: FAST, TWO: EVEN}, set(), id="slower in whole"),
        pytest.param([ONE], {}, set(), id="none they can"),
    ],
)
def test_the_whole_network_must_be_faster(
    layers: list[Layer], measured: dict[Layer, Measured], taken: set[Layer]
) -> None:
    """A little is given for having every layer, and nothing where one is left."""
    choices = choose(layers, measured, PANEL)

    assert {layer for layer, choice in choices.items() if choice != ONEDNN} == taken


def test_ways_run_by_turns_and_the_least_counts() -> None:
    """So that what disturbs one disturbs the others; what is no way is never the fastest."""
    ran: list[str] = []
    moments = iter(range(100))
    clock: Iterator[int] = iter(sum(range(moment)) for moment in moments)

    least = fastest([lambda: ran.append("a"), None, lambda: ran.append("b")], lambda: next(clock))

    assert ran[:4] == ["a", "b", "a", "b"]
    assert least == [0, float("inf"), 2]


@pytest.mark.parametrize(
    ("changes", "can"),
    [
        ({}, True),
        ({"outputs": 40}, False),
        ({"groups": 8}, False),
        ({"channels": 24}, False),
        ({"channels": 24, "groups": 0}, True),
    ],
)
def test_layers_that_fit_no_panel_stay_onednns(changes: dict[str, int], *, can: bool) -> None:
    """Channels written and groups come in whole panels, and what is compared in whole lines."""
    layer = Layer(64, 32, 1, 1, 0, 7, 7, 16)

    assert can_take(layer._replace(**changes), PANEL) is can


@pytest.mark.parametrize("spec", [dataclasses.replace(BASIC, groups=4)])
def test_without_a_compiler_nothing_changes(
    spec: ResNetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said why."""

    def refuse() -> None:
        raise RuntimeError("no g++")

    monkeypatch.setattr(use, "kernels_of_this_process", refuse)
    monkeypatch.setattr(use, "log", structlog.get_logger())  # a test before may have set up another
    graph = InferenceGraph(fused(spec), [0.5] * 3, [0.25] * 3)
    network = graph.network

    with capture_logs() as logs:
        assert use_kernels(graph, spec.input_px) is None

    assert graph.network is network
    assert [entry["reason"] for entry in logs] == ["no g++"]


@needs_compiler
def test_every_convolution_is_measured() -> None:
    """And the graph computes what it did, whatever came out."""
    graph = InferenceGraph(fused(BASIC), [0.5] * 3, [0.25] * 3)
    network, pixels = graph.network, torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert isinstance(network, FusedResNet)
    with torch.inference_mode():
        expected: Tensor = graph(pixels).logits

    choices = choose_by_measurement(network, 32, kernels_of_this_process())

    assert choices.keys() == dict(layers_of(network, 32)).keys()
    with torch.inference_mode():
        computed = with_kernels(network, choices.__getitem__).classify(graph.normalised(pixels))
    torch.testing.assert_close(computed.logits, expected, atol=1e-4, rtol=1e-4)
