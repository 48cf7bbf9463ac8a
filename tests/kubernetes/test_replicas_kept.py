"""How many pods an upgrade leaves where something else scales them."""

from __future__ import annotations

import pytest

from tests.kubernetes.chart import NAME, NAMESPACE, RELEASE, needs_helm, of_kind, rendered
from tests.kubernetes.cluster import cluster_with
from tests.kubernetes.combinations import COMBINATIONS

pytestmark = needs_helm

OF_THE_RELEASE = {
    "name": NAME,
    "namespace": NAMESPACE,
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {
        "meta.helm.sh/release-name": RELEASE,
        "meta.helm.sh/release-namespace": NAMESPACE,
    },
}
IN_A_CLUSTER = ("--dry-run=server", "--disable-openapi-validation", "--kube-apiserver")


@pytest.mark.parametrize(("name", "left"), [("scaled by cpu", 7), ("as it comes", 2)])
def test_an_upgrade_leaves_as_many_pods_as_the_autoscaler_wanted(name: str, left: int) -> None:
    """A Deployment that runs keeps its number; without an autoscaler the values' one counts."""
    deployment = {"metadata": OF_THE_RELEASE, "spec": {"replicas": 7}}

    with cluster_with(deployment) as address:
        manifests = rendered(COMBINATIONS[name], *IN_A_CLUSTER, address)

    (found,) = of_kind(manifests, "Deployment")
    assert found["spec"]["replicas"] == left


def test_a_first_install_begins_with_the_fewest() -> None:
    """There is no Deployment to look at."""
    (found,) = of_kind(rendered(COMBINATIONS["scaled by cpu"]), "Deployment")

    assert found["spec"]["replicas"] == 2
