"""What a request of `/infer` is held to once its message was read, by whichever wire it came."""

from __future__ import annotations

from service.api.admitted_request import AdmittedRequest
from service.api.bodies import BodyLimits
from service.api.v2.replies import bytes_of_reply
from service.api.v2.requests import InferRequest
from service.api.v2.views import View
from service.config import Settings
from service.errors import BadRequest


def take_in(
    admitted: AdmittedRequest, wanted: InferRequest, view: View, settings: Settings
) -> None:
    """Set the deadline and the class that a request asks for, and take permits for its images.

    Raises:
        BadRequest: too many images, or a reply that would be too large.
        Overloaded, OverShare, DeadlineExceeded: there is no room or no time for the images.
    """
    if wanted.timeout_ms is not None:
        admitted.shorten(wanted.timeout_ms)
    admitted.priority = wanted.priority or admitted.priority
    images = len(wanted.images)
    BodyLimits.of(settings).bound(images)
    admitted.hold(images)
    _bound_reply(wanted, view, settings)


def _bound_reply(wanted: InferRequest, view: View, settings: Settings) -> None:
    reply_mb = bytes_of_reply(wanted, view.model.loaded.labels) / 1e6
    if reply_mb > settings.answer_limit_mb:
        raise BadRequest(
            f"the outputs asked for take {reply_mb:.3g} MB, the limit is "
            f"{settings.answer_limit_mb:g} MB: name fewer outputs, or send fewer images"
        )
