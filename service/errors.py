"""Everything that can go wrong, in the service's own terms; HTTP is the edge's business.

    ServiceError
    +-- BadInput                 the client can mend it
    |   +-- UndecodableImage     not an image, or a damaged one
    |   +-- UnsupportedFormat    a format or a content type that is not accepted
    |   +-- UnsupportedEncoding  a content encoding that is not accepted
    |   +-- ImageTooLarge        more pixels or bytes in an image than the limit
    |   +-- BodyTooLarge         more bytes in a request than the limit
    |   +-- SlowBody             a body that takes too long to arrive
    |   +-- BadRequest           a parameter, a header or a body that makes no sense
    |   +-- UnknownModel         no such model or version
    |   +-- UnknownHost          a host name that the service does not answer to
    |   +-- Unauthorized         no API key, or one that is not known
    |   +-- AdminClosed          a change of what is served, where nobody may change that
    |   +-- NotLoaded            a version that was to be loaded cannot be served
    +-- Unavailable              the same request may succeed later
    |   +-- Overloaded           every permit is taken, or the memory for bodies
    |   +-- OverShare            too many of the images inside are this client's
    |   +-- NotReady             the model is loading, or its engine is being restarted
    |   +-- Draining             the service is stopping
    |   +-- TooManyConnections   the connection is one of those kept for probes
    |   +-- DeadlineExceeded     the answer would come too late to be of use
    +-- EngineFailed             the model failed on this very image
    |   +-- EngineLost           the engine crashed with the image on board
    +-- BadSetting               a setting that this machine or this store cannot meet
    +-- StoreError               a model version cannot be served
        +-- MissingFile          a file that the version needs is not there
        +-- HashMismatch         a file is not the one that the manifest names
        +-- BadManifest          the manifest says something impossible
        +-- BadCheckpoint        the weights do not fit the network

Messages are lower case and give the value seen and the limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar


class ServiceError(Exception):
    """Parent of every error the service raises on purpose.

    Attributes:
        code: the error's stable name in replies, logs and metrics.
    """

    code: ClassVar[str] = "internal"

    @property
    def message(self) -> str:
        """The sentence for the person who sent the request or started the service."""
        return str(self)

    @property
    def lines(self) -> Sequence[str]:
        """The message as it is printed; a break within a line is part of a name."""
        return (self.message,)


class BadInput(ServiceError):
    """The request cannot be answered as it stands."""

    code = "bad_input"


class UndecodableImage(BadInput):
    """The bytes are not an image, or a damaged one."""

    code = "undecodable_image"


class UnsupportedFormat(BadInput):
    """The image format or the content type is not one the service accepts."""

    code = "unsupported_format"


class UnsupportedEncoding(BadInput):
    """The body's content encoding is not one the service accepts."""

    code = "unsupported_encoding"


class ImageTooLarge(BadInput):
    """An image has more pixels or bytes than the limit."""

    code = "image_too_large"


class BodyTooLarge(BadInput):
    """A request's body has more bytes than the limit."""

    code = "body_too_large"


class SlowBody(BadInput):
    """A request's body takes too long to arrive."""

    code = "slow_body"


class BadRequest(BadInput):
    """A parameter, a header or the body makes no sense."""

    code = "bad_request"


class UnknownModel(BadInput):
    """No such model, or no such version of it."""

    code = "unknown_model"


class UnknownHost(BadInput):
    """The request is for a host name that the service does not answer to."""

    code = "unknown_host"


class Unauthorized(BadInput):
    """The request comes without an API key, or with one that is not known."""

    code = "unauthorized"


class AdminClosed(BadInput):
    """The service has no admin keys, and so nobody may change what it serves."""

    code = "unsupported"


class NotLoaded(BadInput):
    """A version that was to be loaded cannot be served; what served before does so still."""

    code = "not_loaded"


class Unavailable(ServiceError):
    """The service cannot answer now.

    Args:
        message: what is the matter.
        retry_after_s: when a new attempt is worth making, in seconds.
    """

    code = "unavailable"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """Every permit is taken, or the memory for bodies is."""

    code = "overloaded"


class OverShare(Unavailable):
    """Over half of the room is taken, and more than the client's share of it by the client."""

    code = "over_share"


class NotReady(Unavailable):
    """The model is loading, or its engine is being restarted."""

    code = "not_ready"


class Draining(Unavailable):
    """The service is stopping and takes nothing new."""

    code = "draining"


class TooManyConnections(Unavailable):
    """The connection is one of those kept for probes."""

    code = "too_many_connections"


class DeadlineExceeded(Unavailable):
    """The answer would come after the moment until which it is of use."""

    code = "deadline_exceeded"


class EngineFailed(ServiceError):
    """The model failed on this image; the cause is logged, not sent."""

    code = "engine_failed"


class EngineLost(EngineFailed):
    """The engine crashed while the image was on board, and is being restarted.

    Its thread ended, a call hung, or the device fails every call from now on; an engine that
    finds the latter out raises this itself.
    """

    code = "engine_lost"


class BadSetting(ServiceError):
    """A setting asks for what this machine or this store does not have."""

    code = "bad_setting"

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__("\n".join((message, *details)))
        self._lines = (message, *details)

    @property
    def lines(self) -> Sequence[str]:
        """The message, and what it lists."""
        return self._lines


def no_such_default(name: str, served: Iterable[str]) -> BadSetting:
    """Why the model that is to answer where none is named cannot."""
    return BadSetting(f"SGE_DEFAULT_MODEL={name} is not served, served are: {', '.join(served)}")


class StoreError(ServiceError):
    """A model version cannot be served."""

    code = "store_error"


class MissingFile(StoreError):
    """A file that the version needs is not there."""

    code = "missing_file"


class HashMismatch(StoreError):
    """A file is not the one that the manifest names."""

    code = "hash_mismatch"


class BadManifest(StoreError):
    """The manifest is not valid, or says something impossible."""

    code = "bad_manifest"


class BadCheckpoint(StoreError):
    """The weights do not fit the network, or are not safe to load."""

    code = "bad_checkpoint"
