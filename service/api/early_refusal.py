"""What a request's head is enough to refuse it for is said before a route is looked for.

Under overload most requests are refused, and what that costs is missing for answers. FastAPI reads
every parameter of a route first, which takes ten times as long as to see that there is no time.
"""

from __future__ import annotations

from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.access import PREDICT_PATH, PREDICTIONS
from service.api.admitted_request import require_admittance
from service.api.bounded_route import LONGEST_QUERY
from service.api.context import context_of, path_of
from service.api.errors import service_error_response
from service.api.v2.views import draw_view
from service.config import LONGEST_TIMEOUT_MS
from service.errors import Unavailable, UnknownModel
from service.serving.runtime import Runtime
from service.serving.served_model import ServedModel
from service.serving.turns import DEFAULT_PRIORITY, PRIORITIES

DEADLINE_HEADER = "X-Request-Deadline-Ms"
PRIORITY_HEADER = "X-Request-Priority"
NAMED_PRIORITIES = frozenset(map(str, PRIORITIES))
MARKS_OF_A_NAME = (b"model", b"version", b"%")  # whatever names a model holds one of these


class EarlyRefusal:
    """ASGI middleware that refuses a prediction for which there is no room, time or engine.

    Whatever else may be wrong with a request is for its route to say.

    Args:
        app: gets the others.
        runtime: of the service.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app
        if scope["type"] == "http" and scope["method"] == "POST":
            error = self._find_reason(scope)
            if error is not None:
                app = service_error_response(Request(scope), error)
        await app(scope, receive, send)

    def _find_reason(self, scope: Scope) -> Unavailable | None:
        context = context_of(scope)
        try:
            model = self._model_of(scope)
        except UnknownModel:
            return None
        if model is None:
            return None
        try:
            headers = Headers(scope=scope)
            limit_ms, priority = _limit_ms(headers), _priority(headers)
            require_admittance(self._runtime, context, model, limit_ms, priority)
        except Unavailable as error:
            context.model = model.metric_labels
            return error
        return None

    def _model_of(self, scope: Scope) -> ServedModel | None:
        path, models = path_of(scope), self._runtime.models
        if path == PREDICT_PATH:
            query = scope["query_string"]
            if not any(mark in query for mark in MARKS_OF_A_NAME):
                return models.draw(None, None)
            if len(query) > LONGEST_QUERY:
                return None
            named = QueryParams(query)  # read as the route reads it
            return models.draw(named.get("model"), named.get("version"))
        if called := PREDICTIONS.fullmatch(path):
            return draw_view(models, called["name"], called["version"]).model
        return None


def _limit_ms(headers: Headers) -> float | None:
    """Give what the client says of its deadline; what makes no sense, the route refuses."""
    try:
        limit_ms = float(headers.get(DEADLINE_HEADER) or "")
    except ValueError:
        return None
    return limit_ms if 0 < limit_ms <= LONGEST_TIMEOUT_MS else None


def _priority(headers: Headers) -> int:
    """Give the class that the head names, or the default: a V2 body may name another one."""
    named = headers.get(PRIORITY_HEADER, "").strip()
    return int(named) if named in NAMED_PRIORITIES else DEFAULT_PRIORITY
