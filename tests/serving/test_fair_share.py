"""A fair share of the room: who has more than it waits while it is short, and nobody else."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import DeadlineExceeded, Overloaded, OverShare, ServiceError
from service.serving.admission import Admission, Permit
from service.serving.batch_policy import Run
from service.serving.device_backlog import DeviceBacklog, DeviceShare
from service.serving.fair_share import PRESENT_S, FairShare

FAR_S = 1000.0


@dataclass(slots=True)
class Door:
    """An admission of eight permits, of a model that takes so long for an image, and its clock."""

    image_s: float = 0.0
    now: float = 50.0
    admission: Admission = field(init=False)
    share: DeviceShare = field(init=False)
    inside: list[ExitStack] = field(default_factory=list)  # the oldest first

    def __post_init__(self) -> None:
        self.admission = Admission(8, 1000, lambda: self.now)
        backlog = DeviceBacklog(lambda: self.now)
        self.share = backlog.share(lambda: None, max_batch=1)
        self.share.times.add(Run(1, self.image_s, self.now))

    def enter(self, client: str, images: int = 1, left_s: float = FAR_S) -> Permit:
        """Let a client's images in, until they are answered."""
        deadline = self.now + left_s
        with ExitStack() as stack:
            permit = stack.enter_context(self.admission.enter(deadline, self.share, client))
            permit.take(images, deadline)
            self.inside.append(stack.pop_all())
        return permit

    def outcome(self, client: str, images: int = 1, left_s: float = FAR_S) -> str:
        """What becomes of a request: its error's code, or that it is inside."""
        try:
            self.enter(client, images, left_s)
        except ServiceError as error:
            return error.code
        return "inside"

    def answer(self) -> None:
        """Answer the oldest request."""
        self.inside.pop(0).close()

    def flood(self, client: str) -> Counter[str]:
        """Sixteen requests of a client at one moment."""
        return Counter(self.outcome(client) for _ in range(16))


def test_one_client_alone_has_the_whole_room() -> None:
    """What it is refused is what does not fit."""
    door = Door()

    assert door.flood("a") == {"inside": 8, "overloaded": 8}


def test_half_of_the_room_is_nobodys_share() -> None:
    """Below it nobody is refused, however uneven it is."""
    door = Door()
    door.enter("b")

    assert [door.outcome("a") for _ in range(3)] == ["inside"] * 3
    assert door.outcome("a") == "over_share"


def test_a_flood_leaves_room_for_a_modest_client() -> None:
    """However often the flood comes: who has fewer than the others is never refused."""
    door = Door()
    door.enter("modest")
    outcomes = []
    for _ in range(50):
        door.flood("flood")
        outcomes.append(door.outcome("modest"))
        door.answer()
        door.answer()

    assert outcomes == ["inside"] * 50


def test_a_client_that_found_the_room_full_finds_a_place_when_it_comes_again() -> None:
    """Since it came, who holds everything gets no further place until it has left."""
    door = Door()
    door.flood("flood")
    first = door.outcome("modest")
    door.answer()
    door.now += 1
    flooded = door.flood("flood")

    assert (first, flooded) == ("overloaded", {"over_share": 16})
    assert door.outcome("modest") == "inside"


def test_a_client_that_has_left_keeps_no_place() -> None:
    """After a while who is alone has everything again."""
    door = Door()
    door.enter("modest")
    door.answer()
    before = door.flood("flood")
    door.now += PRESENT_S + 1

    assert before == {"inside": 4, "over_share": 12}
    assert door.flood("flood") == {"inside": 4, "overloaded": 12}


def test_who_asks_for_what_no_service_could_do_takes_no_share() -> None:
    """Requests with deadlines of a millisecond cost nobody a place."""
    door = Door(image_s=0.1)
    door.enter("flood")
    impossible = door.outcome("impatient", left_s=0.001)

    assert impossible == "deadline_exceeded"
    assert door.flood("flood") == {"inside": 7, "overloaded": 9}


def test_time_is_shared_as_room_is() -> None:
    """Three images of 3 s are inside: of 20 s one more takes over half, of 60 s it does not."""
    door = Door(image_s=3.0)
    door.enter("a", images=2)
    door.enter("b")

    assert door.outcome("a", left_s=20.0) == "over_share"
    assert door.outcome("a", left_s=60.0) == "inside"
    assert door.outcome("b", left_s=20.0) == "inside"


def test_images_that_came_count_when_they_are_found() -> None:
    """A request that held nothing when it came is refused when its body holds too much."""
    door = Door()
    door.enter("b")
    door.enter("a", images=2)
    deadline = door.now + FAR_S

    with (
        door.admission.enter(deadline, door.share, "a") as permit,
        pytest.raises(OverShare) as refused,
    ):
        permit.take(2, deadline)

    assert door.admission.in_use == 3
    assert refused.value.retry_after_s == 1.0
    assert refused.value.message == (
        "2 of the 3 images inside are of one client of 2; while over half of the room or of the "
        "time is taken, each gets its share"
    )


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 9), st.floats(0.1, 100.0), st.floats(0.0, 20.0)), max_size=60
    )
)
def test_a_client_alone_is_never_over_its_share(steps: list[tuple[int, float, float]]) -> None:
    """Whatever it sends and when, whatever was answered, and however short room and time are."""
    door = Door(image_s=1.0)
    for images, left_s, passed_s in steps:
        door.now += passed_s
        answers = len(door.inside) if images == 0 else 0
        for _ in range(answers):
            door.answer()

        assert door.outcome("alone", max(1, images), left_s) in {
            *("inside", Overloaded.code, DeadlineExceeded.code)
        }


@given(
    clients=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.booleans())),
)
def test_who_has_no_more_than_the_others_is_never_over_its_share(
    clients: list[tuple[str, int, bool]],
) -> None:
    """Of several clients at least the one with the fewest images is not refused for them."""
    door = Door()
    held: list[tuple[str, int]] = []
    for client, images, is_answered in clients:
        if is_answered and held:
            door.answer()
            held.pop(0)
        counts = Counter(dict.fromkeys("abc", 0))
        for name, number in held:
            counts[name] += number
        outcome = door.outcome(client, images)
        if outcome == "inside":
            held.append((client, images))

        assert outcome != "over_share" or counts[client] > min(counts.values())

    assert door.admission.in_use == sum(number for _, number in held)


def test_nothing_is_kept_of_clients_that_are_gone() -> None:
    """Neither of their images nor of their coming."""
    now = [0.0]
    clients = FairShare(lambda: now[0])
    for number in range(1000):
        now[0] += 1.0
        clients.come(str(number))
        clients.count(str(number), 3)
        clients.count(str(number), -3)

    assert clients.present <= PRESENT_S + 1
    assert clients.images_of("7") == 0
