"""Locust's users: each posts kinds of the mix by their weights, the next when it has its answer.

With its page: `python -m locust --locustfile tests/load/locustfile.py --host URL`.
"""

from __future__ import annotations

import random

from locust import FastHttpUser, constant, task

from tests.load.mix import make_kinds

KINDS = make_kinds()
WEIGHTS = [kind.weight for kind in KINDS]


class Visitor(FastHttpUser):
    """Posts pictures, several pictures, and files that are none; asks for masks or does not."""

    wait_time = constant(0)

    @task
    def post(self) -> None:
        """Post one; any status but the kind's right one is a failure, a refusal too."""
        (kind,) = random.choices(KINDS, WEIGHTS)  # noqa: S311  # no secret
        with self.client.post(
            kind.path,
            data=kind.body,  # type: ignore[arg-type]  # bytes work; the annotation forgets them
            headers={"Content-Type": kind.content_type},
            name=kind.name,
            catch_response=True,
        ) as answer:
            if answer.status_code == kind.status:
                answer.success()
            else:
                answer.failure(f"status {answer.status_code}, not {kind.status}")
