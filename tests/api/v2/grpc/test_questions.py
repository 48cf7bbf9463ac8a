"""What clients ask beside predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from grpc import StatusCode

from service.api.key_file import add_key
from service.api.v2.grpc import open_inference_pb2 as messages
from tests.api.v2.grpc.calling import Client, connected, pixels
from tests.fakes import FakeEngine
from tests.serving.version_shelf import Engines, Shelf

pytestmark = pytest.mark.anyio

PATHS = {
    "ServerMetadata": "/v2",
    "ModelMetadata": "/v2/models/tiny-explain",
    "ModelConfig": "/v2/models/tiny-explain/config",
    "ModelStatistics": "/v2/models/tiny-explain/stats",
}


def as_json(message: Message) -> dict[str, Any]:
    """A message as HTTP would have it, but for what is nothing."""
    return MessageToDict(message, preserving_proto_field_name=True)


async def ask(client: Client, name: str, /, **fields: Any) -> Message:
    """Ask, and read the answer."""
    reply = await client.call(name, getattr(messages, f"{name}Request")(**fields))
    kind: type[Message] = getattr(messages, f"{name}Response")
    return reply.read(kind)


@pytest.mark.parametrize("name", PATHS)
async def test_both_wires_tell_the_same(name: str) -> None:
    """Of the server, a model, its configuration and what it has done."""
    fields = {} if name == "ServerMetadata" else {"name": "tiny-explain"}
    async with connected(engine=FakeEngine()) as client:
        await client.infer(pixels(1, 2))
        told = await ask(client, name, **fields)
        document = (await client.service.client.get(PATHS[name])).json()

    wrapped = {"config": document} if name == "ModelConfig" else document
    assert told == ParseDict(wrapped, type(told)())


async def test_health_and_readiness_are_told() -> None:
    """Of the server and of a model, also while it drains."""
    async with connected(engine=FakeEngine()) as client:
        before = [
            await ask(client, "ServerLive"),
            await ask(client, "ServerReady"),
            await ask(client, "ModelReady", name="tiny-image", version="1"),
        ]
        client.service.runtime.admission.drain()
        after = [await ask(client, "ServerReady"), await ask(client, "ModelReady", name="tiny")]

    assert [as_json(told) for told in before] == [{"live": True}, {"ready": True}, {"ready": True}]
    assert [as_json(told) for told in after] == [{}, {}]


async def test_the_statistics_of_every_model_are_told_at_once() -> None:
    """Where none is named; none at all where that door is shut."""
    async with connected(engine=FakeEngine()) as client:
        every: Any = await ask(client, "ModelStatistics")
    async with connected(engine=FakeEngine(), closed=("statistics",)) as client:
        shut = await client.call("ModelStatistics")

    assert [one.name for one in every.model_stats] == ["tiny", "tiny-image", "tiny-explain"]
    assert shut.code == StatusCode.UNIMPLEMENTED


async def test_unknown_models_and_large_questions_are_refused() -> None:
    """A question is short."""
    async with connected(engine=FakeEngine()) as client:
        unknown = await client.call("ModelConfig", messages.ModelConfigRequest(name="other"))
        large = await client.call("ModelReady", messages.ModelReadyRequest(name="x" * 5000))
        damaged = await client.call("ModelReady", b"\x0a\x05x")

    assert [reply.code for reply in (unknown, large, damaged)] == [
        StatusCode.NOT_FOUND,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.INVALID_ARGUMENT,
    ]


async def test_an_admin_loads_and_unloads(tmp_path: Path) -> None:
    """By the keys of operators; the index tells what is served."""
    file, shelf = tmp_path / "admins", Shelf(["tiny/2"])
    admin = {"metadata": (("authorization", f"Bearer {add_key(file, 'operator')}"),)}
    load = messages.RepositoryModelLoadRequest(model_name="tiny")
    override = messages.RepositoryModelLoadRequest(model_name="tiny")
    override.parameters["config"].string_param = "{}"
    unload = messages.RepositoryModelUnloadRequest(model_name="tiny")
    async with connected(source=shelf, engines=Engines().plan, admin_key_file=file) as client:
        replies = [
            await client.call("RepositoryModelLoad", load),
            await client.call("RepositoryModelLoad", override, **admin),
            await client.call("RepositoryModelLoad", load, **admin),
        ]
        listed: Any = await ask(client, "RepositoryIndex", ready=True)
        replies.append(await client.call("RepositoryModelUnload", unload, **admin))
        gone: Any = await ask(client, "RepositoryIndex", ready=True)

    assert [reply.code for reply in replies] == [
        StatusCode.UNAUTHENTICATED,
        StatusCode.INVALID_ARGUMENT,
        StatusCode.OK,
        StatusCode.OK,
    ]
    assert {(one.version, one.state) for one in listed.models} == {("2", "READY")}
    assert list(gone.models) == []


async def test_without_admin_keys_nothing_changes() -> None:
    """As over HTTP."""
    async with connected(engine=FakeEngine()) as client:
        reply = await client.call("RepositoryModelLoad")

    assert reply.code == StatusCode.UNIMPLEMENTED
    assert "SGE_ADMIN_KEY_FILE" in reply.details
