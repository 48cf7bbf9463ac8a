"""Permits: how many images and bytes are inside, and who is refused at the door."""

from __future__ import annotations

import pytest

from service.errors import DeadlineExceeded, Draining, Overloaded
from service.serving.admission import Admission
from service.serving.batch_policy import Run
from service.serving.device_backlog import DeviceBacklog, DeviceShare

NOW = 50.0
FAR = 1000.0


def share_of(pace_s: float = 0.0, backlog: DeviceBacklog | None = None) -> DeviceShare:
    """A model's part of a device, alone on it by default, that takes so long for an image."""
    share = (backlog or DeviceBacklog(lambda: NOW)).share(lambda: None)
    share.runs.append(Run(1, pace_s, NOW))
    return share


def admission(limit: int = 4, limit_bytes: int = 1000) -> Admission:
    """An admission whose clock stands still."""
    return Admission(limit, limit_bytes, lambda: NOW)


def test_a_permit_is_given_back() -> None:
    """What a request held is free again when it ends, also by an error."""
    door = admission()
    inside = []

    def fail() -> None:
        with door.enter(FAR, share_of()) as permit:
            permit.grow(2)
            inside.append(door.in_use)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert (inside, door.in_use) == ([3], 0)


def test_one_image_more_than_the_limit_is_refused() -> None:
    """The refusal names both numbers and says when to come again."""
    door, share = admission(limit=2), share_of(1.6)

    with door.enter(FAR, share), door.enter(FAR, share), pytest.raises(Overloaded) as refusal:
        door.enter(FAR, share)

    assert refusal.value.message == "2 images are inside and 1 more came, the limit is 2"
    assert refusal.value.retry_after_s == 4.0


def test_a_request_that_grows_past_the_limit_takes_nothing_more() -> None:
    """A refused growth leaves the permits as they were."""
    door = admission(limit=3)

    with door.enter(FAR, share_of()) as permit:
        with pytest.raises(Overloaded):
            permit.grow(3)
        assert door.in_use == 1


def test_bytes_are_bounded_over_all_requests() -> None:
    """What is held counts until its request ends; a refused growth takes nothing."""
    door = admission(limit_bytes=100)

    with door.enter(FAR, share_of()) as first, door.enter(FAR, share_of()) as second:
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
    """Whether there is room is asked beforehand, but an announcement reserves nothing."""
    door = admission(limit_bytes=100)

    with door.enter(FAR, share_of()) as permit:
        permit.require_room(100)
        with pytest.raises(Overloaded):
            permit.require_room(101)
        assert door.in_use_bytes == 0


def test_who_cannot_be_answered_in_time_is_refused_at_once() -> None:
    """With two images of 3 s inside, a deadline in 5 s cannot be met, one in 7 s can."""
    door, share = admission(), share_of(3.0)

    with door.enter(FAR, share), door.enter(FAR, share):
        with pytest.raises(DeadlineExceeded):
            door.enter(NOW + 5, share)
        with door.enter(NOW + 7, share):
            assert door.in_use == 3


def test_each_image_counts_by_the_pace_of_its_own_model() -> None:
    """One image of 3 s and two of 0.1 s are inside: 3.2 s, whichever model is asked for next."""
    door, device = admission(), DeviceBacklog(lambda: NOW)
    slow, fast = share_of(3.0, device), share_of(0.1, device)

    with door.enter(FAR, slow), door.enter(FAR, fast), door.enter(FAR, fast):
        inside_s = device.seconds
        with pytest.raises(DeadlineExceeded):
            door.enter(NOW + 3.1, fast)
        with door.enter(NOW + 3.3, slow):
            assert door.in_use == 4

    assert inside_s == pytest.approx(3.2)
    assert device.seconds == 0.0


def test_a_deadline_in_the_past_is_refused() -> None:
    """Nothing is begun that is of no use already."""
    with pytest.raises(DeadlineExceeded):
        admission().enter(NOW, share_of())


def test_a_draining_service_takes_nothing_new() -> None:
    """What is inside stays until it leaves."""
    door = admission()

    with door.enter(FAR, share_of()):
        door.drain()
        with pytest.raises(Draining):
            door.enter(FAR, share_of())
        assert door.in_use == 1

    assert door.in_use == 0
