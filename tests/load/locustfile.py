"""Locust's users: each posts kinds of the mix by their weights, the next when it has its answer.

With its page: `python -m locust --locustfile tests/load/locustfile.py --host URL`.
"""

from __future__ import annotations

import json
import random
from urllib.request import urlopen

from locust import FastHttpUser, constant, events, task
from locust.env import Environment

from tests.load.mix import Kind, make_kinds


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def choose_kinds(environment: Environment, **_: object) -> None:
    """Make the mix for the model that the service serves."""
    Visitor.kinds = make_kinds(default_model(str(environment.host)))


def default_model(url: str) -> str:
    """Ask a service for its default model, or for its only one."""
    with urlopen(f"{url.rstrip('/')}/v1/models") as answer:  # noqa: S310  # the tester's own address
        models = json.load(answer)["models"]
    return str(next((model for model in models if model["default"]), models[0])["name"])


class Visitor(FastHttpUser):
    """Posts pictures, several pictures, and files that are none; asks for masks or does not."""

    wait_time = constant(0)
    kinds: tuple[Kind, ...] = ()

    @task
    def post(self) -> None:
        """Post one; any status but the kind's right one is a failure, a refusal too."""
        (kind,) = random.choices(self.kinds, [kind.weight for kind in self.kinds])  # noqa: S311  # no secret
        with self.client.post(
            kind.path,
            data=kind.body,  # type: ignore[arg-type]  # bytes work; the annotation forgets them
            headers=kind.headers,
            name=kind.name,
            catch_response=True,
        ) as answer:
            if answer.status_code == kind.status:
                answer.success()
            else:
                answer.failure(f"status {answer.status_code}, not {kind.status}")
