"""Who comes in to the chart's pods, by which ports and with what keys, and whom they reach."""

from __future__ import annotations

from tests.kubernetes.chart import manifests_of, needs_helm, of_kind, pod_of, variables_of

pytestmark = needs_helm


def test_with_a_certificate_probes_and_scrapes_speak_https() -> None:
    """The service speaks nothing else then."""
    manifests = manifests_of("keys, certificate and gRPC")
    (container,) = pod_of(manifests)["containers"]
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    (service,) = of_kind(manifests, "Service")

    schemes = {
        container[f"{kind}Probe"]["httpGet"]["scheme"]
        for kind in ("startup", "readiness", "liveness")
    }

    assert schemes == {"HTTPS"}
    assert monitor["spec"]["endpoints"][0]["scheme"] == "https"
    assert service["spec"]["ports"][0]["appProtocol"] == "https"


def test_secrets_reach_the_service_as_files() -> None:
    """So that a changed key or certificate is read without a restart; no value is in a manifest."""
    pod = pod_of(manifests_of("keys, certificate and gRPC"))
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    secrets = {
        volume["secret"]["secretName"]: mounts[volume["name"]]
        for volume in pod["volumes"]
        if "secret" in volume
    }

    files = {name: text for name, text in variables_of(container).items() if name.endswith("_FILE")}

    assert files == {
        "SGE_API_KEYS_FILE": f"{secrets['api-keys']}/keys",
        "SGE_ADMIN_KEY_FILE": f"{secrets['admin-keys']}/admins",
        "SGE_TLS_CERT_FILE": f"{secrets['certificate']}/tls.crt",
        "SGE_TLS_KEY_FILE": f"{secrets['certificate']}/tls.key",
    }


def test_who_may_reach_the_pods_is_named() -> None:
    """The peers chosen, and whoever scrapes, on the ports that there are; it reaches nobody."""
    (policy,) = of_kind(manifests_of("monitored"), "NetworkPolicy")

    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["ingress"] == [
        {"from": [{"podSelector": {}}], "ports": [{"port": "http"}]},
        {
            "from": [
                {
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}
                    }
                }
            ],
            "ports": [{"port": "http"}],
        },
    ]
    assert policy["spec"]["egress"] == []
