"""The fuzzer itself: its targets hold, it finds what is wrong, and a finding can be repeated."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.campaign import fuzz
from tests.fuzz.target import BROKEN, TARGETS, find_target

SECONDS = 10
needs_atheris = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris is not installed: no wheel for this Python"
)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_of_its_seeds(name: str) -> None:
    """Files and requests of every kind end as they should, without a fuzzer too."""
    target = find_target(name)

    target.prepare()
    seeds = target.seeds()

    assert max(len(seed) for seed in seeds) <= target.LONGEST_BYTES
    for seed in seeds:
        target.check(seed)


@needs_atheris
def test_a_finding_is_kept_with_the_command_that_repeats_it(tmp_path: Path) -> None:
    """What is wrong only behind three bytes that nobody gave is found by counting branches."""
    campaign = fuzz(BROKEN, 60, tmp_path)

    (finding,) = campaign.findings
    assert campaign.code != 0
    assert finding.read_bytes().startswith(b"\xff\xd8\xfe")
    assert "ZeroDivisionError" in campaign.log
    with pytest.raises(ZeroDivisionError):
        main([BROKEN, str(finding)])


@pytest.mark.slow
@needs_atheris
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_in_a_short_while(name: str, tmp_path: Path) -> None:
    """CI fuzzes each target for a while; whoever wants more runs `python -m tests.fuzz`."""
    campaign = fuzz(name, SECONDS, tmp_path)

    assert (campaign.code, campaign.findings) == (0, ()), campaign.log
    assert campaign.executions > len(find_target(name).seeds())
