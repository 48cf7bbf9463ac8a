"""The HTTP edge: routes, bodies, statuses."""
