"""Routes whose query is bounded before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.errors import BadRequest

LONGEST_QUERY = 4096  # bytes; of the longest that makes sense, every group by number, it is twice


class BoundedRoute(APIRoute):
    """A route that refuses a query of more bytes than any sensible one has."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, which reads every parameter, behind a look at the size."""
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            size = len(request.scope["query_string"])
            if size > LONGEST_QUERY:
                raise BadRequest(f"the query has {size} bytes, the limit is {LONGEST_QUERY}")
            return await handle(request)

        return handle_bounded
