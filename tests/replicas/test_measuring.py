"""What is made of the times of requests, and what is compared with what."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

import pytest

from tests.load.mix import PREDICT, Kind
from tests.load.sender import Answer, Shot
from tests.replicas.__main__ import without_retries
from tests.replicas.balancer import shipped
from tests.replicas.cost import cpu_seconds
from tests.replicas.crowd import NO_ANSWER
from tests.replicas.stretch import Stretch

KIND = Kind("one", 1, PREDICT, "image/png", b"")


def shot(ended_s: float) -> Shot:
    """A request that was due at 0."""
    return Shot(KIND, 0.0, 0.0, ended_s, Answer.OK)


def test_whatever_is_not_the_right_answer_is_lost() -> None:
    """Also a refusal: behind a balancer nobody is to see one replica's."""
    statuses = Counter({"200": 7, "503 draining": 2, NO_ANSWER: 1})

    assert Stretch([], statuses).lost == {"503 draining": 2, NO_ANSWER: 1}


def test_a_percentile_counts_from_when_a_request_was_due() -> None:
    """Of a hundred requests the slowest is the longest, the second slowest the 99th percentile."""
    seen = Stretch([shot(milliseconds / 1000) for milliseconds in range(1, 101)], Counter())

    found = [seen.percentile_ms(share) for share in (0.0, 0.5, 0.98, 1.0)]

    assert found == pytest.approx([1, 51, 99, 100])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_processor_time_of_a_process_is_the_systems() -> None:
    """Of this one it is what the process knows itself, to a tick."""
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)


def test_what_is_compared_with_differs_in_retries_alone() -> None:
    """It watches replicas and leaves them out in the same way."""
    other, same = without_retries(), shipped()
    for configuration in (other, same):
        manager = configuration["static_resources"]["listeners"][0]["filter_chains"][0]
        (host,) = manager["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        host.pop("retry_policy", None)

    assert other == same
