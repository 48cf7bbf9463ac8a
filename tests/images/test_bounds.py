"""What the dearest images that anybody could make cost: bounded before any of it is spent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.errors import ImageTooLarge
from tests.decode_probe import Probe, probing
from tests.hostile_images import ANSWERED, REFUSED

MOST_BYTES = 300_000_000
MOST_CPU_S = 2.0  # measured: 0.9 at most, beside other programs; another machine may be slower


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """A process that measures."""
    with probing(tmp_path_factory.mktemp("probe")) as probe:
        yield probe


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_beyond_the_bounds_is_refused_by_its_header(name: str, probe: Probe) -> None:
    """It is told so before more is spent on it than on looking at it."""
    cost = probe.measure(REFUSED[name]())

    assert cost.code == ImageTooLarge.code
    assert cost.peak_bytes < 40_000_000
    assert cost.cpu_s < MOST_CPU_S / 2


@pytest.mark.parametrize("name", ANSWERED)
def test_an_image_within_the_bounds_costs_no_more_than_they_say(name: str, probe: Probe) -> None:
    """Time and memory are bounded, and the memory is what the header tells."""
    cost = probe.measure(ANSWERED[name]())

    assert cost.code == ""
    assert cost.peak_bytes < min(MOST_BYTES, cost.estimate_bytes + 3_000_000)
    assert cost.cpu_s < MOST_CPU_S
