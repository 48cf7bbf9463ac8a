"""What clients ask beside predictions: of the server, its models, its statistics and repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from service.api.cancellation import off_the_loop
from service.api.health import is_answering, readiness
from service.api.v2 import changes
from service.api.v2.documents import (
    describe_config,
    describe_model,
    describe_server,
    list_versions,
)
from service.api.v2.grpc import open_inference_pb2 as messages
from service.api.v2.grpc.call import Call
from service.api.v2.grpc.cut import parse_message
from service.api.v2.grpc.methods import Access, Method
from service.api.v2.grpc.places import ReadingPlaces
from service.api.v2.statistics import describe_statistics
from service.api.v2.views import every_view, find_view
from service.serving.runtime import Runtime

QUESTION_BYTES = 4096

Q = TypeVar("Q", bound=Message)


class Questions:
    """Answers them, by the documents that HTTP answers with; lives on the event loop.

    Args:
        runtime: of the service.
        places: of messages that come in.
        probes: of those that anybody may send.
    """

    def __init__(self, runtime: Runtime, places: ReadingPlaces, probes: ReadingPlaces) -> None:
        self._runtime = runtime
        self._places = places
        self._probes = probes

    def methods(self) -> dict[str, Method]:
        """The methods by name; those of doors that are closed are left out."""
        m = messages
        methods = {
            "ServerLive": self._method(m.ServerLiveRequest, self._live, "open"),
            "ServerReady": self._method(m.ServerReadyRequest, self._ready, "open"),
            "ServerMetadata": self._method(m.ServerMetadataRequest, self._server),
            "ModelReady": self._method(m.ModelReadyRequest, self._model_ready),
            "ModelMetadata": self._method(m.ModelMetadataRequest, self._model),
            "ModelConfig": self._method(m.ModelConfigRequest, self._config),
            "RepositoryIndex": self._method(m.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": self._method(m.RepositoryModelLoadRequest, self._load, "admins"),
            "RepositoryModelUnload": self._method(
                m.RepositoryModelUnloadRequest, self._unload, "admins"
            ),
        }
        if "statistics" not in self._runtime.settings.closed:
            methods["ModelStatistics"] = self._method(m.ModelStatisticsRequest, self._statistics)
        return methods

    def _method(
        self,
        kind: type[Q],
        answer: Callable[[Q], Awaitable[Message]],
        access: Access = "clients",
    ) -> Method:
        places = self._probes if access == "open" else self._places

        async def run(call: Call) -> bytes:
            message = await call.read(places, QUESTION_BYTES)
            reply = await answer(parse_message(kind, message))
            return reply.SerializeToString()

        return Method(run, access)

    async def _live(self, _: messages.ServerLiveRequest) -> Message:
        return messages.ServerLiveResponse(live=True)

    async def _ready(self, _: messages.ServerReadyRequest) -> Message:
        state = readiness(self._runtime.models, self._runtime.admission)
        return messages.ServerReadyResponse(ready=state["ready"])

    async def _server(self, _: messages.ServerMetadataRequest) -> Message:
        return _filled(messages.ServerMetadataResponse(), describe_server(self._runtime.settings))

    async def _model_ready(self, asked: messages.ModelReadyRequest) -> Message:
        view = find_view(self._runtime.models, asked.name, asked.version or None)
        is_ready = is_answering(view.model, self._runtime.admission)
        return messages.ModelReadyResponse(ready=is_ready)

    async def _model(self, asked: messages.ModelMetadataRequest) -> Message:
        view = find_view(self._runtime.models, asked.name, asked.version or None)
        document = describe_model(view, self._runtime.models)
        return _filled(messages.ModelMetadataResponse(), document)

    async def _config(self, asked: messages.ModelConfigRequest) -> Message:
        view = find_view(self._runtime.models, asked.name, asked.version or None)
        document = {"config": describe_config(view, self._runtime.settings)}
        return _filled(messages.ModelConfigResponse(), document)

    async def _statistics(self, asked: messages.ModelStatisticsRequest) -> Message:
        models, metrics = self._runtime.models, self._runtime.metrics
        if asked.name:
            views = [find_view(models, asked.name, asked.version or None)]
        else:
            views = list(every_view(models))

        def describe() -> Message:
            return _filled(messages.ModelStatisticsResponse(), describe_statistics(views, metrics))

        return await off_the_loop(describe)

    async def _index(self, asked: messages.RepositoryIndexRequest) -> Message:
        versions = list_versions(self._runtime.versions, ready=asked.ready)
        return _filled(messages.RepositoryIndexResponse(), {"models": versions})

    async def _load(self, asked: messages.RepositoryModelLoadRequest) -> Message:
        await changes.load(self._runtime, asked.model_name, asked.parameters)
        return messages.RepositoryModelLoadResponse()

    async def _unload(self, asked: messages.RepositoryModelUnloadRequest) -> Message:
        changes.unload(self._runtime, asked.model_name)
        return messages.RepositoryModelUnloadResponse()


def _filled(message: Message, document: dict[str, Any]) -> Message:
    """A message that says what a document says."""
    return ParseDict(document, message)
