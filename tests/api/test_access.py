"""The line that the access log has of each request."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.fakes import FakeEngine
from tests.running import PNG, grey, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("length", "shown"), [(200, 200), (201, 204), (4000, 204)])
async def test_a_long_path_is_shown_in_part(length: int, shown: int) -> None:
    """Whoever asks for nonsense does not fill the log with it."""
    path = "/" + "a" * (length - 1)
    async with running(engine=FakeEngine()) as service:
        with capture_logs() as lines:
            await service.client.get(path)

    (line,) = (line for line in lines if line["event"] == "request")
    assert (len(line["path"]), line["path"][:200]) == (shown, path[:200])


async def test_a_line_says_what_became_of_a_request() -> None:
    """Its status, outcome, model and images, in plain text."""
    async with running(engine=FakeEngine()) as service:
        with capture_logs() as lines:
            await service.predict(grey(1))
            await service.client.get("/nowhere")

    told = [
        (line["status"], line["outcome"], line["model"], line["images"])
        for line in lines
        if line["event"] == "request"
    ]
    assert told == [(200, "ok", "tiny/1", 1), (404, "not_found", "none/none", 0)]


@pytest.mark.parametrize("path", ["/v1/predict%0A", "/v2/models/tiny/infer%0A", "/readyz%0A"])
async def test_a_path_with_control_characters_is_none_of_ours(path: str) -> None:
    """It is refused as what it is, and the books balance: what is counted is what is answered."""
    async with running(engine=FakeEngine()) as service:
        reply = await service.client.post(path, content=grey(1), headers=PNG)
        probed = await service.client.get(path)
        served = await service.metric(
            'sge_phase_seconds_count{model="tiny",phase="infer",version="1"}'
        )
        received = await service.metric("sge_requests_received_total")

    assert (reply.status_code, probed.status_code) == (404, 404)
    assert (served, received) == (0, 0)
