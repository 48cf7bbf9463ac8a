"""Who comes in to the chart's pods, by which ports and with what keys, and whom they reach."""

from __future__ import annotations

from tests.kubernetes.chart import manifests_of, needs_helm, of_kind, pod_of, rendered, variables_of
from tests.kubernetes.combinations import COMBINATIONS

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
    assert [port["appProtocol"] for port in service["spec"]["ports"]] == ["https", "https"]


def test_without_a_certificate_balancers_speak_http_2_to_grpcs_port() -> None:
    """In clear text: without its name they would try HTTP/1."""
    (service,) = of_kind(rendered({"grpc": {"enabled": True}}), "Service")

    assert [port["appProtocol"] for port in service["spec"]["ports"]] == [
        "http",
        "kubernetes.io/h2c",
    ]


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


def test_kedas_prometheus_may_scrape() -> None:
    """Also where a monitor of somebody else's finds the pods."""
    keda = COMBINATIONS["scaled by requests inside"]

    (policy,) = of_kind(rendered(keda | {"networkPolicy": {"enabled": True}}), "NetworkPolicy")
    (monitored,) = of_kind(manifests_of("monitored"), "NetworkPolicy")

    assert policy["spec"]["ingress"] == monitored["spec"]["ingress"]


def test_what_compiles_is_reached_by_nobody_and_reaches_nobody() -> None:
    """Its policy is there before the jobs, which come before all else, and goes with them."""
    manifests = manifests_of("shared cache")
    serves, compiles = sorted(
        of_kind(manifests, "NetworkPolicy"), key=lambda policy: len(policy["metadata"]["name"])
    )
    jobs = list(of_kind(manifests, "Job"))
    hook = dict(compiles["metadata"]["annotations"])

    assert compiles["spec"]["policyTypes"] == serves["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert (compiles["spec"]["ingress"], compiles["spec"]["egress"]) == ([], [])
    assert int(hook.pop("helm.sh/hook-weight")) < 0
    assert [job["metadata"]["annotations"] for job in jobs] == [hook, hook]
