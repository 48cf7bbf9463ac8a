"""Permits: how many images and bytes are inside, and who is refused at the door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.errors import DeadlineExceeded, Draining, Overloaded
from service.serving.admission import Admission, Permit
from service.serving.batch_policy import Run
from service.serving.device_backlog import DeviceBacklog, DeviceShare

NOW = 50.0
FAR = 1000.0


def admission(limit: int = 4, limit_bytes: int = 1000) -> Admission:
    """An admission whose clock stands still."""
    return Admission(limit, limit_bytes, lambda: NOW)


def share_of(image_s: float = 0.0, backlog: DeviceBacklog | None = None) -> DeviceShare:
    """A model's part of a device, alone on it by default, that takes so long for each image."""
    share = (backlog or DeviceBacklog(lambda: NOW)).share(lambda: None, max_batch=1)
    if image_s:
        share.times.add(Run(1, image_s, NOW))
    return share


@contextmanager
def inside(door: Admission, share: DeviceShare, images: int = 1) -> Iterator[Permit]:
    """A request whose images are inside."""
    with door.enter(FAR, share) as permit:
        permit.take(images, FAR)
        yield permit


def test_a_permit_is_given_back() -> None:
    """What a request held is free again when it ends, also by an error."""
    door, share = admission(), share_of()
    seen = []

    def fail() -> None:
        with inside(door, share, images=3):
            seen.append((door.in_use, share.images))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert (seen, door.in_use, share.images) == ([(3, 3)], 0, 0)


def test_a_request_whose_body_has_not_come_holds_no_permit() -> None:
    """However many clients upload slowly, others are let in, and none waits for them."""
    door, share = admission(limit=1), share_of(3.0)

    with door.enter(FAR, share), door.enter(FAR, share), door.enter(FAR, share) as permit:
        assert (door.in_use, share.backlog_s) == (0, 0.0)
        permit.take(1, FAR)
        assert door.in_use == 1


def test_one_image_more_than_the_limit_is_refused() -> None:
    """The refusal names both numbers and says when to come again."""
    door, share = admission(limit=2), share_of(1.6)

    with inside(door, share), inside(door, share), pytest.raises(Overloaded) as refusal:
        door.enter(FAR, share)

    assert refusal.value.message == "2 images are inside and 1 more came, the limit is 2"
    assert refusal.value.retry_after_s == 4.0


def test_a_request_with_more_images_than_are_left_takes_none() -> None:
    """A refusal leaves the permits as they were."""
    door, share = admission(limit=3), share_of()

    with door.enter(FAR, share) as permit:
        with pytest.raises(Overloaded):
            permit.take(4, FAR)
        assert (door.in_use, share.images) == (0, 0)


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
    """Behind two images of 3 s an own one ends after 9 s: a deadline in 8 s cannot be met."""
    door, share = admission(), share_of(3.0)

    with inside(door, share), inside(door, share):
        with pytest.raises(DeadlineExceeded) as refusal:
            door.enter(NOW + 8, share)
        with door.enter(NOW + 9.5, share) as permit:
            permit.take(1, NOW + 9.5)
            assert door.in_use == 3

    assert refusal.value.message == "the deadline is 8000 ms away, an answer takes 9000 ms"
    assert refusal.value.retry_after_s == 1.0


def test_a_request_whose_images_would_be_late_is_refused_when_they_have_come() -> None:
    """One image would be in time, the three that its body holds would not."""
    door, share = admission(), share_of(3.0)

    with inside(door, share), door.enter(NOW + 7, share) as permit:
        with pytest.raises(DeadlineExceeded):
            permit.take(3, NOW + 7)
        assert door.in_use == 1


def test_an_idle_service_tries() -> None:
    """Nothing is inside: one slow run does not refuse everybody after it."""
    door, share = admission(), share_of(3.0)
    share.answer_times.learn(3.0, 100.0)

    with door.enter(NOW + 1, share) as permit:
        permit.take(1, NOW + 1)
        assert door.in_use == 1


def test_each_image_counts_by_the_pace_of_its_own_model() -> None:
    """One image of 3 s and two of 0.1 s are inside: 3.2 s, whichever model is asked for next."""
    door, device = admission(), DeviceBacklog(lambda: NOW)
    slow, fast = share_of(3.0, device), share_of(0.1, device)

    with inside(door, slow), inside(door, fast, images=2):
        inside_s = device.seconds
        with pytest.raises(DeadlineExceeded):
            door.enter(NOW + 3.2, fast)
        with door.enter(NOW + 3.4, fast), door.enter(NOW + 6.3, slow):
            assert door.in_use == 3

    assert inside_s == pytest.approx(3.2)
    assert device.seconds == 0.0


def test_answers_that_take_longer_than_predicted_make_the_next_predictions_longer() -> None:
    """What decoding or a busy processor adds is learned from the answers themselves."""
    now = [NOW]
    door, share = Admission(4, 1000, lambda: now[0]), share_of(1.0)
    for _ in range(60):
        with inside(door, share):
            now[0] += 3.0  # 1 s was predicted

    with inside(door, share):
        with pytest.raises(DeadlineExceeded):
            door.enter(now[0] + 5.5, share)  # 2 s of images: thrice as long, by and large
        with door.enter(now[0] + 6.1, share):
            pass


def test_answers_that_nothing_was_predicted_for_teach_nothing() -> None:
    """A cold start's first answers take seconds; who comes after them is let in."""
    now = [NOW]
    door, share = Admission(99, 1000, lambda: now[0]), share_of()
    for _ in range(60):
        with inside(door, share):
            now[0] += 3.0
    share.times.add(Run(1, 0.02, now[0]))

    with inside(door, share), door.enter(now[0] + 0.5, share):
        assert door.in_use == 1


def test_a_deadline_in_the_past_is_refused() -> None:
    """Nothing is begun that is of no use already."""
    with pytest.raises(DeadlineExceeded):
        admission().enter(NOW, share_of())


def test_a_draining_service_takes_nothing_new() -> None:
    """What is inside stays until it leaves."""
    door = admission()

    with inside(door, share_of()):
        door.drain()
        with pytest.raises(Draining):
            door.enter(FAR, share_of())
        assert door.in_use == 1

    assert door.in_use == 0


@pytest.mark.parametrize(
    ("image_s", "deadline", "inside_first"),
    [(0.0, FAR, 2), (1.0, NOW + 5, 2)],
    ids=["half of the room", "half of the time"],
)
def test_the_lowest_class_leaves_room_for_the_others(
    image_s: float, deadline: float, inside_first: int
) -> None:
    """It comes in while less than half is taken, of the room or of the time until its deadline."""
    door, share = admission(limit=4), share_of(image_s)

    with inside(door, share, inside_first):
        with pytest.raises(Overloaded) as refusal:
            door.enter(deadline, share, priority=3)
        with door.enter(deadline, share) as ordinary, door.enter(deadline, share, "", 1):
            with pytest.raises(Overloaded):
                ordinary.take(1, deadline, priority=3)
            ordinary.take(1, deadline)
            taken = door.in_use

    assert "lowest priority" in refusal.value.message
    assert (taken, door.in_use) == (inside_first + 1, 0)


def test_an_idle_service_takes_the_lowest_class_as_any_other() -> None:
    """Also more images at once than half of the room."""
    door, share = admission(limit=4), share_of()

    with door.enter(FAR, share, priority=3) as permit:
        permit.take(4, FAR, priority=3)

        assert door.in_use == 4


def is_refused(door: Admission, deadline: float, share: DeviceShare, priority: int) -> bool:
    """Whether a request of a class would be refused."""
    try:
        door.enter(deadline, share, priority=priority)
    except (DeadlineExceeded, Overloaded):
        return True
    return False


def test_a_class_waits_for_none_that_is_less_important() -> None:
    """Of its own model: a flood of others leaves it the time that it needs."""
    backlog = DeviceBacklog(lambda: NOW)
    share, other = share_of(1.0, backlog), share_of(1.0, backlog)
    door = admission(limit=80)

    with door.enter(FAR, share) as flood, door.enter(FAR, share, "", 3) as leisure:
        leisure.take(8, FAR, priority=3)
        flood.take(8, FAR)
        with inside(door, other, images=2):
            in_five_s = [is_refused(door, NOW + 5, share, priority) for priority in (1, 2, 3)]
            in_two_s = is_refused(door, NOW + 2.5, share, 1)

    assert in_five_s == [False, True, True]
    assert in_two_s  # of another model every image counts


def test_the_first_class_finds_some_room_where_others_find_none() -> None:
    """An eighth beyond the limit, and no more."""
    door, share = admission(limit=8), share_of()

    with inside(door, share, images=8), pytest.raises(Overloaded, match="the limit is 8"):
        door.enter(FAR, share)
    with inside(door, share, images=8), door.enter(FAR, share, priority=1) as permit:
        permit.take(1, FAR, priority=1)
        with pytest.raises(Overloaded, match="the limit is 9"):
            door.enter(FAR, share, priority=1)


def test_who_was_overtaken_does_not_count_as_slow() -> None:
    """What came before it later is added to what was predicted: nobody is refused for it."""
    now = [NOW]
    door = Admission(4, 1000, lambda: now[0])
    share = DeviceBacklog(lambda: now[0]).share(lambda: None, max_batch=1)
    share.times.add(Run(1, 1.0, NOW))

    with inside(door, share):
        with door.enter(FAR, share, priority=3) as leisure:
            leisure.take(1, FAR, priority=3)
            for _ in range(20):
                with door.enter(FAR, share, priority=1) as permit:
                    permit.take(1, FAR, priority=1)
            now[0] += 22
        within_s = share.answer_times.within_s(1.0)

    assert within_s == pytest.approx(1.0)
