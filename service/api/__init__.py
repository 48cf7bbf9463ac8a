"""The HTTP edge: routes, bodies, statuses, the server.

Requests come in; wire documents, built from the dataclasses of `results`, go out. The only room,
with `app`, that knows FastAPI.
"""
