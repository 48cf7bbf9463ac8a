"""An API server as far as Helm's lookup needs one: what kinds there are, and one Deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

KINDS = {
    "v1": {"services": "Service", "serviceaccounts": "ServiceAccount"},
    "apps/v1": {"deployments": "Deployment"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
}


def _resources(version: str) -> dict[str, Any]:
    listed = [
        {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["get"]}
        for name, kind in KINDS[version].items()
    ]
    return {"kind": "APIResourceList", "groupVersion": version, "resources": listed}


def _groups() -> dict[str, Any]:
    versions = [{"groupVersion": v, "version": v.partition("/")[2]} for v in KINDS if "/" in v]
    groups = [
        {"name": v["groupVersion"].partition("/")[0], "versions": [v], "preferredVersion": v}
        for v in versions
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


@contextmanager
def cluster_with(deployment: dict[str, Any]) -> Iterator[str]:
    """Be a cluster that has a Deployment, until the block is left.

    Yields:
        Its address.
    """
    metadata = deployment["metadata"]
    path = f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}"
    documents: dict[str, dict[str, Any]] = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": _groups(),
        **{f"/{'apis' if '/' in v else 'api'}/{v}": _resources(v) for v in KINDS},
        path: {"apiVersion": "apps/v1", "kind": "Deployment"} | deployment,
    }

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = documents.get(self.path.partition("?")[0])
            missing = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(found or missing).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
