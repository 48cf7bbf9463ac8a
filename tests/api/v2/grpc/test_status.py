"""How errors look over gRPC."""

from __future__ import annotations

from grpc import StatusCode

from service import errors
from service.api.errors import STATUS_OF
from service.api.v2.grpc.status import CODE_OF, Refusal, internal_refusal, refusal_of


def test_every_error_of_a_request_has_a_code() -> None:
    """None falls through to a nameless UNKNOWN."""
    assert set(CODE_OF) == set(STATUS_OF)


def test_what_may_succeed_later_says_when() -> None:
    """By the trailer that gRPC's own retries read, in milliseconds."""
    refusal = refusal_of(errors.Overloaded("full", 2.0))

    assert refusal == Refusal(
        StatusCode.RESOURCE_EXHAUSTED, "full", (("grpc-retry-pushback-ms", "2000"),)
    )


def test_a_long_message_is_cut() -> None:
    """Whatever a client sent, little of it goes back."""
    assert len(refusal_of(errors.BadRequest("x" * 5000)).message) < 1010


def test_faults_of_ours_are_told_without_detail() -> None:
    """The request id leads to the log."""
    engine = refusal_of(errors.EngineFailed("a secret"))
    internal = internal_refusal("seven")

    assert engine == Refusal(StatusCode.INTERNAL, "the model failed on this image")
    assert internal.code == StatusCode.INTERNAL
    assert "seven" in internal.message
