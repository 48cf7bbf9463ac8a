"""`ModelInfer`: a prediction, by the way that predictions over HTTP take."""

from __future__ import annotations

import functools

from service.api.admitted_request import admit, require_admittance
from service.api.bodies import BodyLimits
from service.api.cancellation import off_the_loop
from service.api.parsing import ParsingLanes
from service.api.timing import report_phases, server_timing
from service.api.v2 import replies
from service.api.v2.admittance import take_in
from service.api.v2.grpc.call import Call
from service.api.v2.grpc.cut import cut_request
from service.api.v2.grpc.messages import is_quick, parse_request
from service.api.v2.grpc.places import ReadingPlaces
from service.api.v2.grpc.replies import encode_reply
from service.api.v2.requests import InferRequest
from service.api.v2.tensors import Values
from service.api.v2.views import View, draw_view, name_of
from service.errors import Unavailable
from service.serving.runtime import Runtime
from service.serving.turns import DEFAULT_PRIORITY


class Inference:
    """Answers predictions; lives on the event loop.

    A call that is cancelled takes its images along.

    Args:
        runtime: of the service.
        lanes: in which large messages are parsed.
        places: of messages that come in.
    """

    def __init__(self, runtime: Runtime, lanes: ParsingLanes, places: ReadingPlaces) -> None:
        self._runtime = runtime
        self._lanes = lanes
        self._places = places
        self._limits = BodyLimits.of(runtime.settings)

    async def infer(self, call: Call) -> bytes:
        """Answer one."""
        runtime, limits = self._runtime, self._limits
        self._refuse_early(call)
        message = await call.read(self._places, limits.size_bytes)
        cut = cut_request(message, limits.images)
        view = draw_view(runtime.models, cut.head.model_name, cut.head.model_version or None)
        call.context.model = view.model.metric_labels
        # It may leave: nothing is waited for before the call is let in, and it stays till then.
        async with admit(runtime, call.context, view.model, call.limit_ms, priority=0) as admitted:
            admitted.permit.hold(len(message))
            parse = functools.partial(parse_request, cut, view.image, view.outputs, limits.images)
            size_bytes = 0 if is_quick(cut, view.image) else len(message)
            wanted = await self._lanes.parse(parse, size_bytes)
            take_in(admitted, wanted, view, runtime.settings)
            outcome = await view.run(
                runtime.pipeline,
                wanted.images,
                admitted.deadline,
                priority=admitted.priority,
                trace=call.context.trace,
            )
            timing_ms = report_phases(runtime.metrics, admitted, outcome.answer.phases_s)
            call.add_trailer("server-timing", server_timing(timing_ms))
            return await _encode(view, wanted, outcome.values)

    def _refuse_early(self, call: Call) -> None:
        """Refuse before a message is read what cannot be answered, where one model answers all."""
        runtime = self._runtime
        if len(runtime.models.names) != 1:
            return
        model = runtime.models.draw(runtime.models.names[0], None)
        try:
            require_admittance(runtime, call.context, model, call.limit_ms, DEFAULT_PRIORITY)
        except Unavailable:
            call.context.model = model.metric_labels
            raise


async def _encode(view: View, wanted: InferRequest, values: dict[str, Values]) -> bytes:
    names = name_of(view), view.model.version
    encode = functools.partial(encode_reply, names, wanted, values, view.model.loaded.labels)
    return encode() if replies.is_quick(values) else await off_the_loop(encode)
