"""Where a request's time went, as spans: moments in, traces of OpenTelemetry out, or nothing.

Whoever serves notes moments on a `RequestTrace`, and knows nothing of OpenTelemetry: `otel.py`
alone imports it, and is imported only where spans are wanted.
"""
