"""Permits: how many images and bytes are inside, and who is refused at the door."""

from __future__ import annotations

import pytest

from service.errors import DeadlineExceeded, Draining, Overloaded
from service.serving.admission import Admission

NOW = 50.0
FAR = 1000.0


def admission(limit: int = 4, limit_bytes: int = 1000) -> Admission:
    """An admission whose clock stands still."""
    return Admission(limit, limit_bytes, lambda: NOW)


def test_a_permit_is_given_back() -> None:
    """What a request held is free again when it ends, also by an error."""
    door = admission()
    inside = []

    def fail() -> None:
        with door.enter(FAR, 0.0) as permit:
            permit.grow(2)
            inside.append(door.in_use)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert (inside, door.in_use) == ([3], 0)


def test_one_image_more_than_the_limit_is_refused() -> None:
    """The refusal names both numbers and says when to come again."""
    door = admission(limit=2)

    with door.enter(FAR, 1.6), door.enter(FAR, 1.6), pytest.raises(Overloaded) as refusal:
        door.enter(FAR, 1.6)

    assert refusal.value.message == "2 images are inside and 1 more came, the limit is 2"
    assert refusal.value.retry_after_s == 4.0


def test_a_request_that_grows_past_the_limit_takes_nothing_more() -> None:
    """A refused growth leaves the permits as they were."""
    door = admission(limit=3)

    with door.enter(FAR, 0.0) as permit:
        with pytest.raises(Overloaded):
            permit.grow(3)
        assert door.in_use == 1


def test_bytes_are_bounded_over_all_requests() -> None:
    """What is held counts until its request ends; a refused growth takes nothing."""
    door = admission(limit_bytes=100)

    with door.enter(FAR, 0.0) as first, door.enter(FAR, 0.0) as second:
        first.hold(60)
        second.hold(40)
        with pytest.raises(Overloaded) as refusal:
            second.hold(1)
        held = door.in_use_bytes

    assert (held, door.in_use_bytes) == (100, 0)
    assert refusal.value.message == (
        "bodies of 100 bytes are inside and 1 more came, the limit is 100"
    )


def test_an_announced_body_takes_no_room_before_it_comes() -> None:
    """Whether there is room is blocks beforehand, but an announcement reserves nothing."""
    door = admission(limit_bytes=100)

    with door.enter(FAR, 0.0) as permit:
        permit.require_room(100)
        with pytest.raises(Overloaded):
            permit.require_room(101)
        assert door.in_use_bytes == 0


def test_who_cannot_be_answered_in_time_is_refused_at_once() -> None:
    """With two images of 3 s inside, a deadline in 5 s cannot be met, one in 7 s can."""
    door = admission()

    with door.enter(FAR, 3.0), door.enter(FAR, 3.0):
        with pytest.raises(DeadlineExceeded):
            door.enter(NOW + 5, 3.0)
        with door.enter(NOW + 7, 3.0):
            assert door.in_use == 3


def test_a_deadline_in_the_past_is_refused() -> None:
    """Nothing is begun that is of no use already."""
    with pytest.raises(DeadlineExceeded):
        admission().enter(NOW, 0.0)


def test_a_draining_service_takes_nothing_new() -> None:
    """What is inside stays until it leaves."""
    door = admission()

    with door.enter(FAR, 0.0):
        door.drain()
        with pytest.raises(Draining):
            door.enter(FAR, 0.0)
        assert door.in_use == 1

    assert door.in_use == 0
