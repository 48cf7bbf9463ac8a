"""Everything that clients may call: each call let in, answered once, counted and logged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc
import structlog

from service.api.account import count_prediction, write_access_line
from service.api.context import Outcome
from service.api.entrance import Entrance
from service.api.v2.grpc.call import Call, Wire, open_call
from service.api.v2.grpc.methods import Method, let_in
from service.api.v2.grpc.span import begin_span, end_span
from service.api.v2.grpc.status import Refusal, internal_refusal, number_of, refusal_of
from service.api.v2.grpc.unread import UnreadReplies
from service.errors import DeadlineExceeded, ServiceError
from service.metrics import Metrics
from service.tracing.tracer import Tracer

NO_METHOD = Method(lambda _: asyncio.sleep(0), "open")  # stands for all that nothing answers

log = structlog.stdlib.get_logger(__name__)


class Service(grpc.GenericRpcHandler):
    """Finds the method of a call, and answers for it; lives on the event loop.

    Each method reads and writes a stream of bytes, whatever the protocol says of it. On the wire
    there is no difference, and so a call can be refused before its message is read, and what a
    client does not read can be counted.

    Args:
        methods: by path.
        entrance: what stands before all of them.
        unread: replies that are being sent.
        metrics: count outcomes.
        stopping: set once calls are cut.
        tracer: makes spans of calls.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        entrance: Entrance,
        unread: UnreadReplies,
        metrics: Metrics,
        *,
        stopping: asyncio.Event,
        tracer: Tracer,
    ) -> None:
        self._tracer = tracer
        self._methods = methods
        self._entrance = entrance
        self._unread = unread
        self._metrics = metrics
        self._stopping = stopping

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Find what answers a call."""
        path = handler_call_details.method
        method = self._methods.get(path, NO_METHOD)

        async def answer(_: object, wire: Wire) -> None:
            await self._answer(path, method, wire)

        return grpc.stream_stream_rpc_method_handler(answer)

    async def _answer(self, path: str, method: Method, wire: Wire) -> None:
        """Answer a call, and keep account of it."""
        call = open_call(wire)
        context = call.context
        is_wanted = method.access != "open"  # as probes' methods are
        context.trace = begin_span(self._tracer, call, path, is_wanted=is_wanted)
        structlog.contextvars.bind_contextvars(**context.trace.ids)  # of this call's task
        if method.is_prediction:
            self._metrics.received.inc()
        try:
            refusal = await self._run(method, call)
            if refusal is not None:
                await call.refuse(refusal)
        except asyncio.CancelledError:
            self._note_cut(call)
            raise
        finally:
            if method.is_prediction:
                count_prediction(self._metrics, context)
            self._metrics.count_key_request(context.key, context.outcome)
            write_access_line(context, "gRPC", path, call.client)
            end_span(self._tracer, call, path)

    async def _run(self, method: Method, call: Call) -> Refusal | None:
        """Run a method and send its reply; returns what the client is to be told instead."""
        context = call.context
        if method is NO_METHOD:
            context.outcome = Outcome.NOT_FOUND
            return Refusal(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")
        try:
            let_in(call, method.access, self._entrance)
            reply = await self._watched(method, call)
            if reply is not None:
                await self._send(call, reply)
        except ServiceError as error:
            context.outcome = error.code
            return refusal_of(error)
        except grpc.aio.BaseError:  # nothing can be sent any more
            self._note_cut(call)
        except Exception:  # the last resort: whatever went wrong, the client gets an answer
            log.exception("request failed")
            context.outcome = Outcome.INTERNAL
            return internal_refusal(context.request_id)
        return None

    async def _send(self, call: Call, reply: bytes) -> None:
        await self._unread.send(lambda: call.wire.write(reply), call.peer, len(reply))

    async def _watched(self, method: Method, call: Call) -> bytes | None:
        if not method.is_brief:
            return await method.run(call)
        with self._entrance.watch:
            return await method.run(call)

    def _note_cut(self, call: Call) -> None:
        """Say why a call was cut off: gRPC does that at its deadline, too."""
        context = call.context
        if self._stopping.is_set():
            context.outcome = Outcome.CANCELLED
        elif call.is_late:
            context.outcome = DeadlineExceeded.code
            context.status = number_of(grpc.StatusCode.DEADLINE_EXCEEDED)
            return
        else:
            context.outcome = Outcome.NO_MESSAGE if call.is_reading else Outcome.DISCONNECTED
        context.status = number_of(grpc.StatusCode.CANCELLED)
